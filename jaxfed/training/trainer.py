"""The trainer: a specification on devices, with the calls of the program that trains and evaluates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.stages import Traced

from jaxfed.core import hyperparameters, tree
from jaxfed.core.engine import runs, slots
from jaxfed.core.engine.recipe import RoundInfo
from jaxfed.core.group_algorithm import Parts
from jaxfed.core.layout import memory
from jaxfed.core.layout.plan import Placement, Plan
from jaxfed.core.types import State, Variables
from jaxfed.records.history import Arrays, History
from jaxfed.results.selected import Selected
from jaxfed.spec.spec import ALL, Spec
from jaxfed.training.judgement import judged_blocks, traced_step
from jaxfed.training.placed import Placed, lay_out, members_of
from jaxfed.training.predicted import predicted
from jaxfed.training.scored import fitted_baseline, has_baseline
from jaxfed.training.stretch import Stretch, most_evaluations, most_rounds, single_segment


class Trainer:
    """A checked specification laid out on devices; rows are copied there when they are first needed.

    Args:
        spec: the specification.
        layout: the layout of a checkpoint or of another run, as returned by :meth:`layout`; None to choose
            one.
    """

    def __init__(self, spec: Spec, layout: Mapping[str, Any] | None = None) -> None:
        if layout is not None and layout["form"] != spec.chosen_form:
            spec = dataclasses.replace(spec, form=layout["form"])
        self.spec, self._layout = spec, layout

    @cached_property
    def placed(self) -> Placed:
        """The placement of the hospitals."""
        if self._layout is not None:
            return lay_out(
                [self.spec],
                self._layout["blocks"],
                devices=self._layout["devices"],
                evaluation_blocks=self._layout["evaluation_blocks"],
            )
        return lay_out([self.spec], judged_blocks(self.spec), devices=self.spec.devices)

    @property
    def plan(self) -> Plan:
        """The layout of the group with the largest block."""
        return max(self.placed.plans, key=lambda plan: plan.block)

    def layout(self) -> dict[str, Any]:
        """Devices, blocks and the form of the models' operations, as plain numbers and text."""
        return {
            "form": self.spec.chosen_form,
            "devices": self.plan.devices_per_run,
            "blocks": [plan.block for plan in self.placed.plans],
            "evaluation_blocks": [plan.block for plan in self.placed.evaluation_plans],
        }

    def input(self, seed: int) -> slots.RunInput:
        """The inputs that determine the run, for a slot."""
        # jnp.asarray keeps Python's numbers weakly typed
        given = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], self._input(seed))
        return jax.device_put(given, NamedSharding(self.plan.mesh, slots.RUNS))

    def slot(self, seed: int, initial: Any = None) -> slots.Slot:
        """The slot before the first call: empty, or with given initial variables (of each group).

        Raises:
            InvalidInput: the state does not fit into memory.
        """
        given, best = self._input(seed), self.criterion is not None
        shapes = slots.slot_shapes(given, self.placed.data, plans=self.placed.plans, best=best)
        clients = [part.clients for part in (shapes.state, shapes.best) if part is not None]
        server = [part._replace(clients=()) for part in (shapes.state, shapes.best) if part is not None]
        memory.check_state(self.plan, server, clients)
        if initial is None:
            return slots.empty(given, self.placed.data, plans=self.placed.plans, together=1, best=best)
        variables = (initial,) if self.spec.models is None else tuple(initial[n] for n in self.names)
        return slots.filled(given, self.placed.data, variables, plans=self.placed.plans, best=best)

    def _input(self, seed: int) -> slots.RunInput:
        recipe = hyperparameters.padded(self.spec.recipe, self.plan.clients)
        return slots.RunInput(recipe, seed, 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(self.spec.local_trainings)

    def advance(
        self, given: slots.RunInput, slot: slots.Slot, stretch: Stretch, *, fresh: bool
    ) -> tuple[slots.Slot, runs.Results]:
        """Advance a run by a stretch; the old slot is donated."""
        return runs.advance(*self._arguments(given, slot, stretch, fresh), **self._statics)

    def traced(self, given: slots.RunInput, slot: slots.Slot) -> Traced:
        """The trace of the program, which is not compiled."""
        return runs.advance.trace(
            *self._arguments(given, slot, single_segment(0, self.segments), False), **self._statics
        )

    def check_memory(self, given: slots.RunInput, slot: slots.Slot) -> None:
        """Raise InvalidInput if rounds do not fit into memory."""
        train = tuple(rows.train for rows in self.placed.data.train)
        memory.check(self.traced(given, slot), self.plan, train, self._largest_block)

    def needed_memory(self, given: slots.RunInput, slot: slots.Slot) -> memory.Needed:
        """The memory that rounds need on each device."""
        train = tuple(rows.train for rows in self.placed.data.train)
        return memory.memory_needed(self.traced(given, slot), self.plan, train)

    def _largest_block(self, share: float) -> int:
        """The largest block for all groups whose working memory is at most ``share`` of the present one."""
        plans = self.placed.plans
        steps = [traced_step(local, self.spec.hospitals) for local in self.spec.recipe.locals]
        work = [memory.peak(step.jaxpr.jaxpr) for step in steps]  # bytes for a hospital
        allowed = share * max(w * plan.block for w, plan in zip(work, plans, strict=True))
        return math.floor(
            min(
                (allowed / w for w, plan in zip(work, plans, strict=True) if w * plan.slots > allowed),
                default=0,
            )
        )

    def _arguments(self, given: slots.RunInput, slot: slots.Slot, stretch: Stretch, fresh: bool) -> tuple:
        command = runs.SlotCommand(
            np.array([fresh]), np.array([False]), stretch.rounds[None], stretch.evaluate[None]
        )
        command = jax.device_put(command, NamedSharding(self.plan.mesh, slots.RUNS))
        return given, slot, command, self.placed.data

    @property
    def _statics(self) -> dict[str, Any]:
        return {
            "plans": self.placed.plans,
            "evaluation_plans": self.placed.evaluation_plans,
            "together": 1,
            "measure": self.spec.measure,
            "splits": len(self.spec.splits),
            "log": self.log,
            "criterion": self.criterion,
        }

    @property
    def segments(self) -> int:
        """The number of segments of a call."""
        return most_evaluations(len(self.spec.evaluation_hospitals))

    @property
    def log(self) -> int:
        """The number of rounds in a call, at most."""
        return most_rounds(len(self.spec.hospitals))

    @property
    def criterion(self) -> tuple[str, int] | None:
        """The metric and the split by whose pooled value the best round is chosen; None without such rows."""
        splits = self.spec.splits
        if "validation" not in splits:
            return None
        return self.spec.measure.scoring.loss, splits.index("validation")

    def history(self) -> History:
        """An empty history for this specification."""
        spec = self.spec
        return History.empty(
            spec.evaluation_hospitals, spec.splits, spec.hospitals.hospitals, spec.measure.scoring
        )

    def rounds_seen(self, info: RoundInfo, count: int) -> tuple[Arrays, np.ndarray]:
        """The metrics ``[count, C]`` of a call's first ``count`` rounds, and ``[count]`` refusals.

        A refusal is True if the server's new state was refused.
        """
        columns: dict[str, Any] = {**info.clients, "present": info.present, "rejected": info.rejected}
        hospitals = len(self.spec.hospitals)
        return {name: rows[0, :count, :hospitals] for name, rows in columns.items()}, np.asarray(
            info.refused[0, :count]
        )

    def best(self, slot: slots.Slot, given: slots.RunInput, earlier: Selected | None = None) -> Selected:
        """The model of the best evaluation; of the last round if no validation loss was finite.

        ``given`` are the inputs of the run; ``earlier`` is the best model of the run that it continues.
        """
        best = slot.best
        if best is not None and int(best.round[0]) >= 0:
            clients = slot.state.clients if best.clients == () else best.clients
            state = slot.state._replace(round=best.round, server=best.server, clients=clients)
            return self._selected(state, given)
        return earlier or self._selected(slot.state, given)

    def _selected(self, state: State, given: slots.RunInput) -> Selected:
        variables = self.variables(state)
        predictions = partial(predicted, self.placed, self.spec, given, state)
        hazard = partial(fitted_baseline, self.spec, variables) if has_baseline(self.spec) else None
        return Selected(int(state.round[0]), variables, predictions, hazard)

    def variables(self, state: State) -> Variables:
        """The model of a state ``[1, ...]``; see :func:`deployed`."""
        return deployed(self.spec, self.placed.placements[0], tree.entry(state, 0))


def deployed(spec: Spec, placements: Sequence[Placement], state: State) -> Variables:
    """The model of a state: the global model, or with personal models one per hospital.

    With ``models`` they are ``params[group]`` and ``stats[group]``. Leaves of personal models are
    ``[hospitals of the group, ...]`` in the data set's order.

    Args:
        spec: the specification of the run.
        placements: of each group's hospitals.
        state: without an axis over slots.
    """
    recipe = hyperparameters.after_rounds(spec.recipe, state.round)
    algorithm = jax.tree.map(jnp.asarray, recipe.algorithm)  # to be indexed by a traced number
    by_group = {}
    for g, name in enumerate(spec.local_trainings):
        server = Parts(state.server.common, state.server.group[g])
        clients = state.clients[g].algorithm
        if not algorithm.personal:
            by_group[name] = jax.tree.map(np.asarray, algorithm.variables(server, tree.entry(clients, 0)))
            continue
        at = placements[g].position
        members = members_of(spec.group_of, spec)[g]
        of_hospital = jax.vmap(
            lambda hospital, client, server=server: hyperparameters.at_hospital(
                algorithm, hospital
            ).variables(server, client)
        )
        states = jax.tree.map(lambda leaf: leaf[at], clients)  # noqa: B023
        by_group[name] = jax.tree.map(np.asarray, of_hospital(members, states))
    if spec.models is None:
        return by_group[ALL]
    return Variables(
        {name: v.params for name, v in by_group.items()}, {name: v.stats for name, v in by_group.items()}
    )
