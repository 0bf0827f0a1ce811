"""Hospitals that train one kind of model, laid out on devices: what a simulation runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core import engine, plan, predict, values
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
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
    def placement(self) -> plan.Placement:
        """Where the hospitals lie that train."""
        sizes = self.hospitals.counts[:, TRAIN]
        local = values.of_hospital(self.unplaced.local, ...)
        return plan.place(np.asarray(local.work(sizes)), devices=self.wanted_devices, block=self.block)

    @cached_property
    def held_placement(self) -> plan.Placement:
        """Where the hospitals lie that are evaluated."""
        if self.subjects is self.hospitals:
            return self.placement
        work = self.subjects.counts[:, TRAIN + 1 :].sum(1)
        return plan.place(work, devices=self.devices, block=self.held_block or self.block)

    @cached_property
    def federation(self) -> plan.Federation:
        """The training rows on the devices."""
        return plan.federate(self.hospitals, self.placement)

    @cached_property
    def held(self) -> plan.HeldOut:
        """The rows of the evaluated splits on the devices."""
        splits = tuple(SPLITS.index(name) for name in self.splits)
        return plan.hold_out(self.subjects, self.held_placement, splits)
