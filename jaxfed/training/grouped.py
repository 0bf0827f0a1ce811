"""Hospitals with different models, laid out on devices group by group: what a simulation with groups runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Traced

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.engine import groups
from jaxfed.core.engine.rounds import Log
from jaxfed.core.group_algorithm import Parts
from jaxfed.core.layout import memory, plan
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.nn.rewrite import default_form
from jaxfed.core.task import Measure
from jaxfed.core.types import State, Variables
from jaxfed.records.history import Arrays, History
from jaxfed.training import autotune as tuning

OVERHEAD = 10_000  # a row of a model of so many parameters costs twice what one of no parameters does


@dataclasses.dataclass(frozen=True, eq=False)
class Grouped:
    """A trainer, see :class:`jaxfed.training.loop.Trainer`, of G groups of hospitals, each one batched axis.

    Attributes:
        unplaced: what is done in a round; per-hospital numbers in the data set's order.
        hospitals: the data.
        names: of the groups.
        group: ``[C]`` number of the group of each hospital.
        parameters: how many each group's model has, to balance devices by.
        splits: which splits are evaluated.
        description: the configuration as plain text and numbers.
        identity: gives the configuration in words that are exact, see :mod:`jaxfed.storage.fingerprint`.
        wanted_devices: how many of jax's devices to use; None for all.
        wanted_blocks: of each group; None for those that are judged from shapes.
        metrics: users' own, ``(name, metric)``.
    """

    unplaced: groups.GroupRecipe
    hospitals: Dataset
    names: tuple[str, ...]
    group: np.ndarray
    parameters: tuple[int, ...]
    splits: tuple[str, ...]
    description: dict[str, Any]
    identity: Callable[[], dict[str, str]]
    wanted_devices: int | None = None
    wanted_blocks: tuple[int, ...] | None = None
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
        return len(self.plans[0].devices)

    def describe(self) -> dict[str, Any]:
        """The configuration as plain text and numbers."""
        return self.description

    def layout(self) -> dict[str, Any]:
        """Devices, and the block of each group."""
        return {"devices": self.devices, "blocks": [plan.block for plan in self.plans]}

    def laid_out(self, layout: dict[str, Any]) -> Grouped:
        """This with the devices and the blocks of a checkpoint."""
        if layout == self.layout():
            return self
        blocks = tuple(layout["blocks"])
        return dataclasses.replace(self, wanted_devices=layout["devices"], wanted_blocks=blocks)

    def prepared(self, rounds: int, capacity: int) -> Grouped:
        """This: blocks of groups are not measured."""
        return self

    def check(self, state: State, capacity: int) -> None:
        """Raise InvalidInput where rounds from ``state`` do not fit into memory."""
        largest = max(self.plans, key=lambda plan: plan.block)
        memory.check(self.traced(state, capacity), largest, self.train, self._cut)

    def traced(self, state: State, capacity: int) -> Traced:
        """Rounds from ``state``, not yet compiled."""
        return groups.advance.trace(self.recipe, self.plans, self.federations, state, 0, capacity=capacity)

    def _cut(self, share: float) -> int:
        """The block, one for all groups, that needs so much of what the group with most work needs now."""
        steps = map(tuning.traced_step, self.unplaced.locals, self.federations)
        work = [memory.peak(step.jaxpr.jaxpr) for step in steps]  # of one hospital
        there = share * max(one * plan.block for one, plan in zip(work, self.plans, strict=True))
        return math.floor(
            min(there / one for one, plan in zip(work, self.plans, strict=True) if one * plan.slots > there)
        )

    def history(self) -> History:
        """A history with nothing in it."""
        return History.of(self.hospitals, self.splits, self.hospitals.hospitals, self.measured_by.scoring)

    def start(self, seed: int, initial: Mapping[str, Variables] | None) -> State:
        """The state before the first round; ``initial`` has variables for every group."""
        if initial is None:
            return groups.start(self.recipe, self.plans, self.federations, seed)
        given = tuple(initial[name] for name in self.names)
        return groups.start_from(self.recipe, self.plans, self.federations, given, jax.random.key(seed))

    def advance(self, state: State, rounds: int, capacity: int) -> tuple[State, Log]:
        """The state some rounds later, and their log; the old state is donated."""
        return groups.advance(self.recipe, self.plans, self.federations, state, rounds, capacity=capacity)

    def logged(self, log: Log, count: int) -> tuple[Arrays, np.ndarray]:
        """The log's first ``count`` rounds, ``[count, C]`` in the data set's order, and ``kept``."""
        seen = [
            {name: np.asarray(rows)[:count, place.position].T for name, rows in columns.items()}
            for columns, place in zip(_columns(log), self.placements, strict=True)
        ]
        return {name: rows.T for name, rows in self._together(seen).items()}, np.asarray(log.kept)[:count]

    def measure(self, state: State) -> tuple[Arrays, Arrays]:
        """Metrics of each hospital ``[C, S]`` and of all rows ``[S]``."""
        single, pooled = groups.evaluate(
            self.recipe,
            self.plans,
            self.federations,
            self.held,
            state,
            measure=self.measured_by,
            splits=len(self.splits),
        )
        by_group = [place.by_hospital(one) for one, place in zip(single, self.placements, strict=True)]
        return self._together(by_group), jax.tree.map(np.asarray, pooled)

    def variables(self, state: State) -> Variables:
        """The models by group, ``params[group]`` and ``stats[group]``.

        With personal models their leaves are ``[hospitals of the group, ...]`` in the data set's order.
        """
        recipe = jax.tree.map(jnp.asarray, values.at_round(self.recipe, state.round))
        found = {
            name: self._models(group.algorithm, Parts(state.server.common, own), clients, place)
            for name, group, own, clients, place in zip(
                self.names,
                groups.of_groups(recipe, self.plans),
                state.server.own,
                state.clients,
                self.placements,
                strict=True,
            )
        }
        return Variables(
            {name: one.params for name, one in found.items()},
            {name: one.stats for name, one in found.items()},
        )

    def _models(self, algorithm: Any, server: Parts, clients: Any, place: plan.Placement) -> Variables:
        if not algorithm.personal:
            one = jax.tree.map(lambda leaf: leaf[0], clients)
            return jax.tree.map(np.asarray, algorithm.variables(server, one))
        deploy: Callable[..., Any] = jax.vmap(
            lambda i, client: values.of_hospital(algorithm, i).variables(server, client)
        )
        return place.by_hospital(
            deploy(np.arange(place.plan.places), clients)
        )  # a client's state may be empty

    def _together(self, by_group: list[dict[str, np.ndarray]]) -> Arrays:
        """``[hospitals of the group, ...]`` of every group as ``[C, ...]`` in the data set's order."""
        order = np.argsort(np.argsort(self.group, kind="stable"))
        return {name: np.concatenate([one[name] for one in by_group])[order] for name in by_group[0]}

    @cached_property
    def parts(self) -> tuple[Dataset, ...]:
        """Each group's hospitals, in the data set's order."""
        names = np.array(self.hospitals.hospitals)
        return tuple(self.hospitals.select(names[self.group == g].tolist()) for g in range(len(self.names)))

    @cached_property
    def placements(self) -> tuple[plan.Placement, ...]:
        """Where each group's hospitals lie."""
        blocks = self._judged if self.wanted_blocks is None else self.wanted_blocks
        return tuple(plan.place_groups(self.work, blocks, devices=self.wanted_devices))

    @property
    def choice(self) -> tuning.Choice:
        """The largest block and the form, and how they were found; nothing is measured."""
        how = "judged" if self.wanted_blocks is None else "given"
        form = self.unplaced.locals[0].problem.model.form
        form_how = "judged" if form is None else "given"
        return tuning.Choice(max(plan.block for plan in self.plans), how, form or default_form(), form_how)

    @property
    def _judged(self) -> tuple[int, ...]:
        """A block for each group, from shapes."""
        alone = plan.place_groups(self.work, [1] * len(self.names), devices=self.wanted_devices)
        cpu, found = jax.default_backend() == "cpu", []
        for place, local, rows, parameters in zip(
            alone, self.unplaced.locals, self._rows, self.parameters, strict=True
        ):
            at_once = local.batch_size or local.problem.chunk
            found.append(tuning.judged(np.ceil(rows / at_once), place, 6.0 * parameters * at_once, cpu))
        return tuple(found)

    @property
    def work(self) -> list[np.ndarray]:
        """``[hospitals of the group]``: what devices are balanced by."""
        costs = zip(self._rows, self.parameters, strict=True)
        return [rows * (OVERHEAD + parameters) for rows, parameters in costs]

    @cached_property
    def _rows(self) -> list[np.ndarray]:
        """``[hospitals of the group]``: rows that each trains on in a round."""
        sizes, found = self.hospitals.counts[:, TRAIN], []
        for g, local in enumerate(self.unplaced.locals):
            own = np.asarray(values.of_hospital(local, ...).work(sizes)) * (local.batch_size or 1)
            found.append((own + self.unplaced.algorithm.extra_rows() * (sizes > 0))[self.group == g])
        return found

    @property
    def plans(self) -> tuple[plan.Plan, ...]:
        """The static parts."""
        return tuple(place.plan for place in self.placements)

    @cached_property
    def recipe(self) -> groups.GroupRecipe:
        """The recipe with per-hospital numbers where their hospitals lie."""
        places = np.cumsum([0, *(plan.places for plan in self.plans)])
        position = np.zeros(len(self.hospitals), np.int64)
        for g, place in enumerate(self.placements):
            position[self.group == g] = places[g] + place.position
        return values.lay_out(self.unplaced, position, int(places[-1]))

    @cached_property
    def federations(self) -> tuple[plan.Federation, ...]:
        """The training rows on the devices."""
        memory.check_rows(self.plans[0], self.hospitals)
        return tuple(
            plan.federate(part, place) for part, place in zip(self.parts, self.placements, strict=True)
        )

    @property
    def train(self) -> tuple[plan.Store, ...]:
        """The training rows of each group."""
        return tuple(federation.train for federation in self.federations)

    @cached_property
    def held(self) -> tuple[plan.HeldOut, ...]:
        """The rows of the evaluated splits on the devices."""
        splits = tuple(SPLITS.index(name) for name in self.splits)
        return tuple(
            plan.hold_out(part, place, splits)
            for part, place in zip(self.parts, self.placements, strict=True)
        )


def _columns(log: Log) -> list[dict[str, Any]]:
    """What each group's log shows; its entries are tuples over groups."""
    groups: Any = zip(log.clients, log.present, log.rejected, strict=True)
    return [{**clients, "present": present, "rejected": rejected} for clients, present, rejected in groups]
