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
from jaxfed.core import groups
from jaxfed.core.dataset import Dataset
from jaxfed.core.groups import GroupRecipe
from jaxfed.core.local import LocalTraining
from jaxfed.core.modules import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.core.types import State
from jaxfed.grouped import Grouped
from jaxfed.models import MLP
from jaxfed.participation import Everyone

SGD = optimizer(optax.sgd, learning_rate=0.2)
OF = ("small", "large", "small", "large", "large")  # the group of each of the five hospitals
PUBLIC = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)


def models(outputs: int = 1) -> dict[str, Any]:
    """A logistic regression and a network."""
    return {"small": MLP((), outputs=outputs), "large": MLP((3,), outputs=outputs, activation=nn.tanh)}


CATALOGUE = {
    "ByGroup": mixed.ByGroup(FedAvg()),
    "FedMD": mixed.FedMD(public=PUBLIC, batch_size=None, epochs=2, rows=4),
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
            block=self.block,
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

    def start(self) -> State:
        return self.trainer.start(0, None)

    def replace(self, **changes: Any) -> GroupLab:
        return dataclasses.replace(self, **changes)


def advance(lab: GroupLab, state: State, rounds: int) -> State:
    """Some rounds more."""
    return lab.trainer.advance(state, rounds, 4)[0]


__all__ = ["CATALOGUE", "OF", "PUBLIC", "GroupLab", "advance", "groups", "models"]
