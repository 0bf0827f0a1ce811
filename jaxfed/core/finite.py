"""Guards against numbers that are not finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.types import PyTree


def all_finite(stacked: PyTree) -> Array:
    """``[B]``: whether every number of a client is finite, for a tree of ``[B, ...]``."""
    floats = [x for x in jax.tree.leaves(stacked) if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = [jnp.isfinite(x).reshape(len(x), -1).all(1) for x in floats]
    return jnp.stack(finite).all(0) if finite else jnp.ones((1,), bool)


def where(condition: Array, new: PyTree, old: PyTree | float) -> PyTree:
    """``new`` or ``old`` (a tree, or a number); a ``[B]`` condition selects whole clients."""

    def select(a: Array, b: Array | float) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    if isinstance(old, (int, float)):
        return jax.tree.map(lambda a: select(a, old), new)
    return jax.tree.map(select, new, old)


def keep_finite(new: PyTree, old: PyTree, present: Array) -> tuple[PyTree, Array]:
    """The server's state after a round, and whether the new state was refused because it was not finite.

    If it was refused, or if no upload was used, the old state is returned.
    """
    # the aggregate of a half-precision model has a wider type than the model
    new = jax.tree.map(lambda after, before: jnp.asarray(after, before.dtype), new, old)
    finite = all_finite(jax.tree.map(lambda leaf: leaf[None], new))[0]
    return where(finite & (present > 0), new, old), ~finite & (present > 0)
