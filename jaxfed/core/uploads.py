"""All uploads of a round as one matrix, whose coordinates are distributed over devices.

Most rules need only inner products of uploads, and mixing uploads is a product with a small matrix. So this
module does not copy the uploads: :meth:`Uploads.mix` records the matrix, inner products are computed once,
whatever the number of mixers, and :meth:`Uploads.mean` reads the uploads a second and last time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FAR = 1e9  # distances above this are only known to be large
_FURTHEST = 1e12  # differences of coordinates are clipped to this, so that products do not overflow
_SAMPLED = 64  # coordinates per device from which a central upload is chosen
_CHUNK = 2**18  # numbers in a chunk of columns on a CPU: a copy of it stays in the second-level cache
_NARROWEST = 2048  # columns of a chunk, at least: with fewer, adding up the products costs too much
_BLOCK = 256  # rows of a block of products


class Aggregate(NamedTuple):
    """One update ``[n]`` (this device's share of the coordinates) with its extras ``[m]``."""

    update: Array
    aux: Array


class _Products:
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
            self._known = _sum_over(products, self._axis)
        return self._known


class Uploads:
    """The M uploads of a round on D devices; they are mixtures of the K uploads that are stored.

    A device holds n of the N coordinates of an update; ``aux`` and every array of length M are the same on
    all devices. Rows are in the order of the data set. An upload that is absent, or was rejected because it
    is not finite, has weight 0 and a row of zeros.

    Args:
        matrix: ``[K, n]``, at least float32.
        aux: ``[K, m]``, the uploads' small extras.
        weights: ``[K]``.
        size: N; None if this device has all coordinates.
        axis: name of the mesh axis over which coordinates are distributed; None for one device.

    Attributes:
        mixture: ``[M, K]``, the coefficients of the mixtures of stored uploads; None if nothing was mixed.
    """

    def __init__(
        self, matrix: Array, aux: Array, weights: Array, size: int | None = None, axis: str | None = None
    ) -> None:
        self._matrix, self.aux, self.weights = matrix, aux, weights
        self.size, self.axis = matrix.shape[1] if size is None else size, axis
        self.mixture: Array | None = None
        self._stored = weights > 0
        self._products = _Products(matrix, self._stored, axis)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def present(self) -> Array:
        """``[M]`` bool: which uploads are present, that is, have a positive weight."""
        return self.weights > 0

    @property
    def update(self) -> Array:
        """``[M, n]``: this device's share of each update; reads all of them if they were mixed."""
        return self._matrix if self.mixture is None else _multiply(self.mixture, self._matrix)

    def gram(self) -> Array:
        """``[M, M]`` inner products of whole updates."""
        return self._inner(0)

    def centred_gram(self) -> Array:
        """``[M, M]`` inner products of updates minus a central one; use these to compute distances."""
        return self._inner(1)

    def squared_norms(self) -> Array:
        """``[M]`` squared norms of whole updates; products of all pairs are only needed after mixing."""
        if self.mixture is None:
            return _sum_over(jnp.square(self._matrix).sum(1), self.axis)
        return jnp.maximum(jnp.diagonal(self.gram()), 0)

    def squared_distances(self) -> Array:
        """``[M, M]`` squared distances; 0 on the diagonal, infinite if one of the two uploads is absent."""
        gram = self.centred_gram()
        squares = jnp.diagonal(gram)
        between = jnp.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0)
        between = jnp.where(jnp.tri(len(self), k=-1, dtype=bool), between, 0)
        between = between + between.T  # symmetric to the last bit, so that equal distances compare as equal
        return jnp.where(self.present[:, None] & self.present[None, :], between, jnp.inf)

    def squared_distances_to(self, point: Array) -> Array:
        """``[M]`` squared distances to ``point [n]``, which is distributed over devices like the updates.

        A distance that overflows is infinite.
        """
        if self.mixture is None:
            return _sum_over(jnp.square(self._matrix - point).sum(1), self.axis)
        moved = jnp.clip(point - self._products.centre, -_FURTHEST, _FURTHEST)
        along = _multiply(jnp.clip(self._matrix - self._products.centre, -_FURTHEST, _FURTHEST), moved)
        along = jnp.append(jnp.where(self._stored, along, 0), self._products.centre @ moved)
        inner = _multiply(self._affine(self.mixture, 1), _sum_over(along, self.axis))
        moved_by = _sum_over(moved @ moved, self.axis)
        squares = jnp.maximum(jnp.diagonal(self.centred_gram()) - 2 * inner + moved_by, 0)
        return jnp.where(squares < FAR**2, squares, jnp.inf)

    def dot(self, point: Array) -> Array:
        """``[M]`` inner products with ``point [n]``, which is distributed over devices like the updates."""
        inner = _sum_over(_multiply(self._matrix, point), self.axis)
        return inner if self.mixture is None else _multiply(self.mixture, inner)

    def mix(self, matrix: Array, weights: Array) -> Uploads:
        """``matrix [M', M]`` times the uploads, with new weights ``[M']``."""
        matrix = matrix.astype(self._matrix.dtype)
        new = copy.copy(self)
        new.mixture = matrix if self.mixture is None else _multiply(matrix, self.mixture)
        new.aux, new.weights = _multiply(matrix, self.aux), weights
        return new

    def scale(self, factors: Array) -> Uploads:
        """Each update times its factor ``[M]``; extras stay as they are."""
        new = self.mix(jnp.diag(factors), self.weights)
        new.aux = self.aux
        return new

    def replace(self, malicious: Array, update: Array) -> Uploads:
        """The uploads with ``update`` (``[n]`` or ``[M, n]``) in the place of the ``malicious``.

        Of those an upload that is not finite is rejected: it has weight 0 and a row of zeros.
        """
        matrix = jnp.where(malicious[:, None], update, self.update)
        finite = _sum_over((~jnp.isfinite(matrix)).sum(1), self.axis) == 0
        matrix = jnp.where(finite[:, None], matrix, 0)
        return Uploads(matrix, self.aux, jnp.where(finite, self.weights, 0), self.size, self.axis)

    def mean(self, weights: Array) -> Aggregate:
        """The mean with other weights ``[M]``; 0 where they are all 0."""
        share = _shares(weights).astype(self._matrix.dtype)
        stored = share if self.mixture is None else _multiply(share, self.mixture)
        return Aggregate(_multiply(stored, self._matrix), _multiply(share, self.aux))

    def influence(self, weights: Array) -> Array:
        """``[K]``: the part of each stored upload in the mean with weights ``[M]``, whatever the mixers."""
        share = _shares(weights).astype(self._matrix.dtype)
        return share if self.mixture is None else _multiply(share, self.mixture)

    def columns(self, index: Array) -> Array:
        """``[M, b]``: the coordinates with the numbers ``index [b]`` of N, the same on every device."""
        n = self._matrix.shape[1]
        if self.axis is None:
            part = self._matrix[:, index]
        else:
            place = index - jax.lax.axis_index(self.axis) * n
            here = (place >= 0) & (place < n)
            part = jnp.where(here, self._matrix[:, jnp.clip(place, 0, n - 1)], 0)
            part = _sum_over(part, self.axis)
        return part if self.mixture is None else _multiply(self.mixture, part)

    def share(self, vector: Array) -> Array:
        """``[n]``: this device's coordinates of a whole vector ``[N]``."""
        if self.axis is None:
            return vector
        n = self._matrix.shape[1]
        padded = jnp.pad(vector, (0, n * jax.lax.axis_size(self.axis) - self.size))
        return jax.lax.dynamic_slice(padded, (jax.lax.axis_index(self.axis) * n,), (n,))

    def whole(self, share: Array) -> Array:
        """``[N]``: the whole vector, from the coordinates ``[n]`` of each device."""
        if self.axis is None:
            return share
        return jax.lax.all_gather(share, self.axis, tiled=True)[: self.size]

    def by_columns(self, function: Callable[[Array], Array], matrix: Array) -> Array:
        """``function(matrix)`` for a ``matrix`` that all devices have; each device computes some columns.

        Args:
            function: from columns ``[.., m]`` to ``[.., m]``, column by column.
            matrix: ``[.., M]``.
        """
        if self.axis is None:
            return function(matrix)
        devices, columns = jax.lax.axis_size(self.axis), matrix.shape[1]
        each = -(-columns // devices)
        padded = jnp.pad(matrix, ((0, 0), (0, each * devices - columns)))
        part = jax.lax.dynamic_slice_in_dim(padded, jax.lax.axis_index(self.axis) * each, each, 1)
        results = function(part)
        return jax.lax.all_gather(results, self.axis, axis=results.ndim - 1, tiled=True)[..., :columns]

    def sum_over_devices(self, partial: Array) -> Array:
        """The sum over devices of partial results that each computed from its coordinates."""
        return _sum_over(partial, self.axis)

    def _affine(self, rows: Array, shift: int) -> Array:
        """``[M, K + 1]``: the mixtures minus ``shift`` centres, by centred uploads and the centre."""
        present = self._stored.astype(rows.dtype)  # the row of an absent upload is 0, not the centre
        return jnp.concatenate([rows, (rows @ present)[:, None] - shift], axis=1)

    def _inner(self, shift: int) -> Array:
        """``[M, M]`` inner products of the rows of :meth:`_affine`; each device computes some columns."""
        products = self._products.centred()
        if self.mixture is None and shift == 1:
            return products[:-1, :-1]
        if self.mixture is None:
            along = products[:-1, -1]
            both = self._stored[:, None] & self._stored[None, :]
            return jnp.where(both, products[:-1, :-1] + along[:, None] + along + products[-1, -1], 0)
        rows = self._affine(self.mixture, shift)
        return self.by_columns(lambda columns: _multiply(rows, _multiply(products, columns)), rows.T)


def _central(matrix: Array, present: Array, axis: str | None) -> Array:
    """The number of the upload nearest to the median, judged by a sample of each device's coordinates."""
    n = matrix.shape[1]
    width = min(n, _SAMPLED)
    sample = matrix[:, jnp.arange(width) * (n // max(width, 1))]
    ordered = jnp.sort(jnp.where(present[:, None], sample, jnp.inf), axis=0)
    middle = ordered[jnp.maximum(present.sum() - 1, 0) // 2]
    far = _sum_over(jnp.square(jnp.clip(sample - middle, -_FURTHEST, _FURTHEST)).sum(1), axis)
    return jnp.argmin(jnp.where(present, far, jnp.inf))


def _centred_products(matrix: Array, present: Array, centre: Array) -> Array:
    """Products over this device's coordinates; on a CPU in chunks of columns that fit into the cache."""
    rows, columns = matrix.shape

    def products(part: Array, middle: Array) -> Array:
        middle = jnp.clip(middle, -_FURTHEST, _FURTHEST)
        centred = jnp.where(present[:, None], jnp.clip(part - middle, -_FURTHEST, _FURTHEST), 0)
        centred = jax.lax.optimization_barrier(centred)  # one copy, for all blocks
        along = _multiply(centred, middle)
        inside = jnp.concatenate([_squared(centred), along[None]])
        return jnp.concatenate([inside, jnp.append(along, middle @ middle)[:, None]], axis=1)

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
        return _multiply(a, a.T)
    lower = [jnp.pad(_multiply(a[i:], a[i : i + _BLOCK].T), ((i, 0), (0, 0))) for i in range(0, rows, _BLOCK)]
    half = jnp.concatenate(lower, axis=1)
    return jnp.where(jnp.tri(rows, dtype=bool), half, half.T)


def _shares(weights: Array) -> Array:
    """The weights over their sum; 0 where they are all 0."""
    total = weights.sum()
    return weights / jnp.where(total > 0, total, 1)


def _multiply(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _sum_over(partial: Array, axis: str | None) -> Array:
    return partial if axis is None else jax.lax.psum(partial, axis)
