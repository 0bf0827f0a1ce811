"""Runs in slots: their inputs, their states on the devices, and the best model of each so far.

The program of :mod:`jaxfed.core.engine.runs` advances slots.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from jaxfed.core.engine import rounds
from jaxfed.core.engine.recipe import Plans, Recipe
from jaxfed.core.layout.plan import CONFIGS, DEVICES, Plan
from jaxfed.core.layout.store import COPIED, SHARDED, EvaluationData, TrainingData
from jaxfed.core.types import State, Variables

RUNS, RUNS_OF_PLACES = PartitionSpec(CONFIGS), PartitionSpec(CONFIGS, DEVICES)


class RunInput(NamedTuple):
    """The inputs that determine a run; ``[W, ...]`` for W slots.

    Attributes:
        recipe: the parts of a round, with per-hospital numbers as ``[C]``.
        seed: integer.
        data: int32, the number of the run's data set.
    """

    recipe: Recipe
    seed: Array | int
    data: Array | int


class Best(NamedTuple):
    """The model of the best evaluation so far; ``[W, ...]`` for W slots.

    Attributes:
        loss: of that evaluation, infinite before the first.
        round: int32, rounds done then; -1 before the first evaluation.
        server: the server's part of the state.
        clients: that of the hospitals if models are personal, else ``()``.
    """

    loss: Array
    round: Array
    server: Any
    clients: Any


class Slot(NamedTuple):
    """A run in progress; ``[W, ...]`` for W slots.

    Attributes:
        state: the run's state.
        diverged: int32, rounds done when it diverged; 0 while it has not.
        best: the model of the best evaluation; None to keep none.
    """

    state: State
    diverged: Array
    best: Best | None = None


class Data(NamedTuple):
    """Data sets of equal shapes, for each group of models.

    If there are V > 1, every leaf has a first axis of length V.
    """

    train: tuple[TrainingData, ...]
    evaluation: tuple[EvaluationData, ...]

    @property
    def stacked(self) -> bool:
        """Whether there are several data sets."""
        return self.train[0].sizes.ndim > 1

    @property
    def specs(self) -> Any:
        """How the leaves lie on the devices."""
        return Data(COPIED, SHARDED if self.stacked else PartitionSpec(DEVICES))  # type: ignore[arg-type]


STATE: Any = State(RUNS, RUNS, RUNS, RUNS_OF_PLACES, RUNS, RUNS)  # type: ignore[arg-type]
BEST: Any = Best(RUNS, RUNS, RUNS, RUNS_OF_PLACES)  # type: ignore[arg-type]


def none_yet(best: Best | None, state: State) -> Best | None:
    """``best`` of a run before its first evaluation."""
    if best is None:
        return None
    clients = () if best.clients == () else state.clients
    return Best(jnp.full_like(best.loss, jnp.inf), jnp.full_like(best.round, -1), state.server, clients)


def better(best: Best | None, state: State, loss: Array) -> Best:
    """The better one of ``best`` and an evaluation with this loss, which is NaN where there was none."""
    assert best is not None, "a slot with a criterion has one"
    clients = () if best.clients == () else state.clients
    now = Best(loss.astype(best.loss.dtype), state.round, state.server, clients)
    return jax.lax.cond(loss < best.loss, lambda: now, lambda: best)


def specs_of(slot: Slot) -> Slot:
    """How the leaves of a slot lie on the devices."""
    return Slot(STATE, RUNS, None if slot.best is None else BEST)  # type: ignore[arg-type]


def slot_of(state: State, *, best: bool = False, personal: bool = False) -> Slot:
    """A slot with a run that was not evaluated yet, and room for its best model if ``best``."""
    slot = Slot(state, jnp.zeros((), jnp.int32))
    if not best:
        return slot
    clients = state.clients if personal else ()
    real = jnp.result_type(float)
    return slot._replace(best=Best(jnp.asarray(jnp.inf, real), jnp.int32(-1), state.server, clients))


def empty(given: RunInput, data: Data, *, plans: Plans, together: int, best: bool = False) -> Slot:
    """Empty slots for runs with the same shapes as ``given``, with room for best models if ``best``."""
    return put_slot(slot_shapes(given, data, plans=plans, best=best), plans[0], together, _zeros)


def slot_shapes(given: RunInput, data: Data, *, plans: Plans, best: bool = False) -> Slot:
    """The shapes of a run in a slot, without the axis over slots; nothing is allocated."""

    def start(recipe: Recipe, data: Data) -> Slot:
        state = rounds.start(recipe, plans, choose(data, 0).train, 0)
        return slot_of(state, best=best, personal=recipe.algorithm.personal)

    return jax.eval_shape(start, given.recipe, data)


def filled(
    given: RunInput, data: Data, variables: tuple[Variables, ...], *, plans: Plans, best: bool = False
) -> Slot:
    """One slot with a run that starts from given variables of each group."""
    key = jax.random.key(given.seed)
    state = _start_from(given.recipe, data, variables, key, plans=plans)
    slot = slot_of(state, best=best, personal=given.recipe.algorithm.personal)
    return put_slot(slot, plans[0], 1, lambda leaf, shape: jnp.asarray(leaf)[None])


@partial(jax.jit, static_argnames=("plans",))
def _start_from(
    recipe: Recipe, data: Data, variables: tuple[Variables, ...], key: Array, *, plans: Plans
) -> State:
    return rounds.start_from(recipe, plans, choose(data, 0).train, variables, key)


def put_slot(slot: Slot, plan: Plan, together: int, make: Any) -> Slot:
    """Put a slot's leaves on the devices as ``[W, ...]``; ``make(leaf, shape)`` gives each array."""
    specs = jax.tree.broadcast(specs_of(slot), slot, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec))
    width = plan.configs * together

    def put(leaf: Any, spec: PartitionSpec) -> Array:
        return jax.device_put(make(leaf, (width, *leaf.shape)), NamedSharding(plan.mesh, spec))

    return jax.tree.map(put, slot, specs)


def _zeros(leaf: Any, shape: tuple[int, ...]) -> Array | np.ndarray:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), shape)
    return np.zeros(shape, leaf.dtype)  # by NumPy, because jax would compile a program for each shape


def choose(data: Data, number: Array | int) -> Data:
    """The data set with this number, without the axis over data sets."""
    return jax.tree.map(lambda leaf: leaf[number], data) if data.stacked else data
