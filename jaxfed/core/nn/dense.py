"""Dense layers whose weight gradient is as fast as the layer itself.

The gradient of ``x @ kernel`` by the kernel is ``x.T @ slope``, and a product over the first axis of both is
one that XLA's CPU backend does not give to its fast library. Of the transposed copy of ``x`` it does; where
the layer has so few outputs that the copy costs more than the product, nothing is changed, nor on a GPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

FEW = 8  # outputs


def _dense(
    x: Array,
    kernel: Array,
    *,
    dimension_numbers: Any,
    precision: Any,
    preferred_element_type: Any,
    **_unused: Any,
) -> Array | None:
    """A product of the last axis of ``x [..., I]`` with the first of ``kernel [I, O]``; as in ``lax``."""
    plain = dimension_numbers == (((x.ndim - 1,), (0,)), ((), ()))
    if not plain or x.ndim < 2 or kernel.ndim != 2 or kernel.shape[1] < FEW or x.dtype != kernel.dtype:
        return None
    if not jnp.issubdtype(x.dtype, jnp.floating) or jax.default_backend() != "cpu":
        return None
    product = _product(x.reshape(-1, x.shape[-1]), kernel, precision, preferred_element_type)
    return product.reshape(*x.shape[:-1], -1)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _product(x: Array, kernel: Array, precision: Any, preferred: Any) -> Array:
    return _forward(x, kernel, precision, preferred)[0]


def _forward(x: Array, kernel: Array, precision: Any, preferred: Any) -> tuple[Array, tuple[Array, Array]]:
    return lax.dot_general(x, kernel, (((1,), (0,)), ((), ())), precision, preferred), (x, kernel)


def _backward(
    precision: Any, preferred: Any, residuals: tuple[Array, Array], slope: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    of_x = lax.dot_general(slope, kernel, (((1,), (1,)), ((), ())), precision, preferred)
    # behind a barrier, because XLA makes one product of a transposition and a product
    columns = lax.optimization_barrier(x.T)
    of_kernel = lax.dot_general(columns, slope, (((1,), (0,)), ((), ())), precision, preferred)
    return of_x.astype(x.dtype), of_kernel.astype(kernel.dtype)


_product.defvjp(_forward, _backward)

RULES = {"dot_general": _dense}
