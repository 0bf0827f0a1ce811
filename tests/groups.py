"""Rounds of groups below Simulation, and every algorithm for them with small settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from federations import Lab, hospitals

from jaxfed.aggregators import WeightedMean, as_chain
from jaxfed.algorithms import FedAvg, mixed
from jaxfed.core.dataset import Dataset
from jaxfed.core.engine.recipe import Recipe
from jaxfed.core.group_algorithm import Parts
from jaxfed.core.hyperparameters import at_hospital
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.core.types import State
from jaxfed.models import MLP
from jaxfed.participation import Everyone

SGD = optimizer(optax.sgd, learning_rate=0.2)
OF = ("small", "large", "small", "large", "large")  # the group of each of the five hospitals
PUBLIC = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)


def models(outputs: int = 1) -> dict[str, Any]:
    """A logistic regression and a network."""
    return {"small": MLP((), outputs=outputs), "large": MLP((3,), outputs=outputs, activation=nn.tanh)}


MEME = MLP((2,), activation=nn.tanh)
CATALOGUE = {
    "ByGroup": mixed.ByGroup(FedAvg()),
    "DSFL": mixed.DSFL(PUBLIC, batch_size=None, epochs=2, weighting="samples"),
    "FML": mixed.FML(MEME, alpha=0.7, beta=0.4),
    "FedDF": mixed.FedDF(PUBLIC, steps=1, optimizer=SGD),
    "FedMD": mixed.FedMD(PUBLIC, batch_size=None, epochs=2, rows=4),
    "FedProto": mixed.FedProto(lam=2.0, weighting="samples"),
}


@dataclasses.dataclass(frozen=True)
class GroupLab:
    """Groups of hospitals, laid on devices. Full batches unless told otherwise: they compile sooner."""

    algorithm: Any
    data: Dataset = dataclasses.field(default_factory=hospitals)
    of: Sequence[str] = OF
    models: dict[str, Any] = dataclasses.field(default_factory=models)
    participation: Any = dataclasses.field(default_factory=Everyone)
    client: Any = SGD
    epochs: Any = 3
    batch_size: int | None = None
    devices: int = 1
    block: int = 1
    aggregator: Any = dataclasses.field(default_factory=WeightedMean)
    weights: Any = None

    @property
    def recipe(self) -> Recipe:
        locals = tuple(
            LocalTraining(
                Problem(None, as_model(model), self.data.task),
                self.client,
                self.epochs,
                None,
                self.batch_size,
            )
            for model in self.models.values()
        )
        return Recipe(self.algorithm, locals, as_chain(self.aggregator), self.participation, self.weights)

    @property
    def lab(self) -> Lab:
        of = [[*self.models].index(name) for name in self.of]
        return Lab(self.recipe, self.data, self.devices, self.block, of)

    def rounds(self, rounds: int, seed: int = 0) -> tuple[State, dict[str, Any], dict[str, np.ndarray]]:
        """The state, the models ``[hospitals of a group, ...]`` of each group, and what was seen."""
        state, info = self.lab.advance(self.lab.start(seed), rounds)
        seen = {**info.clients, "present": info.present, "rejected": info.rejected}
        return state, self.deployed(state), {name: np.asarray(v)[:rounds] for name, v in seen.items()}

    def deployed(self, state: State) -> dict[str, Any]:
        """The models of each group; also where all of a group are the same, one for each hospital."""
        algorithm, models = jax.tree.map(jnp.asarray, self.algorithm), {}
        for g, (name, members, place) in enumerate(
            zip(self.models, self.lab.members, self.lab.placements, strict=True)
        ):
            server = Parts(state.server.common, state.server.group[g])
            clients = place.by_hospital(state.clients[g].algorithm)

            def model(hospital: Any, client: Any, server: Parts = server) -> Any:
                return at_hospital(algorithm, hospital).variables(server, client).params

            models[name] = jax.tree.map(np.asarray, jax.vmap(model)(members, clients))
        return models

    def each(self, found: dict[str, Any]) -> list[Any]:
        """The models of :meth:`rounds`, one for each hospital in the data set's order, in float64."""
        place = [list(self.of[:c]).count(name) for c, name in enumerate(self.of)]
        return [
            jax.tree.map(lambda leaf: np.asarray(leaf[i], np.float64), found[name])  # noqa: B023
            for i, name in zip(place, self.of, strict=True)
        ]

    def start(self) -> State:
        return self.lab.start(0)

    def replace(self, **changes: Any) -> GroupLab:
        return dataclasses.replace(self, **changes)
