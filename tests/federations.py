"""Tiny federations, and rounds on them below Simulation: what the tests of the core are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from jaxfed.aggregators import WeightedMean
from jaxfed.algorithms import FedAvg
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.engine import rounds as engine
from jaxfed.core.layout import plan
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.core.types import State
from jaxfed.models import MLP
from jaxfed.participation import Everyone

SIZES = (11, 4, 7, 1, 9)


def hospitals(
    sizes: Sequence[int] = SIZES, *, d: int = 3, test: int = 0, seed: int = 0, task: Any = "binary"
) -> Dataset:
    """Hospitals of so many training rows, and ``test`` test rows each; float64 where x64 is on."""
    rng = np.random.default_rng(seed)
    size = np.array([n + test if n else 0 for n in sizes])
    n = int(size.sum())
    x = rng.normal(size=(n, d))
    score = x @ np.linspace(1, -1, d) + 0.5 * rng.normal(size=n)
    y: np.ndarray = (score > 0).astype(np.int32)
    if task == "multiclass":
        y = np.digitize(score, [-0.7, 0.7]).astype(np.int32)
    if task == "regression":
        y = score
    split = np.concatenate([[0] * (k - test) + [2] * test if k else [] for k in size])
    return Dataset(
        x=x,
        y=y,
        size=size,
        split=split.astype(np.int8),
        hospitals=tuple(f"hospital {c}" for c in range(len(sizes))),
        task=task,
        classes={"binary": ("0", "1"), "multiclass": ("a", "b", "c"), "regression": ()}[task],
    )


def recipe(
    data: Dataset,
    *,
    model: Any = None,
    algorithm: Any = None,
    participation: Any = None,
    aggregator: Any = None,
    client: Any = None,
    epochs: int | None = 1,
    steps: int | None = None,
    batch_size: int | None = 4,
    l2: Any = None,
) -> engine.Recipe:
    """A recipe with defaults that are quick to compile."""
    model = model or MLP((4,), outputs=data.outputs, activation=nn.tanh)
    problem = Problem(l2, as_model(model), data.task)
    client = client or optimizer(optax.sgd, learning_rate=0.2)
    local = LocalTraining(problem, client, None if steps else epochs, steps, batch_size)
    return engine.Recipe(
        (algorithm or FedAvg()).for_model(local, data.x),
        local,
        aggregator or WeightedMean(),
        participation or Everyone(),
    )


@dataclasses.dataclass(frozen=True)
class Lab:
    """A recipe, and hospitals laid on devices."""

    recipe: engine.Recipe
    data: Dataset
    devices: int = 1
    block: int = 1

    @property
    def placement(self) -> plan.Placement:
        work = np.asarray(self.recipe.local.work(self.data.counts[:, TRAIN]))
        return plan.place(work, devices=self.devices, block=self.block)

    @property
    def federation(self) -> plan.Federation:
        return plan.federate(self.data, self.placement)

    def start(self, seed: int = 0, initial: Any = None) -> State:
        if initial is None:
            return engine.start(self.recipe, self.placement.plan, self.federation, seed)
        return engine.start_from(self.recipe, self.placement.plan, initial, jax.random.key(seed))

    def advance(self, state: State, rounds: int, capacity: int = 4) -> tuple[State, engine.Log]:
        return engine.advance(
            self.recipe, self.placement.plan, self.federation, state, rounds, capacity=capacity
        )

    def rounds(self, rounds: int, seed: int = 0, initial: Any = None, capacity: int = 4):  # type: ignore[no-untyped-def]
        """Server state, client states ``[C, ...]`` and log ``[R, C]``, in the data set's order."""
        state, log = self.advance(self.start(seed, initial), rounds, capacity)
        position = self.placement.position
        seen = jax.tree.map(lambda leaf: np.asarray(leaf)[:rounds, position], log._replace(kept=None))
        seen = seen._replace(kept=np.asarray(log.kept)[:rounds])
        server = jax.tree.map(np.asarray, state.server)
        return server, self.placement.by_hospital(state.clients), seen

    def replace(self, **changes: Any) -> Lab:
        return dataclasses.replace(self, **changes)


def same(a: Any, b: Any, rtol: float | None = None, atol: float = 1e-6) -> None:
    """Two trees are equal: bit for bit, or to ``rtol`` and ``atol``."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jax.dtypes.issubdtype(left.dtype, jax.dtypes.prng_key):
            left, right = jax.random.key_data(left), jax.random.key_data(right)
        if rtol is None:
            np.testing.assert_array_equal(left, right)
        else:
            np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)
