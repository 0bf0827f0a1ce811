"""Rounds of hospitals with different models, as one pure function: every group is a batched axis.

A group's hospitals are blocked, placed and keyed as in :mod:`jaxfed.core.engine.rounds`, by the same
functions. The
groups of a device run one after another; devices meet once, where what was received is added up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import hyperparameters as values
from jaxfed.core import keys
from jaxfed.core.engine.evaluate import Measure, measured, outputs
from jaxfed.core.engine.exchange import Visited, of_device, visit
from jaxfed.core.engine.rounds import COPIED, LOGGED, SHARDED, STATE, Log, accept, hospital, presence, repeat
from jaxfed.core.group_algorithm import MixedAlgorithm, Parts
from jaxfed.core.layout.plan import DEVICES, Federation, HeldOut, Plan
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import (
    Aggregator,
    Cohort,
    Metrics,
    Participation,
    PyTree,
    Shard,
    State,
    Upload,
    Variables,
)

Plans = tuple[Plan, ...]
Federations = tuple[Federation, ...]


@pytree
@dataclasses.dataclass(frozen=True)
class GroupRecipe:
    """What is done in a round; G groups. A pytree: its numbers are leaves, everything else is static.

    Per-hospital numbers are laid out group after group, each group's ``[D * S]``.
    """

    algorithm: MixedAlgorithm
    locals: tuple[LocalTraining, ...]
    aggregator: Aggregator
    participation: Participation


@pytree
@dataclasses.dataclass(frozen=True)
class OfGroup:
    """One group's part of a recipe."""

    algorithm: MixedAlgorithm
    local: LocalTraining


def of_groups(recipe: GroupRecipe, plans: Plans) -> list[OfGroup]:
    """The recipe of each group, with its own hospitals' numbers."""
    found, first = [], 0
    for local, plan in zip(recipe.locals, plans, strict=True):
        found.append(values.cut(OfGroup(recipe.algorithm, local), first, plan.places))
        first += plan.places
    return found


@partial(jax.jit, static_argnames=("plans",))
def start(recipe: GroupRecipe, plans: Plans, federations: Federations, seed: Array) -> State:
    """The state before the first round, with initial variables drawn from ``seed`` (may be traced)."""
    key = keys.run_key(seed)
    drawn = keys.purpose(key, keys.INIT)
    variables = tuple(
        local.problem.init(drawn, _one_row(federation))
        for local, federation in zip(recipe.locals, federations, strict=True)
    )
    return start_from(recipe, plans, federations, variables, key)


@partial(jax.jit, static_argnames=("plans",))
def start_from(
    recipe: GroupRecipe, plans: Plans, federations: Federations, variables: tuple[Variables, ...], key: Array
) -> State:
    """The state before the first round, from given variables of each group and the run's key."""
    algorithm = values.at_round(recipe.algorithm, jnp.zeros((), jnp.int32))
    x, drawn = _one_row(federations[0]), keys.purpose(key, keys.INIT)
    common = algorithm.begin(recipe.locals[0], variables[0], x, drawn)
    own, clients = [], []
    for local, plan, initial in zip(recipe.locals, plans, variables, strict=True):
        kept, client = algorithm.init(local, initial, keys.purpose(key, keys.ALGORITHM), plan.places)
        own.append(kept)
        clients.append(_stacked(client, plan.places))
    state = State(jnp.zeros((), jnp.int32), key, Parts(common, tuple(own)), tuple(clients))
    # laid out as `advance` returns it, or its second call would compile again
    return jax.shard_map(
        lambda state: state, mesh=plans[0].mesh, in_specs=(STATE,), out_specs=STATE, check_vma=False
    )(state)


def _stacked(client: PyTree, places: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (places, *jnp.shape(leaf))), client)


@partial(jax.jit, static_argnames=("plans", "capacity"), donate_argnames=("state",))
def advance(
    recipe: GroupRecipe, plans: Plans, federations: Federations, state: State, rounds: Array, *, capacity: int
) -> tuple[State, Log]:
    """``rounds`` more rounds; as :func:`jaxfed.core.engine.rounds.advance`, with a tuple over groups in the
    log."""

    def on_device(recipe: GroupRecipe, federations: Federations, state: State) -> tuple[State, Log]:
        return repeat(partial(round_on_device, recipe, plans, federations), state, rounds, capacity)

    return jax.shard_map(
        on_device,
        mesh=plans[0].mesh,
        in_specs=(COPIED, COPIED, STATE),
        out_specs=(STATE, Log(clients=LOGGED, present=LOGGED, rejected=LOGGED, kept=COPIED)),  # type: ignore[arg-type]
        check_vma=False,
    )(recipe, federations, state)


def round_on_device(
    recipe: GroupRecipe, plans: Plans, federations: Federations, state: State
) -> tuple[State, Log]:
    """One round, inside a ``shard_map`` with the axis ``DEVICES``."""
    recipe = values.at_round(recipe, state.round)
    groups = of_groups(recipe, plans)
    everyone = _presence(recipe, plans, federations, state)
    present = [of_device(here, plan) for here, plan in zip(everyone, plans, strict=True)]

    def go(g: int) -> Visited:
        """Every hospital of a group on this device that is present."""
        group, plan, sizes = groups[g], plans[g], federations[g].sizes
        server = Parts(state.server.common, state.server.own[g])
        client = hospital(
            (group.algorithm, group.local),
            federations[g],
            everyone[g],
            keys.at_round(state.key, keys.CLIENT, state.round),
            lambda own, local, *rest: _client(own, local, server, *rest),
        )
        weights = jax.tree.map(
            lambda leaf: of_device((everyone[g] * leaf).astype(jnp.result_type(float)), plan),
            group.algorithm.weights(server, sizes),
        )
        received = Received(
            recipe.aggregator, partial(group.algorithm.receive, group.local, server), plan.block
        )
        return visit(received, plan, client, state.clients[g], present[g], weights)

    seen = [go(g) for g in range(len(plans))]
    update, cohorts = _meet(recipe.aggregator, seen, everyone, federations, state)
    cohort = _everybody(cohorts, update.weights)
    served = _serve(recipe.algorithm, groups, state, update, cohorts, cohort)
    server, kept = accept(served, state.server, cohort.present)
    new = State(state.round + 1, state.key, server, tuple(group.clients for group in seen))
    metrics, rejected = (tuple(leaf) for leaf in zip(*((g.metrics, g.rejected) for g in seen), strict=True))
    return new, Log(metrics, tuple(present), rejected, kept)  # type: ignore[arg-type]


def _client(
    own: MixedAlgorithm, local: LocalTraining, server: Parts, client: PyTree, rows: Shard, key: Array
) -> tuple[Upload, PyTree, Metrics]:
    client = own.decode(local, server, client, rows, keys.purpose(key, keys.DECODE))
    return own.encode(local, server, client, rows, key)


class Met(NamedTuple):
    """What came of an exchange: the mean over all hospitals, and for each group that over its own.

    ``weights`` are those used, ``[D * S]`` of each group.
    """

    common: PyTree
    own: list[PyTree]
    weights: list[Parts]


def _meet(
    aggregator: Aggregator,
    seen: list[Visited],
    everyone: list[Array],
    federations: Federations,
    state: State,
) -> tuple[Met, list[Cohort]]:
    """Where devices meet: the means of what was received, and each group's cohort."""
    totals = reduce(partial(jax.tree.map, jnp.add), [group.total.common for group in seen])
    own = [group.total.own for group in seen]
    refused = [group.rejected.sum(dtype=jnp.int32) for group in seen]
    totals, own, refused = jax.lax.psum((totals, own, refused), DEVICES)
    known = [(group.weights, group.each) for group in seen]
    known = jax.lax.all_gather(known, DEVICES, tiled=True)
    cohorts = [
        Cohort(
            round=state.round,
            present=here.sum(dtype=jnp.int32) - broken,
            hospitals=(federation.sizes > 0).sum(dtype=jnp.int32),
            weights=weights.own,
            sizes=federation.sizes,
            each=each,
        )
        for here, broken, federation, (weights, each) in zip(
            everyone, refused, federations, known, strict=True
        )
    ]
    means = [aggregator.finish(total) for total in own]
    return Met(aggregator.finish(totals), means, [weights for weights, _ in known]), cohorts


def _everybody(cohorts: list[Cohort], weights: list[Parts]) -> Cohort:
    """All groups as one cohort, with the weights of the common form."""
    return Cohort(
        round=cohorts[0].round,
        present=jnp.stack([group.present for group in cohorts]).sum(),
        hospitals=jnp.stack([group.hospitals for group in cohorts]).sum(),
        weights=jnp.concatenate([group.common for group in weights]),
        sizes=jnp.concatenate([group.sizes for group in cohorts]),
        each=(),
    )


def _serve(
    algorithm: MixedAlgorithm,
    groups: list[OfGroup],
    state: State,
    update: Met,
    cohorts: list[Cohort],
    cohort: Cohort,
) -> Parts:
    """The server's step: the common form first, then what it keeps for every group."""
    common = algorithm.aggregate(state.server.common, update.common, cohort)
    key = keys.at_round(state.key, keys.SERVER, state.round)
    own = tuple(
        algorithm.settle(group.local, Parts(common, kept), mean, one, key)
        for group, kept, mean, one in zip(groups, state.server.own, update.own, cohorts, strict=True)
    )
    return Parts(common, own)


@dataclasses.dataclass(frozen=True)
class Received:
    """An aggregator of what the server makes of every upload; weights and totals in two parts."""

    aggregator: Aggregator
    receive: Callable[[PyTree], Parts]
    block: int

    def init(self, upload: PyTree) -> Parts:
        """Two empty totals; nothing at all is received of an empty upload."""
        return Parts(*map(self.aggregator.init, jax.eval_shape(self.receive, upload)))

    def add(self, total: Parts, uploads: PyTree, weights: Any) -> Parts:
        """Add a block of uploads."""
        if self.block == 1:  # without a client axis
            one = self.receive(jax.tree.map(lambda leaf: leaf[0], uploads))
            found = jax.tree.map(lambda leaf: leaf[None], one)
        else:
            found = jax.vmap(self.receive)(uploads)
        return Parts(*map(self.aggregator.add, total, found, weights))

    def finish(self, total: Parts) -> Parts:
        """Both aggregates."""
        return Parts(*map(self.aggregator.finish, total))


def _presence(recipe: GroupRecipe, plans: Plans, federations: Federations, state: State) -> list[Array]:
    """``[D * S]`` bool of each group; drawn over the hospitals of all groups."""
    sizes = jnp.concatenate([federation.sizes for federation in federations])
    words = jnp.concatenate([federation.words for federation in federations])
    everyone = presence(recipe.participation, state, sizes, words)
    ends = [sum(plan.places for plan in plans[: g + 1]) for g in range(len(plans))]
    return jnp.split(everyone, ends[:-1])


def _one_row(federation: Federation) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[:1], federation.train.x)


@partial(jax.jit, static_argnames=("plans", "measure", "splits"))
def evaluate(
    recipe: GroupRecipe,
    plans: Plans,
    federations: Federations,
    helds: tuple[HeldOut, ...],
    state: State,
    *,
    measure: Measure,
    splits: int,
) -> tuple[tuple[Metrics, ...], Metrics]:
    """As :func:`jaxfed.core.engine.evaluate.evaluate`: metrics of each group's hospitals, and of all rows."""

    def on_device(recipe: GroupRecipe, federations: Federations, helds: Any, state: State) -> Any:
        groups = of_groups(values.at_round(recipe, state.round), plans)
        said = tuple(
            outputs(
                group,
                plans[g],
                federations[g],
                helds[g],
                state._replace(
                    server=Parts(state.server.common, state.server.own[g]), clients=state.clients[g]
                ),
            )
            for g, group in enumerate(groups)
        )
        return measured(said, plans, helds, recipe.locals[0].problem.task, measure, splits)

    return jax.shard_map(
        on_device,
        mesh=plans[0].mesh,
        in_specs=(COPIED, COPIED, SHARDED, STATE),
        out_specs=(SHARDED, COPIED),
        check_vma=False,
    )(recipe, federations, helds, state)
