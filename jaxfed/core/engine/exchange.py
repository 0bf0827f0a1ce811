"""All hospitals of a device, block after block: uploads are added to a total, states are kept.

Memory does not grow with the number of hospitals, but for rules that need every upload. Hospitals that do
not take part cost nothing: those present are moved to the front, in order of size, and the loop stops there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.layout.balance import present_first
from jaxfed.core.layout.plan import DEVICES, Plan, Store
from jaxfed.core.types import Aggregator, CoordinateRule, Metrics, PyTree, Shard, Upload

# (place, state of that client, name of the block's axis) -> upload, new state, metrics
Client = Callable[[Array, PyTree, str | None], tuple[Upload, PyTree, Metrics]]


class Visited(NamedTuple):
    """What came of the hospitals of this device; S slots.

    Attributes:
        total: the aggregator's total of this device.
        clients: ``[S, ...]`` new states; those of absent hospitals are as they were.
        metrics: ``[S]``; NaN where absent.
        rejected: ``[S]`` bool, took part, but its upload or new state was not finite; neither is used.
        weights: ``[S]`` the weights used.
        each: ``[S, ...]`` the uploads' ``each``; 0 where not used.
    """

    total: PyTree
    clients: PyTree
    metrics: Metrics
    rejected: Array
    weights: PyTree
    each: PyTree


class Exchanged(NamedTuple):
    """What came of an exchange with all hospitals; S slots of this device, D * S places of all devices.

    Attributes:
        update: the aggregate, the same on every device.
        clients, metrics, rejected: of this device, as in :class:`Visited`.
        weights: ``[D * S]`` the weights used.
        each: ``[D * S, ...]`` the uploads' ``each``; 0 where not used.
    """

    update: PyTree
    clients: PyTree
    metrics: Metrics
    rejected: Array
    weights: Array
    each: PyTree


def exchange(
    aggregator: Aggregator | CoordinateRule,
    plan: Plan,
    client: Client,
    clients: PyTree,
    mine: Array,
    weights: Array,
    ranking: Array | None,
) -> Exchanged:
    """One exchange with all hospitals; the arguments are those of :func:`visit`, for all D * S places."""
    if isinstance(aggregator, CoordinateRule):
        return _stored(aggregator, plan, client, clients, of_device(mine, plan), of_device(weights, plan))
    if ranking is not None:
        return _anywhere(aggregator, plan, client, clients, mine, weights, ranking)
    seen = visit(aggregator, plan, client, clients, of_device(mine, plan), of_device(weights, plan))
    total = jax.lax.psum(seen.total, DEVICES)
    weight, each = jax.lax.all_gather((seen.weights, seen.each), DEVICES, tiled=True)
    return Exchanged(aggregator.finish(total), seen.clients, seen.metrics, seen.rejected, weight, each)


def _anywhere(
    aggregator: Aggregator,
    plan: Plan,
    client: Client,
    clients: PyTree,
    mine: Array,
    weights: Array,
    ranking: Array,
) -> Exchanged:
    """An exchange with hospitals that are not at home: what came of each is handed to its home."""
    seen = visit(aggregator, plan, client, clients, mine, weights, ranking)
    found = where(mine, (seen.metrics, seen.weights, seen.each), 0)
    total, (metrics, weight, each), rejected, trained = jax.lax.psum(
        (seen.total, found, seen.rejected.astype(jnp.int32), mine.astype(jnp.int32)), DEVICES
    )
    metrics = jax.tree.map(lambda leaf: jnp.where(trained > 0, leaf, jnp.nan), metrics)
    metrics, rejected = jax.tree.map(partial(of_device, plan=plan), (metrics, rejected > 0))
    return Exchanged(aggregator.finish(total), clients, metrics, rejected, weight, each)


def _stored(
    rule: CoordinateRule, plan: Plan, client: Client, clients: PyTree, present: Array, weights: Array
) -> Exchanged:
    """An exchange whose uploads are kept: every device aggregates its share of the coordinates."""

    def keeping(slot: Array, state: PyTree, block: str | None) -> tuple[Upload, PyTree, Metrics]:
        upload, state, metrics = client(slot, state, block)
        return Upload((), upload), state, metrics

    def share(leaf: Array) -> Array:
        flat = leaf.reshape(len(leaf), -1)
        flat = jnp.pad(flat, ((0, 0), (0, -flat.shape[1] % jax.lax.axis_size(DEVICES))))
        return jax.lax.all_to_all(flat, DEVICES, split_axis=1, concat_axis=0, tiled=True)

    def whole(share: Array, leaf: Array) -> Array:
        flat = jax.lax.all_gather(share, DEVICES, tiled=True)
        return flat[: leaf[0].size].reshape(leaf.shape[1:])

    seen = visit(_Unadded(), plan, keeping, clients, present, weights)
    weight, each = jax.lax.all_gather((seen.weights, seen.each.each), DEVICES, tiled=True)
    update = rule.aggregate(jax.tree.map(share, seen.each.mean), weight)
    update = jax.tree.map(whole, update, seen.each.mean)
    return Exchanged(update, seen.clients, seen.metrics, seen.rejected, weight, each)


class _Unadded:
    """The aggregator of nothing."""

    def init(self, upload: PyTree) -> PyTree:
        return ()

    def add(self, total: PyTree, uploads: PyTree, weights: PyTree) -> PyTree:
        return ()

    def finish(self, total: PyTree) -> PyTree:
        return ()


def visit(
    aggregator: Aggregator,
    plan: Plan,
    client: Client,
    clients: PyTree,
    present: Array,
    weights: PyTree,
    ranking: Array | None = None,
) -> Visited:
    """Every hospital that this device has to train; devices do not meet.

    Args:
        aggregator: how uploads are added up.
        plan: static; the layout.
        client: what one hospital does.
        clients: ``[S, ...]`` their states.
        present: ``[S]`` bool.
        weights: ``[S]``, 0 where absent; or a tree of such, for an aggregator that takes several.
        ranking: ``[D * S]`` places in the order in which those present are trained, where they need not be
            at home; S above is then D * S, and there are no states.
    """
    home = _first(plan) if ranking is None else 0

    def block(j: Array, carry: tuple) -> tuple:
        total, clients, metrics, each, weight, rejected = carry
        slots = jax.lax.dynamic_slice(order, (j * plan.block,), (plan.block,))
        before = jax.tree.map(lambda leaf: leaf[slots], clients)
        uploads, after, seen = side_by_side(client, home + slots, before, plan)
        # the state too: a hospital that uploads nothing may diverge all the same
        here, finite = present[slots], all_finite((uploads, after))
        used = here & finite
        uploads = where(used, uploads, 0)
        heavy = where(used, jax.tree.map(lambda leaf: leaf[slots], weights), 0)
        return (
            aggregator.add(total, uploads.mean, heavy),
            _put(clients, slots, where(used, after, before)),
            _put(metrics, slots, where(here, seen, jnp.nan)),
            _put(each, slots, uploads.each),
            _put(weight, slots, heavy),
            rejected.at[slots].set(here & ~finite),
        )

    one = jax.tree.map(lambda leaf: leaf[0], clients)
    upload, _, seen = jax.eval_shape(
        lambda place, state: client(place, state, None), jnp.zeros((), jnp.int32), one
    )
    order, count = present_first(present, jnp.arange(len(present)) if ranking is None else ranking)
    nothing = (
        aggregator.init(upload.mean),
        clients,
        _stack(seen, len(present), jnp.nan),
        _stack(upload.each, len(present), 0),
        jax.tree.map(jnp.zeros_like, weights),
        jnp.zeros(len(present), bool),
    )
    blocks = -(-count // plan.block)
    total, clients, metrics, each, weight, rejected = jax.lax.fori_loop(0, blocks, block, nothing)
    return Visited(total, clients, metrics, rejected, weight, each)


def side_by_side(client: Callable[..., Any], places: Array, clients: PyTree, plan: Plan) -> PyTree:
    """A block of hospitals; results ``[B, ...]``. There is no client axis for B = 1."""
    if plan.block == 1:
        only = jax.tree.map(lambda leaf: leaf[0], clients)
        return jax.tree.map(lambda leaf: leaf[None], client(places[0], only, None))
    run = partial(client, block=plan.axis)
    return jax.vmap(run, axis_name=plan.axis)(places, clients)


def shard(train: Store, place: Array, present: Array, block: str | None) -> Shard:
    """A hospital's rows; none where it is absent, so that a block does not wait for it."""
    return Shard(train.x, train.y, train.start[place], jnp.where(present, train.size[place], 0), block, place)


def of_device(leaf: Array, plan: Plan) -> Array:
    """``[S, ...]``: this device's part of ``[D * S, ...]``."""
    return jax.lax.dynamic_slice_in_dim(leaf, _first(plan), plan.slots)


def _first(plan: Plan) -> Array:
    """Place of this device's first slot."""
    return jax.lax.axis_index(DEVICES) * plan.slots


def _put(stacked: PyTree, slots: Array, values: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf, new: leaf.at[slots].set(new), stacked, values)


def _stack(one: PyTree, slots: int, fill: float) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.full((slots, *leaf.shape), fill, leaf.dtype), one)


def all_finite(stacked: PyTree) -> Array:
    """``[B]``: whether every number of a client is finite."""
    floats = [x for x in jax.tree.leaves(stacked) if jnp.issubdtype(x.dtype, jnp.inexact)]
    fine = [jnp.isfinite(x).reshape(len(x), -1).all(1) for x in floats]
    return jnp.stack(fine).all(0) if fine else jnp.ones((1,), bool)


def where(condition: Array, new: PyTree, old: PyTree | float) -> PyTree:
    """``new`` or ``old`` (a tree, or one number); a ``[B]`` condition selects whole clients."""

    def select(a: Array, b: Array | float) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    if isinstance(old, (int, float)):
        return jax.tree.map(lambda a: select(a, old), new)
    return jax.tree.map(select, new, old)
