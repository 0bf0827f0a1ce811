"""The direction in which uploads differ most, from their inner products alone.

With X the uploads minus their weighted mean and c the weights' shares, the covariance X' diag(c) X has the
eigenvalues of the small matrix diag(sqrt c) X X' diag(sqrt c), and of its eigenvector a the eigenvector
X' diag(sqrt c) a.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxfed.core.eigenvector import first_eigenvector
from jaxfed.core.products import multiply


def covariance(gram: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Products of the uploads minus their mean, a matrix with the eigenvalues of their covariance, sqrt c.

    Args:
        gram: ``[M, M]`` inner products of the uploads minus any point.
        weights: ``[M]``, not negative; absent uploads have 0.
    """
    share = weights / jnp.maximum(weights.sum(), jnp.finfo(gram.dtype).tiny)
    along = multiply(gram, share)
    centred = gram - along[:, None] - along + multiply(share, along)
    root = jnp.sqrt(share)
    return centred, root[:, None] * centred * root, root


def largest_variance(gram: Array, weights: Array) -> Array:
    """The largest eigenvalue of the covariance."""
    return jnp.linalg.eigvalsh(covariance(gram, weights)[1])[-1]


def main_direction(gram: Array, weights: Array) -> tuple[Array, Array]:
    """The largest eigenvalue of the covariance, and ``[M]`` squares along its eigenvector from the mean."""
    centred, matrix, root = covariance(gram, weights)
    vector = first_eigenvector(matrix)
    top = multiply(multiply(vector, matrix), vector)
    along = multiply(centred, root * vector)  # its eigenvector has the length sqrt(top)
    return top, jnp.square(along / jnp.sqrt(jnp.maximum(top, jnp.finfo(gram.dtype).tiny)))
