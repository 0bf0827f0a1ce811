"""One exchange with all hospitals: each device runs its blocks one by one, then devices communicate once.

Memory does not grow with the number of hospitals, except for chains that store every upload. Hospitals that
do not take part cost nothing: those present are moved to the front, in order of size, and the loop ends
after them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import keys
from jaxfed.core.aggregation import Sender
from jaxfed.core.engine.client import FIRST, ClientResult, client_round, upload_shapes
from jaxfed.core.engine.recipe import Recipe
from jaxfed.core.engine.road import Channel
from jaxfed.core.finite import all_finite, where
from jaxfed.core.group_algorithm import Parts
from jaxfed.core.layout.balance import present_first
from jaxfed.core.layout.plan import DEVICES, Plan
from jaxfed.core.layout.store import TrainingData
from jaxfed.core.local import LocalTraining
from jaxfed.core.types import Metrics, PyTree, Shard, Upload


class Group(NamedTuple):
    """A group of hospitals with the same model, in one exchange.

    Attributes:
        number: the group's number.
        plan: static; its layout.
        data: its rows.
        local: its training.
        server: the server's state that is sent to its hospitals.
        weights: ``[C]`` weights of its hospitals if they take part, in two parts.
        trains: ``[P]`` bool, the places that this device trains in this round.
        ranking: ``[P]`` places in the order in which they are trained; None if every hospital trains on its
            home device.
    """

    number: int
    plan: Plan
    data: TrainingData
    local: LocalTraining
    server: Parts
    weights: Parts
    trains: Array
    ranking: Array | None


class Exchanged(NamedTuple):
    """The results of an exchange for C hospitals; all but the clients' states are equal on all devices.

    Attributes:
        common: the aggregate over all hospitals.
        groups: the aggregate of each group.
        clients: the new states of each group's hospitals on this device.
        weights: ``[C]`` of each group, the weights used, in two parts.
        each: ``[C, ...]`` of each group, the uploads' ``each``; 0 for uploads that were not used.
        metrics: ``[C]``; NaN for absent hospitals.
        rejected: ``[C]`` bool, the hospital took part, but its upload or its new state was not finite and
            neither is used.
        states: the states of the chain, in two parts.
    """

    common: Upload
    groups: tuple[Upload, ...]
    clients: tuple[PyTree, ...]
    weights: tuple[Parts, ...]
    each: tuple[PyTree, ...]
    metrics: Metrics
    rejected: Array
    states: Parts


class _Visited(NamedTuple):
    """The results of this device's hospitals of one group.

    Attributes:
        collected: the uploads as collected by the two channels.
        clients: the new states; those of absent hospitals do not change.
        by_hospital: metrics, weights used, ``each`` and ``rejected`` of each place; 0 for places that this
            device did not train.
    """

    collected: Parts
    clients: PyTree
    by_hospital: tuple[Metrics, Parts, PyTree, Array]


def exchange(
    recipe: Recipe,
    groups: list[Group],
    clients: tuple[PyTree, ...],
    present: Array,
    states: Parts,
    run_key: Array,
    round: Array,
    which: int,
) -> Exchanged:
    """One exchange with all hospitals.

    Args:
        recipe: the algorithm, the trainings and the chain.
        groups: the hospitals.
        clients: the states of each group's hospitals on this device.
        present: ``[C]`` bool.
        states: the states of the chain for this exchange, in two parts.
        run_key, round: the values from which keys are derived.
        which: static; ``MAIN`` or ``FIRST``.
    """
    shapes = [
        upload_shapes(recipe, g.local, g.server, s, g.data, which)
        for g, s in zip(groups, clients, strict=True)
    ]
    common = Channel(recipe.chain, shapes[0].received.common, states.common, recipe.diagnose)
    channels = [
        Parts(common, Channel(recipe.chain, shape.received.group, state, recipe.diagnose))
        for shape, state in zip(shapes, states.group, strict=True)
    ]
    visited = [
        _visit(recipe, group, channel, state, shape, run_key, round, which)
        for group, channel, state, shape in zip(groups, channels, clients, shapes, strict=True)
    ]
    scattered = [_by_hospital(group, seen) for group, seen in zip(groups, visited, strict=True)]
    scattered = jax.lax.psum(scattered, DEVICES)
    weights = [seen[1] for seen in scattered]
    key = jax.random.fold_in(keys.at_round(run_key, keys.ROAD, round), which)
    at = [_visited_hospitals(group) for group in groups]
    shared, common_state, metrics = common.aggregate(
        [seen.collected.common for seen in visited],
        at,
        groups[0].plan,
        sum((w.common for w in weights[1:]), weights[0].common),
        jax.random.fold_in(key, 0),
    )
    aggregates, group_states = [], []
    seen_by_rule = dict(metrics)
    for group, seen, channel, weight, hospitals in zip(groups, visited, channels, weights, at, strict=True):
        group_key = jax.random.fold_in(key, 1 + group.number)
        aggregate, state, metrics = channel.group.aggregate(
            [seen.collected.group], [hospitals], group.plan, weight.group, group_key
        )
        aggregates.append(aggregate)
        group_states.append(state)
        for name, value in metrics.items():
            member = group.data.sizes > 0
            if value.shape == member.shape:
                value = value.astype(jnp.result_type(float))
                seen_by_rule[name] = jnp.where(member, value, seen_by_rule.get(name, jnp.nan))
    metrics = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *(seen[0] for seen in scattered))
    metrics |= {
        n: v.astype(jnp.result_type(float)) for n, v in seen_by_rule.items() if v.shape == present.shape
    }
    rejected = sum((seen[3] for seen in scattered[1:]), scattered[0][3])
    return Exchanged(
        shared,
        tuple(aggregates),
        tuple(seen.clients for seen in visited),
        tuple(weights),
        tuple(seen[2] for seen in scattered),
        {name: jnp.where(present, value, jnp.nan) for name, value in metrics.items()},
        rejected > 0,
        Parts(common_state, tuple(group_states)),
    )


def _visit(
    recipe: Recipe,
    group: Group,
    channels: Parts,
    clients: PyTree,
    shape: ClientResult,
    run_key: Array,
    round: Array,
    which: int,
) -> _Visited:
    """Train every hospital of a group that this device has to train; devices do not communicate."""
    plan, data = group.plan, group.data
    at_home = group.ranking is None
    first = _first(plan) if at_home else 0
    trains = this_device(group.trains, plan) if at_home else group.trains
    hospital = this_device(data.hospital, plan) if at_home else data.hospital
    weights = jax.tree.map(lambda leaf: leaf[hospital], group.weights)
    stream = keys.ASK if which == FIRST else keys.CLIENT
    round_key = keys.at_round(run_key, stream, round)
    transform_key = jax.random.fold_in(keys.at_round(run_key, keys.TRANSFORM, round), which)

    def client(place: Array, weight: Array, state: PyTree, block: str | None) -> ClientResult:
        number = jnp.minimum(data.hospital[place], plan.clients - 1)
        size = jnp.where(group.trains[place], data.train.size[place], 0)
        shard = Shard(data.train.x, data.train.y, data.train.start[place], size, block, number)
        client_id = data.client_ids[number]
        key = keys.client_key(round_key, client_id)
        sender = Sender(keys.client_key(transform_key, client_id), round, weight)
        both = key, keys.purpose(key, keys.DECODE)
        return client_round(recipe, group.local, group.server, state, shard, sender, both, which)

    def block(j: Array, carry: tuple) -> tuple:
        collected, clients, (metrics, weight, each, rejected) = carry
        slots = jax.lax.dynamic_slice(order, (j * plan.block,), (plan.block,))
        before = jax.tree.map(lambda leaf: leaf[slots], clients)
        heavy = jax.tree.map(lambda leaf: leaf[slots], weights)
        after = side_by_side(client, plan, first + slots, _sender_weight(channels, heavy), before)
        # the state is checked too, because a hospital that uploads nothing may diverge as well
        present, finite = trains[slots], all_finite((after.received, after.each, after.state))
        used = present & finite
        received, seen = where(used, (after.received, after.each), 0)
        heavy = where(used, heavy, 0)
        return (
            Parts(
                *(
                    c.add(t, u, w, slots)
                    for c, t, u, w in zip(channels, collected, received, heavy, strict=True)
                )
            ),
            _put(clients, slots, where(used, after.state, before)),
            (
                _put(metrics, slots, where(present, after.metrics, 0)),
                _put(weight, slots, heavy),
                _put(each, slots, seen),
                rejected.at[slots].set(present & ~finite),
            ),
        )

    order, count = present_first(trains, jnp.arange(len(trains)) if group.ranking is None else group.ranking)
    places = len(trains)
    nothing = (
        Parts(*(channel.begin(plan) for channel in channels)),
        clients,
        (
            _stack(shape.metrics, places),
            jax.tree.map(jnp.zeros_like, weights),
            _stack(shape.each, places),
            jnp.zeros(places, bool),
        ),
    )
    blocks = -(-count // plan.block)
    return _Visited(*jax.lax.fori_loop(0, blocks, block, nothing))


def _sender_weight(channels: Parts, weights: Parts) -> Array:
    """The weight that a transform sees: in the group, or in the common form if the group has no channel."""
    return weights.common if channels.group.empty else weights.group


def _by_hospital(group: Group, seen: _Visited) -> tuple[Metrics, Parts, PyTree, Array]:
    """``[C, ...]``: this device's results by hospital, 0 for the others; the sum over devices is complete."""
    at = _visited_hospitals(group)

    def scatter(leaf: Array) -> Array:
        kind = jnp.int32 if leaf.dtype == bool else leaf.dtype
        zeros = jnp.zeros((group.plan.clients, *leaf.shape[1:]), kind)
        return zeros.at[at].set(leaf.astype(kind), mode="drop")

    return jax.tree.map(scatter, seen.by_hospital)


def _visited_hospitals(group: Group) -> Array:
    """The numbers of the hospitals at the places that this device visits."""
    return this_device(group.data.hospital, group.plan) if group.ranking is None else group.data.hospital


def side_by_side(client: Callable[..., Any], plan: Plan, *arguments: Any) -> PyTree:
    """``client(*arguments, block)`` for a block of B hospitals, ``[B, ...]``; B = 1 has no client axis."""
    if plan.block == 1:
        only = jax.tree.map(lambda leaf: leaf[0], arguments)
        return jax.tree.map(lambda leaf: leaf[None], client(*only, None))
    return jax.vmap(partial(client, block=plan.axis), axis_name=plan.axis)(*arguments)


def this_device(leaf: Array, plan: Plan) -> Array:
    """``[S, ...]``: this device's part of ``[D * S, ...]``."""
    return jax.lax.dynamic_slice_in_dim(leaf, _first(plan), plan.slots)


def _first(plan: Plan) -> Array:
    """The place of this device's first slot."""
    return jax.lax.axis_index(DEVICES) * plan.slots


def _put(stacked: PyTree, slots: Array, values: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf, new: leaf.at[slots].set(new), stacked, values)


def _stack(shape: PyTree, slots: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros((slots, *leaf.shape), leaf.dtype), shape)
