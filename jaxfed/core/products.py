"""Inner products of the uploads of a round, whose coordinates are distributed over devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

FURTHEST = 1e12  # differences of coordinates are clipped to this, so that products do not overflow
_SAMPLED = 64  # coordinates per device from which a central upload is chosen
_CHUNK = 2**18  # numbers in a chunk of columns on a CPU: a copy of it stays in the second-level cache
_NARROWEST = 2048  # columns of a chunk, at least: with fewer, adding up the products costs too much
_BLOCK = 256  # rows of a block of products


class Products:
    """Inner products of the stored uploads; computed at the first access and then reused.

    The first access must be outside of jax loops: a value traced inside a loop cannot be used after it.
    """

    def __init__(self, matrix: Array, present: Array, axis: str | None) -> None:
        self._matrix, self._present, self._axis = matrix, present, axis
        self._centre: Array | None = None
        self._known: Array | None = None

    @property
    def centre(self) -> Array:
        """``[n]``: an upload that lies in the middle of the others.

        Distances of nearly equal uploads cancel in float32, so a point near them is subtracted first. The
        point is not their mean, which a single upload can move arbitrarily far.
        """
        if self._centre is None:
            self._centre = self._matrix[_central(self._matrix, self._present, self._axis)]
        return self._centre

    def centred(self) -> Array:
        """``[K + 1, K + 1]``: products of the uploads minus the centre, and (last) of the centre itself."""
        if self._known is None:
            products = _centred_products(self._matrix, self._present, self.centre)
            self._known = sum_over(products, self._axis)
        return self._known


def _central(matrix: Array, present: Array, axis: str | None) -> Array:
    """The number of the upload nearest to the median, judged by a sample of each device's coordinates."""
    n = matrix.shape[1]
    width = min(n, _SAMPLED)
    sample = matrix[:, jnp.arange(width) * (n // max(width, 1))]
    ordered = jnp.sort(jnp.where(present[:, None], sample, jnp.inf), axis=0)
    middle = ordered[jnp.maximum(present.sum() - 1, 0) // 2]
    far = sum_over(jnp.square(jnp.clip(sample - middle, -FURTHEST, FURTHEST)).sum(1), axis)
    return jnp.argmin(jnp.where(present, far, jnp.inf))


def _centred_products(matrix: Array, present: Array, centre: Array) -> Array:
    """Products over this device's coordinates; on a CPU in chunks of columns that fit into the cache."""
    rows, columns = matrix.shape

    def products(part: Array, middle: Array) -> Array:
        middle = jnp.clip(middle, -FURTHEST, FURTHEST)
        centred = jnp.where(present[:, None], jnp.clip(part - middle, -FURTHEST, FURTHEST), 0)
        centred = jax.lax.optimization_barrier(centred)  # one copy, for all blocks
        along = multiply(centred, middle)
        inside = jnp.concatenate([_squared(centred), along[None]])
        return jnp.concatenate([inside, jnp.append(along, multiply(middle, middle))[:, None]], axis=1)

    width = max(_NARROWEST, _CHUNK // max(rows, 1) // 64 * 64)
    if jax.default_backend() != "cpu" or columns <= width:
        return products(matrix, centre)
    whole = columns // width

    def add(c: Array, total: Array) -> Array:
        part = jax.lax.dynamic_slice_in_dim(matrix, c * width, width, 1)
        return total + products(part, jax.lax.dynamic_slice_in_dim(centre, c * width, width))

    total = jax.lax.fori_loop(0, whole, add, jnp.zeros((rows + 1, rows + 1), matrix.dtype))
    rest = columns - whole * width
    return total + products(matrix[:, whole * width :], centre[whole * width :]) if rest else total


def _squared(a: Array) -> Array:
    """``a a'``; with many rows only the blocks on and below the diagonal are computed."""
    rows = len(a)
    if rows < 2 * _BLOCK:
        return multiply(a, a.T)
    lower = [jnp.pad(multiply(a[i:], a[i : i + _BLOCK].T), ((i, 0), (0, 0))) for i in range(0, rows, _BLOCK)]
    half = jnp.concatenate(lower, axis=1)
    return jnp.where(jnp.tri(rows, dtype=bool), half, half.T)


def multiply(a: Array, b: Array) -> Array:
    """``a b`` in full precision, also where a device would round its factors."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def weighted_sum(weights: Array, rows: Array) -> Array:
    """``sum_k weights_k rows_k`` in full precision, for ``weights [..., K]`` and ``rows [K, ...]``."""
    return jnp.tensordot(weights, rows, axes=1, precision=jax.lax.Precision.HIGHEST)


def sum_over(partial: Array, axis: str | None) -> Array:
    """The sum of all devices' parts; ``axis`` is None where there is one device."""
    return partial if axis is None else jax.lax.psum(partial, axis)
