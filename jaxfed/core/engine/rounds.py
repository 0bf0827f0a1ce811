"""One round, and a loop over rounds, as one pure function of stacked hospitals.

    present = participation(keys, round, sizes)
    for every hospital that is present:
        upload, client, metrics = client_update(server, client, rows, key of the hospital)
    update  = sum_k w_k upload_k / sum_k w_k
    server  = server_update(server, update)

:mod:`jaxfed.core.engine.exchange` runs the hospitals of a device; devices meet once per exchange.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

from jaxfed.core import hyperparameters as values
from jaxfed.core import keys
from jaxfed.core.engine.exchange import Client, Exchanged, all_finite, exchange, of_device, shard, where
from jaxfed.core.hyperparameters import Number
from jaxfed.core.layout.balance import deal, homes
from jaxfed.core.layout.plan import DEVICES, Federation, Plan
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import (
    Aggregator,
    Algorithm,
    Cohort,
    CoordinateRule,
    Metrics,
    Participation,
    PyTree,
    State,
    Upload,
    Variables,
)

SHARDED, COPIED = PartitionSpec(DEVICES), PartitionSpec()
LOGGED = PartitionSpec(None, DEVICES)
STATE = State(round=COPIED, key=COPIED, server=COPIED, clients=SHARDED)  # type: ignore[arg-type]


@pytree
@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is done in a round. A pytree: its numbers are leaves, everything else is static.

    ``weights`` multiplies what the algorithm says that a hospital weighs; None for 1.
    """

    algorithm: Algorithm
    local: LocalTraining
    aggregator: Aggregator | CoordinateRule
    participation: Participation
    weights: Number | None = None


class Log(NamedTuple):
    """What the observer sees of R rounds; D * S slots.

    Attributes:
        clients: training metrics ``[R, D * S]`` of each hospital; NaN where it was absent.
        present: ``[R, D * S]`` bool, took part.
        rejected: ``[R, D * S]`` bool, took part, but its upload was not finite and was not used.
        kept: ``[R]`` bool, the server's new state was not finite, so the old one was kept.
    """

    clients: Metrics
    present: Array
    rejected: Array
    kept: Array


@partial(jax.jit, static_argnames=("plan",))
def start(recipe: Recipe, plan: Plan, federation: Federation, seed: Array) -> State:
    """The state before the first round, with initial variables drawn from ``seed`` (may be traced)."""
    return jax.shard_map(
        lambda recipe, federation, seed: start_on_device(recipe, plan, federation, seed),
        mesh=plan.mesh,
        in_specs=COPIED,
        out_specs=STATE,
        check_vma=False,
    )(recipe, federation, seed)


@partial(jax.jit, static_argnames=("plan",))
def start_from(recipe: Recipe, plan: Plan, variables: Variables, key: Array) -> State:
    """The state before the first round, from given variables and the run's key."""
    return jax.shard_map(
        lambda recipe, variables, key: _start(recipe, plan, variables, key),
        mesh=plan.mesh,
        in_specs=(COPIED, COPIED, COPIED),
        out_specs=STATE,
        check_vma=False,
    )(recipe, variables, key)


def start_on_device(recipe: Recipe, plan: Plan, federation: Federation, seed: Array | int) -> State:
    """As :func:`start`, inside a ``shard_map`` with the axis ``DEVICES``."""
    key = keys.run_key(seed)
    sample = jax.tree.map(lambda leaf: leaf[:1], federation.train.x)
    variables = recipe.local.problem.init(keys.purpose(key, keys.INIT), sample)
    return _start(recipe, plan, variables, key)


def _start(recipe: Recipe, plan: Plan, variables: Variables, key: Array) -> State:
    algorithm = values.at_round(recipe.algorithm, jnp.zeros((), jnp.int32))
    server, client = algorithm.init(variables, keys.purpose(key, keys.ALGORITHM), plan.places)
    clients = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.slots, *jnp.shape(leaf))), client)
    return State(jnp.zeros((), jnp.int32), key, server, clients)


@partial(jax.jit, static_argnames=("plan", "capacity"), donate_argnames=("state",))
def advance(
    recipe: Recipe, plan: Plan, federation: Federation, state: State, rounds: Array, *, capacity: int
) -> tuple[State, Log]:
    """``rounds`` more rounds.

    Args:
        recipe: what to do; changed numbers do not compile again.
        plan: static; the layout.
        federation: the hospitals' rows.
        state: donated.
        rounds: int32, may be traced, at most ``capacity``.
        capacity: static; length of the log.

    Returns:
        The new state, and the log of the rounds; its entries past ``rounds`` are empty.
    """

    def on_device(recipe: Recipe, federation: Federation, state: State) -> tuple[State, Log]:
        return repeat(partial(round_on_device, recipe, plan, federation), state, rounds, capacity)

    return jax.shard_map(
        on_device,
        mesh=plan.mesh,
        in_specs=(COPIED, COPIED, STATE),
        out_specs=(STATE, Log(clients=LOGGED, present=LOGGED, rejected=LOGGED, kept=COPIED)),  # type: ignore[arg-type]
        check_vma=False,
    )(recipe, federation, state)


def repeat(
    step: Callable[[State], tuple[State, Log]], state: State, rounds: Array, capacity: int
) -> tuple[State, Log]:
    """``rounds`` times a round, with a log of ``capacity``."""
    one = jax.eval_shape(step, state)[1]
    log = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), one)

    def body(r: Array, carry: tuple[State, Log]) -> tuple[State, Log]:
        state, log = carry
        state, entry = step(state)
        return state, jax.tree.map(lambda rows, row: rows.at[r].set(row), log, entry)

    return jax.lax.fori_loop(0, rounds, body, (state, log))


def round_on_device(recipe: Recipe, plan: Plan, federation: Federation, state: State) -> tuple[State, Log]:
    """One round, inside a ``shard_map`` with the axis ``DEVICES``: devices meet where uploads are added."""
    recipe = values.at_round(recipe, state.round)
    algorithm = recipe.algorithm
    everyone = presence(recipe.participation, state, federation.sizes, federation.words)
    # what is kept hospital by hospital lies at home
    at_home = bool(jax.tree.leaves(state.clients)) or isinstance(recipe.aggregator, CoordinateRule)
    ranking = None if at_home or plan.shards == 1 else federation.ranking
    trains = homes(plan.places, plan.shards)
    if ranking is not None:
        trains = _dealt(recipe.local, plan, federation, everyone)
    mine = everyone & (trains == jax.lax.axis_index(DEVICES))

    def meet(server: PyTree, purpose: int, act: Callable[..., Any]) -> Exchanged:
        def client(own: Algorithm, local: LocalTraining, *rest: Any) -> tuple[Upload, PyTree, Metrics]:
            return act(own, local, server, *rest)

        round_key = keys.at_round(state.key, purpose, state.round)
        client_of = hospital((algorithm, recipe.local), federation, mine, round_key, client)
        weights = mine * algorithm.weights(server, federation.sizes)
        if recipe.weights is not None:
            weights = weights * values.of_hospital(recipe.weights, ...)
        weights = weights.astype(jnp.result_type(float))
        return exchange(recipe.aggregator, plan, client_of, state.clients, mine, weights, ranking)

    server = state.server
    if algorithm.asks:
        server = algorithm.answer(server, meet(server, keys.ASK, _ask).update)
    met = meet(server, keys.CLIENT, lambda own, *rest: own.client_update(*rest))
    refused = jax.lax.psum(met.rejected.sum(dtype=jnp.int32), DEVICES)
    cohort = Cohort(
        round=state.round,
        present=everyone.sum(dtype=jnp.int32) - refused,
        hospitals=(federation.sizes > 0).sum(dtype=jnp.int32),
        weights=met.weights,
        sizes=federation.sizes,
        each=met.each,
    )
    updated = algorithm.server_update(server, met.update, cohort)
    server, kept = accept(updated, state.server, cohort.present)
    new = State(state.round + 1, state.key, server, met.clients)
    return new, Log(met.metrics, of_device(everyone, plan), met.rejected, kept)


def _dealt(local: LocalTraining, plan: Plan, federation: Federation, everyone: Array) -> Array:
    """``[D * S]``: the device that trains each hospital; at home when all of them train."""
    work = jnp.asarray(values.of_hospital(local, ...).work(federation.sizes), jnp.int32)
    return jax.lax.cond(
        (everyone | (federation.sizes == 0)).all(),
        lambda: homes(plan.places, plan.shards),
        lambda: deal(everyone, jnp.broadcast_to(work, everyone.shape), federation.ranking, plan.shards),
    )


def accept(new: PyTree, old: PyTree, present: Array) -> tuple[PyTree, Array]:
    """The server after a round, and whether its new state was not finite and the old one was kept.

    It is the old one too where nobody's upload was used.
    """
    # aggregates are wider than half-precision models
    new = jax.tree.map(lambda after, before: jnp.asarray(after, before.dtype), new, old)
    fine = all_finite(jax.tree.map(lambda leaf: leaf[None], new))[0]
    return where(fine & (present > 0), new, old), ~fine & (present > 0)


def _ask(own: Algorithm, local: LocalTraining, server: PyTree, client: PyTree, *rest: Any) -> Any:
    """The first exchange leaves the hospital's state as it is."""
    return Upload(own.ask(local, server, client, *rest)), client, {}


def hospital(
    numbers: tuple[Any, LocalTraining],
    federation: Federation,
    present: Array,
    round_key: Array,
    act: Callable[..., tuple[Upload, PyTree, Metrics]],
) -> Client:
    """``act(algorithm, local, client, rows, key)`` of any place.

    ``numbers`` are the algorithm and the local training with the numbers of all hospitals, ``present`` is
    ``[D * S]``; ``act`` gets those of one hospital, with its rows and its key of the round.
    """

    def client(place: Array, client: PyTree, block: str | None) -> tuple[Upload, PyTree, Metrics]:
        rows = shard(federation.train, place, present[place], block)
        algorithm, local = values.of_hospital(numbers, place)
        return act(algorithm, local, client, rows, keys.of_client(round_key, federation.words[place]))

    return client


def presence(participation: Participation, state: State, sizes: Array, words: Array) -> Array:
    """``[D * S]`` bool: who takes part, the same on every device; a hospital without rows never does."""
    key = keys.purpose(state.key, keys.COHORT)
    own = jax.vmap(partial(keys.of_client, key))(words)
    return (sizes > 0) & (participation(own, state.round, sizes) > 0)
