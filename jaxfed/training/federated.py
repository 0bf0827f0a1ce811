"""Hospitals that train one kind of model, laid out on devices: what a simulation runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Traced

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.engine import evaluate as predict
from jaxfed.core.engine import rounds as engine
from jaxfed.core.errors import InvalidInput
from jaxfed.core.layout import memory, plan
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.nn.rewrite import Form, default_form
from jaxfed.core.task import Measure
from jaxfed.core.types import State, Variables
from jaxfed.records.history import Arrays, History
from jaxfed.runtime import cache as choices
from jaxfed.training import autotune as tuning


@dataclasses.dataclass(frozen=True, eq=False)
class Federated:
    """A trainer, see :class:`jaxfed.training.loop.Trainer`, of all hospitals as one batched axis.

    Attributes:
        unplaced: what is done in a round; per-hospital numbers in the data set's order.
        hospitals: those that train.
        subjects: those that are evaluated.
        splits: which of their splits.
        description: the configuration as plain text and numbers.
        identity: gives the configuration in words that are exact, see :mod:`jaxfed.storage.fingerprint`.
        wanted_devices, block: as given to :func:`jaxfed.core.layout.plan.place`.
        held_block: ``block`` for the hospitals that are evaluated, where it is another.
        measurement: how ``block`` and the form of the model's operations were found, where one of them was
            measured.
        metrics: users' own, ``(name, metric)``.
    """

    unplaced: engine.Recipe
    hospitals: Dataset
    subjects: Dataset
    splits: tuple[str, ...]
    description: dict[str, Any]
    identity: Callable[[], dict[str, str]]
    wanted_devices: int | None = None
    block: int | None = None
    held_block: int | None = None
    measurement: tuning.Choice | None = None
    metrics: tuple[tuple[str, Metric], ...] = ()

    @property
    def measured_by(self) -> Measure:
        """The metrics of the hospitals that are evaluated."""
        return Measure(self.hospitals.task, self.metrics)

    @property
    def name(self) -> str:
        """The algorithm's."""
        return type(self.unplaced.algorithm).__name__

    @property
    def personal(self) -> bool:
        """Whether every hospital has its own model."""
        return self.unplaced.algorithm.personal

    @property
    def devices(self) -> int:
        """How many jax devices are used."""
        return len(self.placement.plan.devices)

    def describe(self) -> dict[str, Any]:
        """The configuration as plain text and numbers."""
        return self.description

    def layout(self) -> dict[str, Any]:
        """Devices, blocks and the form of the model's operations."""
        return {
            "devices": self.devices,
            "form": self.choice.form,
            "block": self.placement.plan.block,
            "held_block": self.held_placement.plan.block,
        }

    def laid_out(self, layout: dict[str, Any]) -> Federated:
        """This with the devices, blocks and form of a checkpoint."""
        if layout == self.layout():
            return self
        return dataclasses.replace(
            self._in_form(layout["form"]),
            wanted_devices=layout["devices"],
            block=layout["block"],
            held_block=layout["held_block"],
        )

    def prepared(self, rounds: int, capacity: int) -> Federated:
        """This with a block and a form that are measured, or were before, if so many rounds are worth it."""
        own, free = self.placement.plan, self._form is None
        blocks = [own.block] if self.block is not None else tuning.candidates(own.slots, self._cpu)
        if (len(blocks) == 1 and (self._cpu or not free)) or not self._worthwhile(rounds):
            return self
        state = self.start(0, None)
        program = self.traced(state, 1)
        forms = tuning.forms(program.jaxpr.jaxpr) if free else (self.choice.form,)
        if len(blocks) == len(forms) == 1:
            return self
        name = choices.name_of(str(program.jaxpr), self._steps.tolist(), blocks, forms)
        how, found = "remembered", choices.recall(name)
        if found is None:
            how, found = "measured", self._measured(forms, blocks, capacity)
            choices.keep(name, found)
        return self._with(self.choice.after(how, found))

    def _measured(self, forms: Sequence[Form], blocks: list[int], capacity: int) -> tuning.Seconds:
        watch = tuning.Stopwatch(self._cpu)

        def seconds(form: Form, block: int) -> float:
            one = dataclasses.replace(self._in_form(form), block=block)
            state = one.start(0, None)
            try:
                one.check(state, capacity)
            except InvalidInput:  # more than the memory holds
                return math.inf
            return watch(one.recipe, one.placement.plan, one.federation, state, capacity)

        return tuning.measured(forms, blocks, seconds, self.choice.block)

    def _with(self, choice: tuning.Choice) -> Federated:
        """This with that choice; the same object for the same choice, because it holds the rows."""
        which = choice.block, choice.form
        if which not in self._others:
            one = self._in_form(choice.form)
            self._others[which] = dataclasses.replace(one, block=choice.block, measurement=choice)
        self.__dict__.pop("federation", None)  # made again if it is needed: rows are held once
        return self._others[which]

    @cached_property
    def _others(self) -> dict[tuple[int, Form], Federated]:
        return {}

    @property
    def _form(self) -> Form | None:
        """As given."""
        return self.unplaced.local.problem.model.form

    def _in_form(self, form: Form) -> Federated:
        if form == self.choice.form:
            return self
        local = self.unplaced.local
        local = dataclasses.replace(local, problem=local.problem.in_form(form))
        return dataclasses.replace(self, unplaced=dataclasses.replace(self.unplaced, local=local))

    def check(self, state: State, capacity: int) -> None:
        """Raise InvalidInput where rounds from ``state`` do not fit into memory."""
        memory.check(self.traced(state, capacity), self.placement.plan, self.federation.train)

    def traced(self, state: State, capacity: int) -> Traced:
        """Rounds from ``state``, not yet compiled."""
        layout = self.placement.plan
        return engine.advance.trace(self.recipe, layout, self.federation, state, 0, capacity=capacity)

    def history(self) -> History:
        """A history with nothing in it."""
        return History.of(self.subjects, self.splits, self.hospitals.hospitals, self.measured_by.scoring)

    def start(self, seed: int, initial: Variables | None) -> State:
        """The state before the first round."""
        layout = self.placement.plan
        if initial is None:
            return engine.start(self.recipe, layout, self.federation, seed)
        return engine.start_from(self.recipe, layout, initial, jax.random.key(seed))

    def advance(self, state: State, rounds: int, capacity: int) -> tuple[State, engine.Log]:
        """The state some rounds later, and their log; the old state is donated."""
        layout = self.placement.plan
        return engine.advance(self.recipe, layout, self.federation, state, rounds, capacity=capacity)

    def logged(self, log: engine.Log, count: int) -> tuple[Arrays, np.ndarray]:
        """The log's first ``count`` rounds, ``[count, C]`` in the data set's order, and ``kept``."""
        columns = {**log.clients, "present": log.present, "rejected": log.rejected}
        position = self.placement.position
        rows = {name: np.asarray(column)[:count, position] for name, column in columns.items()}
        return rows, np.asarray(log.kept)[:count]

    def measure(self, state: State, recipe: engine.Recipe | None = None) -> tuple[Arrays, Arrays]:
        """Metrics of each hospital ``[C, S]`` and of all rows ``[S]``; another recipe's model if given."""
        single, pooled = predict.evaluate(
            recipe or self.recipe,
            self.held_placement.plan,
            self.federation,
            self.held,
            state,
            measure=self.measured_by,
            splits=len(self.splits),
        )
        return self.held_placement.by_hospital(single), jax.tree.map(np.asarray, pooled)

    def variables(self, state: State) -> Variables:
        """The model of a state: the global one, or with personal models ``[C, ...]``, one per hospital."""
        algorithm, place = values.at_round(self.recipe.algorithm, state.round), self.placement
        algorithm = jax.tree.map(jnp.asarray, algorithm)  # to be indexed by a traced place
        if not algorithm.personal:
            one = jax.tree.map(lambda leaf: leaf[0], state.clients)
            return jax.tree.map(np.asarray, algorithm.variables(state.server, one))
        places = np.arange(place.plan.places)  # a client's state may be empty
        models = jax.vmap(lambda i, client: values.of_hospital(algorithm, i).variables(state.server, client))
        return place.by_hospital(models(places, state.clients))

    @cached_property
    def recipe(self) -> engine.Recipe:
        """The recipe with per-hospital numbers where their hospitals lie."""
        layout = self.placement
        return values.lay_out(self.unplaced, layout.position, layout.plan.places)

    @cached_property
    def choice(self) -> tuning.Choice:
        """The block and the form, and how they were found."""
        if self.measurement is not None:
            return self.measurement
        form, form_how = (default_form(), "judged") if self._form is None else (self._form, "given")
        if self.block is not None:
            return tuning.Choice(self.block, "given", form, form_how)
        alone = plan.place(self.work, devices=self.wanted_devices, block=1)
        parameters = self._parameters if alone.plan.slots >= 8 else 0
        flop = 6.0 * parameters * self._rows_per_step
        block = tuning.judged(self._steps, alone, flop, self._cpu)
        return tuning.Choice(block, "judged", form, form_how)

    @property
    def _cpu(self) -> bool:
        return jax.default_backend() == "cpu"

    @property
    def _rows_per_step(self) -> int:
        local = self.unplaced.local
        return local.batch_size or local.problem.chunk

    @cached_property
    def work(self) -> np.ndarray:
        """``[C]``: what devices are balanced by."""
        local = values.of_hospital(self.unplaced.local, ...)
        return np.asarray(local.work(self.hospitals.counts[:, TRAIN]))

    @property
    def _steps(self) -> np.ndarray:
        """``[C]``: batches, or chunks where there are no batches, of each hospital in a round."""
        local = self.unplaced.local
        return self.work if local.batch_size else np.ceil(self.work / local.problem.chunk)

    @property
    def _parameters(self) -> int:
        sample = jax.tree.map(lambda leaf: leaf[:1], self.hospitals.x)
        variables = jax.eval_shape(self.unplaced.local.problem.init, jax.random.key(0), sample)
        return sum(leaf.size for leaf in jax.tree.leaves(variables.params))

    def _worthwhile(self, rounds: int) -> bool:
        """Whether so many rounds are expected to take long enough to measure blocks first."""
        steps = rounds * self._steps.sum() / self.placement.plan.shards
        if steps < 1000:  # a guess from shapes costs more
            return False
        place = self.placement
        once = tuning.expected(self._steps, place, tuning.flop_of(self.recipe, self.federation))
        if rounds * once < tuning.WORTHWHILE:
            return False
        return rounds * once * self._share() >= tuning.WORTHWHILE

    def _share(self) -> float:
        """Share of the hospitals that take part in the first round."""
        state = State(jnp.zeros((), jnp.int32), jax.random.key(0), (), ())
        sizes, words = self.federation.sizes, self.federation.words
        present = jax.jit(engine.presence)(self.recipe.participation, state, sizes, words)
        return float(present.sum()) / max(int((sizes > 0).sum()), 1)

    @cached_property
    def placement(self) -> plan.Placement:
        """Where the hospitals lie that train."""
        return plan.place(self.work, devices=self.wanted_devices, block=self.choice.block)

    @cached_property
    def held_placement(self) -> plan.Placement:
        """Where the hospitals lie that are evaluated."""
        if self.subjects is self.hospitals:
            return self.placement
        work = self.subjects.counts[:, TRAIN + 1 :].sum(1)
        return plan.place(work, devices=self.devices, block=self.held_block or self.choice.block)

    @cached_property
    def federation(self) -> plan.Federation:
        """The training rows on the devices."""
        memory.check_rows(self.placement.plan, self.hospitals)
        return plan.federate(self.hospitals, self.placement)

    @cached_property
    def held(self) -> plan.HeldOut:
        """The rows of the evaluated splits on the devices."""
        splits = tuple(SPLITS.index(name) for name in self.splits)
        return plan.hold_out(self.subjects, self.held_placement, splits)
