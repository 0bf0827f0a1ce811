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

from jaxfed.core.products import FURTHEST, Products, multiply, sum_over

FAR = 1e9  # distances above this are only known to be large


class Aggregate(NamedTuple):
    """One update ``[n]`` (this device's share of the coordinates) with its extras ``[m]``."""

    update: Array
    aux: Array


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
        self._products = Products(matrix, self._stored, axis)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def present(self) -> Array:
        """``[M]`` bool: which uploads are present, that is, have a positive weight."""
        return self.weights > 0

    @property
    def update(self) -> Array:
        """``[M, n]``: this device's share of each update; reads all of them if they were mixed."""
        return self._matrix if self.mixture is None else multiply(self.mixture, self._matrix)

    def gram(self) -> Array:
        """``[M, M]`` inner products of whole updates."""
        return self._inner(0)

    def centred_gram(self) -> Array:
        """``[M, M]`` inner products of updates minus a central one; use these to compute distances."""
        return self._inner(1)

    def squared_norms(self) -> Array:
        """``[M]`` squared norms of whole updates; products of all pairs are only needed after mixing."""
        if self.mixture is None:
            return sum_over(jnp.square(self._matrix).sum(1), self.axis)
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
            return sum_over(jnp.square(self._matrix - point).sum(1), self.axis)
        moved = jnp.clip(point - self._products.centre, -FURTHEST, FURTHEST)
        along = multiply(jnp.clip(self._matrix - self._products.centre, -FURTHEST, FURTHEST), moved)
        along = jnp.append(jnp.where(self._stored, along, 0), multiply(self._products.centre, moved))
        inner = multiply(self._affine(self.mixture, 1), sum_over(along, self.axis))
        moved_by = sum_over(multiply(moved, moved), self.axis)
        squares = jnp.maximum(jnp.diagonal(self.centred_gram()) - 2 * inner + moved_by, 0)
        return jnp.where(squares < FAR**2, squares, jnp.inf)

    def dot(self, point: Array) -> Array:
        """``[M]`` inner products with ``point [n]``, which is distributed over devices like the updates."""
        inner = sum_over(multiply(self._matrix, point), self.axis)
        return inner if self.mixture is None else multiply(self.mixture, inner)

    def mix(self, matrix: Array, weights: Array) -> Uploads:
        """``matrix [M', M]`` times the uploads, with new weights ``[M']``."""
        matrix = matrix.astype(self._matrix.dtype)
        new = copy.copy(self)
        new.mixture = matrix if self.mixture is None else multiply(matrix, self.mixture)
        new.aux, new.weights = multiply(matrix, self.aux), weights
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
        finite = sum_over((~jnp.isfinite(matrix)).sum(1), self.axis) == 0
        matrix = jnp.where(finite[:, None], matrix, 0)
        return Uploads(matrix, self.aux, jnp.where(finite, self.weights, 0), self.size, self.axis)

    def mean(self, weights: Array) -> Aggregate:
        """The mean with other weights ``[M]``; 0 where they are all 0."""
        share = _shares(weights).astype(self._matrix.dtype)
        stored = share if self.mixture is None else multiply(share, self.mixture)
        return Aggregate(multiply(stored, self._matrix), multiply(share, self.aux))

    def influence(self, weights: Array) -> Array:
        """``[K]``: the part of each stored upload in the mean with weights ``[M]``, whatever the mixers."""
        share = _shares(weights).astype(self._matrix.dtype)
        return share if self.mixture is None else multiply(share, self.mixture)

    def columns(self, index: Array) -> Array:
        """``[M, b]``: the coordinates with the numbers ``index [b]`` of N, the same on every device."""
        n = self._matrix.shape[1]
        if self.axis is None:
            part = self._matrix[:, index]
        else:
            place = index - jax.lax.axis_index(self.axis) * n
            here = (place >= 0) & (place < n)
            part = jnp.where(here, self._matrix[:, jnp.clip(place, 0, n - 1)], 0)
            part = sum_over(part, self.axis)
        return part if self.mixture is None else multiply(self.mixture, part)

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
        return sum_over(partial, self.axis)

    def _affine(self, rows: Array, shift: int) -> Array:
        """``[M, K + 1]``: the mixtures minus ``shift`` centres, by centred uploads and the centre."""
        present = self._stored.astype(rows.dtype)  # the row of an absent upload is 0, not the centre
        return jnp.concatenate([rows, multiply(rows, present)[:, None] - shift], axis=1)

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
        return self.by_columns(lambda columns: multiply(rows, multiply(products, columns)), rows.T)


def _shares(weights: Array) -> Array:
    """The weights over their sum; 0 where they are all 0."""
    total = weights.sum()
    return weights / jnp.where(total > 0, total, 1)
