"""Hospitals that train one kind of model, laid out on devices: what a simulation runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core import choices, engine, memory, plan, predict, tuning, values
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.core.types import State, Variables
from jaxfed.evaluation import MEASURES
from jaxfed.history import Arrays, History


@dataclasses.dataclass(frozen=True, eq=False)
class Federated:
    """A trainer, see :class:`jaxfed.loop.Trainer`, of all hospitals as one batched axis.

    Attributes:
        unplaced: what is done in a round; per-hospital numbers in the data set's order.
        hospitals: those that train.
        subjects: those that are evaluated.
        splits: which of their splits.
        description: the configuration as plain text and numbers.
        identity: gives the configuration in words that are exact, see :mod:`jaxfed.words`.
        wanted_devices, block: as given to :func:`jaxfed.core.plan.place`.
        held_block: ``block`` for the hospitals that are evaluated, where it is another.
        measurement: how ``block`` was found, where it was measured.
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
        """Devices and blocks."""
        return {
            "devices": self.devices,
            "block": self.placement.plan.block,
            "held_block": self.held_placement.plan.block,
        }

    def laid_out(self, layout: dict[str, Any]) -> Federated:
        """This with the devices and blocks of a checkpoint."""
        if layout == self.layout():
            return self
        return dataclasses.replace(
            self, wanted_devices=layout["devices"], block=layout["block"], held_block=layout["held_block"]
        )

    def prepared(self, rounds: int, capacity: int) -> Federated:
        """This with a block that is measured, or was before, if so many rounds are worth it."""
        blocks = tuning.candidates(self.placement.plan.slots, self._cpu)
        if self.block is not None or len(blocks) == 1 or not self._worthwhile(rounds):
            return self
        state = self.start(0, None)
        program = engine.advance.trace(
            self.recipe, self.placement.plan, self.federation, state, 0, capacity=1
        )
        name = choices.name_of(str(program.jaxpr), self._steps.tolist())
        found = choices.recall(name)
        if found is None:
            choice = self._measured(blocks, capacity)
            choices.keep(name, {"block": choice.block, "seconds": choice.seconds})
        else:
            seconds = {int(block): float(time) for block, time in found["seconds"].items()}
            choice = tuning.Choice(found["block"], "remembered", seconds)
        return self._with(choice)

    def _measured(self, blocks: list[int], capacity: int) -> tuning.Choice:
        watch = tuning.Stopwatch(self._cpu)

        def seconds(block: int) -> float:
            one = dataclasses.replace(self, block=block)
            state = one.start(0, None)
            try:
                one.check(state, capacity)
            except InvalidInput:  # more than the memory holds
                return math.inf
            return watch(one.recipe, one.placement.plan, one.federation, state, capacity)

        found = tuning.climb(blocks, seconds, min(blocks, key=lambda b: abs(b - self.choice.block)))
        return tuning.Choice(min(found, key=found.__getitem__), "measured", found)

    def _with(self, choice: tuning.Choice) -> Federated:
        """This with that block; the same object for the same block, because it holds the rows."""
        if choice.block not in self._others:
            self._others[choice.block] = dataclasses.replace(self, block=choice.block, measurement=choice)
        self.__dict__.pop("federation", None)  # made again if it is needed: rows are held once
        return self._others[choice.block]

    @cached_property
    def _others(self) -> dict[int, Federated]:
        return {}

    def check(self, state: State, capacity: int) -> None:
        """Raise InvalidInput where rounds from ``state`` do not fit into memory."""
        memory.check(self.recipe, self.placement.plan, self.federation, state, capacity)

    def history(self) -> History:
        """A history with nothing in it."""
        return History.of(self.subjects, self.splits, self.hospitals.hospitals)

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
            measure=MEASURES[self.hospitals.task],
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
        """The block, and how it was found."""
        if self.block is not None:
            return self.measurement or tuning.Choice(self.block, "given")
        alone = plan.place(self.work, devices=self.wanted_devices, block=1)
        parameters = self._parameters if alone.plan.slots >= 8 else 0
        flop = 6.0 * parameters * self._rows_per_step
        return tuning.Choice(tuning.judged(self._steps, alone, flop, self._cpu), "judged")

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
        on_device = self.hospitals.counts[:, TRAIN].sum() // self.placement.plan.shards
        memory.check_rows(self.placement.plan, int(on_device), (self.hospitals.x, self.hospitals.y))
        return plan.federate(self.hospitals, self.placement)

    @cached_property
    def held(self) -> plan.HeldOut:
        """The rows of the evaluated splits on the devices."""
        splits = tuple(SPLITS.index(name) for name in self.splits)
        return plan.hold_out(self.subjects, self.held_placement, splits)
