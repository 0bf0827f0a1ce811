"""A chain inside a round: transforms run in the clients' program, the other parts after communication.

The server aggregates uploads in channels: one that all groups of models share, and one for each group. A
channel adds uploads up block by block, or stores them if the chain needs all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxfed.core import hyperparameters
from jaxfed.core.aggregation import INFLUENCE, Attack, Chain, ChainState, Rule, Sender, Streamed
from jaxfed.core.diagnostics import diagnosed
from jaxfed.core.layout.plan import DEVICES, Plan
from jaxfed.core.products import weighted_sum
from jaxfed.core.types import Metrics, PyTree, Upload
from jaxfed.core.uploads import Uploads


def is_empty(upload: Upload) -> bool:
    """Whether a channel has nothing to aggregate."""
    return not jax.tree.leaves((upload.update, upload.aux))


def zeros_like(upload: Upload) -> Upload:
    """An upload of zeros with these shapes, without ``each``, which no part of a chain processes."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), upload._replace(each=()))


def start_channel(chain: Chain, shape: Upload) -> PyTree:
    """The initial state of a chain on the server, for a channel of uploads of this shape."""
    if is_empty(shape):
        return ()
    upload, chain = zeros_like(shape), hyperparameters.at_hospital(chain, ...)
    rule = chain.rule
    state = rule.init(upload) if isinstance(rule, Streamed) else rule.init(_flat(upload.update))
    return ChainState(state, tuple(post.init(upload.update) for post in chain.posts))


def transform(
    chain: Chain, upload: Upload, states: tuple[PyTree, ...], sender: Sender, hospital: Array | int
) -> tuple[Upload, tuple[PyTree, ...]]:
    """An upload as it leaves the hospital, and the new states of the transforms."""
    new = []
    for position, (part, state) in enumerate(zip(chain.transforms, states, strict=True)):
        part = hyperparameters.at_hospital(part, hospital)
        key = jax.random.fold_in(sender.key, position)
        upload, state = part.apply(upload, state, sender._replace(key=key))
        new.append(state)
    return upload, tuple(new)


class Total(NamedTuple):
    """sum_k w_k lift(upload_k) and sum_k w_k."""

    sum: PyTree
    weight: Array


class Collected(NamedTuple):
    """What a device has of the uploads: a :class:`Total` or ``()``, and stored rows with extras or ``()``."""

    total: Any
    stored: Any


class Channel:
    """Collects the uploads of one channel on a device and aggregates them over devices.

    Args:
        chain: the parts that process uploads.
        shape: shapes of an upload of this channel.
        state: the state of the chain for this channel.
        diagnose: whether to store the uploads for :func:`jaxfed.core.diagnostics.diagnosed`, also if the
            chain needs only their sum.
    """

    def __init__(self, chain: Chain, shape: Upload, state: PyTree, diagnose: bool = False) -> None:
        self._diagnose = diagnose
        chain = hyperparameters.at_hospital(chain, ...)
        self._chain, self._shape, self._state = chain, shape._replace(each=()), state
        self.empty = is_empty(shape)
        self._sum: Streamed | None = None
        if isinstance(chain.rule, Streamed) and not chain.stores:
            self._sum = chain.rule

    def begin(self, plan: Plan) -> PyTree:
        """An empty collection, with rows for ``plan.slots`` uploads if they are stored."""
        if self.empty:
            return ()
        total: Any = ()
        if self._sum is not None:
            lifted = jax.eval_shape(self._sum.lift, self._shape, self._state.rule)
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), lifted)
            total = Total(zeros, jnp.zeros((), jnp.result_type(float)))
        return Collected(total, self._no_rows(plan) if self._stores else ())

    @property
    def _stores(self) -> bool:
        return self._sum is None or self._diagnose

    def _no_rows(self, plan: Plan) -> tuple[Array, Array]:
        """Rows for ``plan.slots`` uploads."""
        update, aux = (jax.eval_shape(_flat, tree) for tree in (self._shape.update, self._shape.aux))
        share = -(-update.size // plan.devices_per_run)
        return (
            jnp.zeros((plan.slots, share * plan.devices_per_run), update.dtype),
            jnp.zeros((plan.slots, aux.size), aux.dtype),
        )

    def add(self, collected: PyTree, uploads: Upload, weights: Array, slots: Array) -> PyTree:
        """Collect a block ``[B, ...]`` with weights ``[B]``, of the hospitals in ``slots``."""
        if self.empty:
            return ()
        uploads = uploads._replace(each=())
        alone = len(slots) == 1  # without a client axis
        stored = self._row(collected.stored, uploads, slots, alone) if self._stores else ()
        if self._sum is None:
            return Collected((), stored)
        return Collected(self._added(self._sum, collected.total, uploads, weights, alone), stored)

    def _added(self, rule: Streamed, total: Total, uploads: Upload, weights: Array, alone: bool) -> Total:
        """The total with a block added."""

        def lift(upload: Upload) -> PyTree:
            return rule.lift(upload, self._state.rule)

        lifted = _alone(lift, uploads) if alone else jax.vmap(lift)(uploads)
        added = jax.tree.map(
            lambda t, u: t + weighted_sum(weights.astype(t.dtype), u.astype(t.dtype)),
            total.sum,
            lifted,
        )
        return Total(added, total.weight + weights.sum())

    def _row(self, stored: tuple[Array, Array], uploads: Upload, slots: Array, alone: bool) -> Any:
        """The stored rows with those of a block."""
        rows, extras = stored
        update, aux = (
            _alone(_flat, tree) if alone else _flat_block(tree, len(slots))
            for tree in (uploads.update, uploads.aux)
        )
        update = jnp.pad(update.astype(rows.dtype), ((0, 0), (0, rows.shape[1] - update.shape[1])))
        return rows.at[slots].set(update), extras.at[slots].set(aux.astype(extras.dtype))

    def aggregate(
        self, collected: list[PyTree], hospitals: list[Array], plan: Plan, weights: Array, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """The aggregate over devices, the new state of the chain, and metrics of the rule.

        Args:
            collected: this device's collection of each group.
            hospitals: for each group, ``[S]`` numbers of the hospitals at the rows that are stored.
            plan: the plan of any of these groups.
            weights: ``[C]`` the weights used, the same on every device.
            key: the random key of this channel in this round.
        """
        if self.empty:
            return self._shape, self._state, {}
        chain, state = self._chain, self._state
        seen: Metrics = {}
        if self._stores:
            uploads = self._uploads(collected, hospitals, plan, weights)
            seen = diagnosed(uploads) if self._diagnose else {}
        if self._sum is not None:
            total = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *(c.total for c in collected))
            total = jax.lax.psum(total, DEVICES)
            update, new, metrics = self._sum.lower(
                total.sum, total.weight, state.rule, _position(chain, key, 0)
            )
        else:
            update, new, metrics = self._reduced(uploads, key)
        result, posts = update.update, []
        for i, (post, post_state) in enumerate(zip(chain.posts, state.posts, strict=True)):
            result, post_state = post.apply(result, post_state, _position(chain, key, 1 + i))
            posts.append(post_state)
        return update._replace(update=result), ChainState(new, tuple(posts)), {**metrics, **seen}

    def _uploads(
        self, collected: list[PyTree], hospitals: list[Array], plan: Plan, weights: Array
    ) -> Uploads:
        """The stored uploads of all devices as one matrix."""
        axis = DEVICES if plan.devices_per_run > 1 else None
        matrix: Any = 0
        extras: Any = 0
        for part, at in zip(collected, hospitals, strict=True):
            rows, aux = part.stored
            if axis is not None:
                rows = jax.lax.all_to_all(rows, DEVICES, split_axis=1, concat_axis=0, tiled=True)
                aux, at = jax.lax.all_gather((aux, at), DEVICES, tiled=True)
            matrix += jnp.zeros((plan.clients, rows.shape[1]), rows.dtype).at[at].set(rows, mode="drop")
            extras += jnp.zeros((plan.clients, aux.shape[1]), aux.dtype).at[at].set(aux, mode="drop")
        size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self._shape.update))
        return Uploads(matrix, extras, weights, size, axis)

    def _reduced(self, uploads: Uploads, key: Array, first: int = 0) -> tuple[Upload, PyTree, Metrics]:
        """What the mixers from number ``first`` on and the rule make of the uploads."""
        chain = self._chain
        for i, mixer in enumerate(chain.mixers[first:], first):
            position = _position(chain, key, i - len(chain.mixers))
            if isinstance(mixer, Attack):
                uploads = mixer.against(uploads, position, self._after(i, key))
            else:
                uploads = mixer.apply(uploads, position)
        key = _position(chain, key, 0)
        rule = chain.rule
        if isinstance(rule, Rule):
            aggregate, new, metrics = rule.reduce(uploads, self._state.rule, key)
            if any(mixer.reorders for mixer in chain.mixers):  # upload k is not that of hospital k
                metrics = {name: metrics[name] for name in (INFLUENCE,) if name in metrics}
            whole, aux = uploads.whole(aggregate.update), aggregate.aux
            upload = Upload(_like(whole, self._shape.update), _like(aux, self._shape.aux))
            return upload, new, metrics

        def lift(row: Array, aux: Array) -> PyTree:
            upload = Upload(_like(row, self._shape.update), _like(aux, self._shape.aux))
            return rule.lift(upload, self._state.rule)

        every = jax.lax.all_gather(uploads.update, DEVICES, axis=1, tiled=True)[:, : uploads.size]
        lifted = jax.vmap(lift)(every, uploads.aux)
        total = jax.tree.map(lambda leaf: weighted_sum(uploads.weights.astype(leaf.dtype), leaf), lifted)
        return rule.lower(total, uploads.weights.sum(), self._state.rule, key)

    def _after(self, number: int, key: Array) -> Callable[[Uploads], Array]:
        """What follows the mixer with this number, as a function of uploads."""

        def aggregate(uploads: Uploads) -> Array:
            upload, _, _ = self._reduced(uploads, key, number + 1)
            return uploads.share(_flat(upload.update))

        return aggregate


def _position(chain: Chain, key: Array, after_rule: int) -> Array:
    """The key of a part, by its position in the chain, counted from the rule."""
    return jax.random.fold_in(key, len(chain.transforms) + len(chain.mixers) + after_rule)


def _alone(function: Any, block: PyTree) -> PyTree:
    result = function(jax.tree.map(lambda leaf: leaf[0], block))
    return jax.tree.map(lambda leaf: leaf[None], result)


def _flat_block(tree: PyTree, size: int) -> Array:
    return jax.vmap(_flat)(tree) if jax.tree.leaves(tree) else jnp.zeros((size, 0))


def _flat(tree: PyTree) -> Array:
    """All numbers of a tree in one vector, float32 at least."""
    vector = ravel_pytree(tree)[0]
    return vector.astype(jnp.promote_types(vector.dtype, jnp.float32))


def _like(vector: Array, shape: PyTree) -> PyTree:
    """The tree with this structure whose numbers are the vector's; dtypes stay those of the vector."""
    leaves, structure = jax.tree.flatten(shape)
    parts, first = [], 0
    for leaf in leaves:
        count = math.prod(leaf.shape)
        parts.append(vector[first : first + count].reshape(leaf.shape))
        first += count
    return jax.tree.unflatten(structure, parts)
