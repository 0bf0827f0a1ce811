"""Rounds of groups below Simulation, and every algorithm for them with small settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from federations import hospitals

from jaxfed.aggregators import WeightedMean
from jaxfed.algorithms import FedAvg, mixed
from jaxfed.core.dataset import Dataset
from jaxfed.core.engine.groups import GroupRecipe
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.core.types import State
from jaxfed.models import MLP
from jaxfed.participation import Everyone
from jaxfed.training.grouped import Grouped

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

    @property
    def trainer(self) -> Grouped:
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
        names = tuple(self.models)
        return Grouped(
            unplaced=GroupRecipe(self.algorithm, locals, WeightedMean(), self.participation),
            hospitals=self.data,
            names=names,
            group=np.array([names.index(name) for name in self.of]),
            parameters=(1,) * len(names),
            splits=("test",),
            description={},
            identity=dict,
            wanted_devices=self.devices,
            wanted_blocks=(self.block,) * len(names),
        )

    def rounds(self, rounds: int, seed: int = 0) -> tuple[State, dict[str, Any], dict[str, np.ndarray]]:
        """The state, the models ``[hospitals of a group, ...]`` of each group, and the log ``[R, C]``."""
        trainer = self.trainer
        state, log = trainer.advance(trainer.start(seed, None), rounds, 4)
        return state, self.deployed(state), trainer.logged(log, rounds)[0]

    def deployed(self, state: State) -> dict[str, Any]:
        """The models of each group; also where all of a group are the same, one for each hospital."""
        found = self.trainer.variables(state)
        if self.trainer.personal:
            return found.params
        count = {name: list(self.of).count(name) for name in self.models}
        return {
            name: jax.tree.map(lambda leaf: np.broadcast_to(leaf, (count[name], *leaf.shape)), params)  # noqa: B023
            for name, params in found.params.items()
        }

    def each(self, found: dict[str, Any]) -> list[Any]:
        """The models of :meth:`rounds`, one for each hospital in the data set's order, in float64."""
        place = [list(self.of[:c]).count(name) for c, name in enumerate(self.of)]
        return [
            jax.tree.map(lambda leaf: np.asarray(leaf[i], np.float64), found[name])  # noqa: B023
            for i, name in zip(place, self.of, strict=True)
        ]

    def start(self) -> State:
        return self.trainer.start(0, None)

    def replace(self, **changes: Any) -> GroupLab:
        return dataclasses.replace(self, **changes)
