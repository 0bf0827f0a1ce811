"""Tiny federations, and rounds on them below Simulation: what the tests of the core are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxfed.aggregators import WeightedMean, as_chain
from jaxfed.algorithms import FedAvg
from jaxfed.core import hyperparameters
from jaxfed.core.dataset import TEST, TRAIN, VALIDATION, Dataset
from jaxfed.core.engine import rounds
from jaxfed.core.engine.recipe import COPIED, STATE, Recipe, RoundInfo
from jaxfed.core.group_algorithm import ByGroup
from jaxfed.core.layout.plan import Placement, Plan, place_groups
from jaxfed.core.layout.store import TrainingData, training_data
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Problem
from jaxfed.core.types import Shard, State
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


def with_validation(data: Dataset) -> Dataset:
    """The data with every second row of the store, where it is a test row, for validation."""
    second = (data.split == TEST) & (np.arange(len(data.y)) % 2 == 0)
    return data.replace(split=np.where(second, VALIDATION, data.split).astype(np.int8))


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
    weights: Any = None,
) -> Recipe:
    """A recipe with defaults that are quick to compile."""
    model = model or MLP((4,), outputs=data.outputs, activation=nn.tanh)
    problem = Problem(l2, as_model(model), data.task)
    client = client or optimizer(optax.sgd, learning_rate=0.2)
    local = LocalTraining(problem, client, None if steps else epochs, steps, batch_size)
    return Recipe(
        ByGroup((algorithm or FedAvg()).for_model(local, data.x)),
        (local,),
        as_chain(aggregator or WeightedMean()),
        participation or Everyone(),
        weights,
    )


@dataclasses.dataclass(frozen=True)
class Lab:
    """A recipe for hospitals of one or several groups of models, and the hospitals laid on devices.

    ``of`` is the number of the group of each hospital.
    """

    recipe: Recipe
    data: Dataset
    devices: int = 1
    block: int = 1
    of: Sequence[int] | None = None

    @property
    def members(self) -> list[np.ndarray]:
        of = np.zeros(len(self.data), int) if self.of is None else np.array(self.of)
        return [np.flatnonzero(of == g) for g in range(len(self.recipe.locals))]

    @property
    def placements(self) -> list[Placement]:
        local = hyperparameters.at_hospital(self.recipe.locals[0], ...)
        work = np.asarray(local.work(self.data.counts[:, TRAIN]))
        return place_groups(
            [work[m] for m in self.members],
            [self.block] * len(self.members),
            devices=self.devices,
            clients=len(self.data),
        )

    @property
    def plans(self) -> tuple[Plan, ...]:
        return tuple(placement.plan for placement in self.placements)

    @property
    def input(self) -> Recipe:
        return hyperparameters.padded(self.recipe, len(self.data))

    @property
    def training_data(self) -> tuple[TrainingData, ...]:
        """Of each group."""
        return tuple(
            training_data([self.data], [place], [members])
            for place, members in zip(self.placements, self.members, strict=True)
        )

    @property
    def algorithm(self) -> Any:
        """The algorithm for the model of a single group."""
        return self.recipe.algorithm.algorithm

    @property
    def local(self) -> LocalTraining:
        """The training of a single group."""
        return self.recipe.locals[0]

    def clients(self, state: State) -> Any:
        """What hospitals of a single group keep ``[C, ...]``, in the data set's order."""
        return self.placements[0].by_hospital(state.clients[0].algorithm)

    def with_states(self, state: State, server: Any, clients: Any) -> State:
        """A state with other states of a single group's server and hospitals ``[C, ...]``."""
        position = self.placements[0].position
        laid = jax.tree.map(lambda leaf, new: leaf.at[position].set(new), state.clients[0].algorithm, clients)
        return state._replace(
            server=state.server._replace(group=(server,)),
            clients=(state.clients[0]._replace(algorithm=laid),),
        )

    def deployed(self, state: State) -> Any:
        """The model that each hospital of a single group would use, ``[C, ...]``, before it adapts it."""
        algorithm = jax.tree.map(jnp.asarray, self.input.algorithm.algorithm)

        def model(hospital: Any, client: Any) -> Any:
            return hyperparameters.at_hospital(algorithm, hospital).variables(server_in(state), client)

        use = jax.jit(jax.vmap(model))
        return jax.tree.map(np.asarray, use(jnp.arange(len(self.data)), self.clients(state)))

    def shard(self, hospital: int = 0) -> Shard:
        """A hospital's training rows."""
        (data,), place = self.training_data, self.placements[0].position[hospital]
        train = jax.tree.map(np.asarray, data.train)
        x, y = jax.tree.map(jnp.asarray, (train.x, train.y))
        start, size = (jnp.asarray(leaf[place], jnp.int32) for leaf in (train.start, train.size))
        return Shard(x, y, start, size, None, jnp.int32(hospital))

    def start(self, seed: int = 0, initial: Any = None) -> State:
        if initial is None:
            return rounds.start(self.input, self.plans, self.training_data, seed)
        initial = initial if self.of is not None else (initial,)
        return rounds.start_from(self.input, self.plans, self.training_data, initial, jax.random.key(seed))

    def advance(self, state: State, count: int, capacity: int = 4) -> tuple[State, RoundInfo]:
        return repeated(self.input, self.plans, self.training_data, state, count, capacity)

    def rounds(self, count: int, seed: int = 0, initial: Any = None, capacity: int = 4):  # type: ignore[no-untyped-def]
        """Server state, client states ``[C, ...]`` and what is seen ``[R, C]``, in the data set's order.

        Of a single group its own states; of several a tuple.
        """
        state, info = self.advance(self.start(seed, initial), count, capacity)
        seen = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], info)
        server = jax.tree.map(np.asarray, state.server)
        clients = [
            place.by_hospital(client.algorithm)
            for place, client in zip(self.placements, state.clients, strict=True)
        ]
        if self.of is None:
            return server.group[0], clients[0], seen
        return server, clients, seen

    def replace(self, **changes: Any) -> Lab:
        return dataclasses.replace(self, **changes)


def server_in(state: State) -> Any:
    """The server's state of a single group, or the first of several."""
    return state.server.group[0]


def server_of(run: Any) -> Any:
    """The server's state at the end of a run, of a single group."""
    return jax.tree.map(lambda leaf: leaf[0], server_in(run.state))


@partial(jax.jit, static_argnames=("plans", "capacity"))
def repeated(recipe: Recipe, plans: Any, data: Any, state: State, count: Any, capacity: int) -> Any:
    """``count`` rounds, and what is seen of them, with room for ``capacity``."""

    def on_device(recipe: Recipe, data: Any, state: State) -> Any:
        step = jax.jit(partial(rounds.round_on_device, recipe, plans, data))  # traced once
        shapes = jax.eval_shape(step, state)[1]
        seen = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)

        def body(r: Any, carry: Any) -> Any:
            state, seen = carry
            state, info = step(state)
            return state, jax.tree.map(lambda rows, row: rows.at[r].set(row), seen, info)

        return jax.lax.fori_loop(0, count, body, (state, seen))

    return jax.shard_map(
        on_device,
        mesh=plans[0].mesh,
        in_specs=(COPIED, COPIED, STATE),
        out_specs=(STATE, COPIED),
        check_vma=False,
    )(recipe, data, state)


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
