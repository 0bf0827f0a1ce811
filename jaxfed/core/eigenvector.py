"""The first eigenvector of a matrix of inner products.

By squaring the matrix, because the eigenvectors of LAPACK, for a thousand uploads, overflow the stack of the
thread that works for a second CPU device, and end the process.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.products import multiply

SQUARINGS = 14  # a power of 2^14 of the matrix: eigenvalues 0.1 % apart are told apart


def first_eigenvector(matrix: Array) -> Array:
    """``[M]`` of length 1 (0 for zeros), of a symmetric ``matrix [M, M]`` without negative eigenvalues."""
    tiny = jnp.finfo(matrix.dtype).tiny

    def scaled(array: Array) -> Array:
        return array / jnp.maximum(jnp.abs(array).max(), tiny)

    def squared(_: Array, power: Array) -> Array:
        power = scaled(power)
        return multiply(power, power)

    power = jax.lax.fori_loop(0, SQUARINGS, squared, matrix)
    vector = power[:, jnp.argmax(jnp.square(scaled(power)).sum(0))]
    for _ in range(3):  # less rounding
        vector = multiply(matrix, scaled(vector))
    vector = scaled(vector)
    return vector / jnp.maximum(jnp.sqrt(multiply(vector, vector)), tiny)
