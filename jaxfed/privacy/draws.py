"""Random numbers of private steps: a counter-based generator that costs a tenth of threefry.

A word is a hash of (place, step, key), so that a step's noise is one pass over its numbers, which XLA fuses.
The hash is pcg4d: Jarzynski, Olano 2020, "Hash functions for GPU rendering", Journal of Computer Graphics
Techniques 9(3), which passes BigCrush; the key itself comes from threefry. Good enough for statistics, and
made for speed: a real system needs a cryptographic generator and protection of its floating point.

Normal numbers are quantiles: Giles 2012, "Approximating the erfinv function", single precision.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def words(key: Array, step: Array | int, places: Array) -> Array:
    """Random uint32 of the shape of ``places``: functions of the key, the step and the place alone."""
    x = places.astype(jnp.uint32)
    first, second = jax.random.key_data(key).reshape(-1)[:2]
    step = jnp.asarray(step).astype(jnp.uint32)
    y, z, w = (jnp.broadcast_to(number, x.shape) for number in (step, first, second))
    x, y, z, w = (v * jnp.uint32(1664525) + jnp.uint32(1013904223) for v in (x, y, z, w))
    x, y, z, w = _mixed(x, y, z, w)
    x, y, z, w = (v ^ (v >> 16) for v in (x, y, z, w))
    return _mixed(x, y, z, w)[3]


def uniform(key: Array, step: Array | int, places: Array) -> Array:
    """Uniform float32 in (0, 1], with 24 bits."""
    return ((words(key, step, places) >> 8).astype(jnp.float32) + 1) * 2.0**-24


def normal(key: Array, step: Array | int, first: int, shape: tuple[int, ...]) -> Array:
    """Standard normal float32 at places ``first, first + 1, ...``, with 23 bits: at most 5.3 in size."""
    bits = (words(key, step, _places(first, shape)) >> 9) | jnp.uint32(0x3F800000)
    # odd multiples of 2^-23 in (-1, 1): symmetric, and never an end
    x = 2 * lax.bitcast_convert_type(bits, jnp.float32) - 3 + jnp.float32(2.0**-23)
    w = -jnp.log((1 - x) * (1 + x))
    central = w < 5
    t = jnp.where(central, w - 2.5, jnp.sqrt(w) - 3)
    p = jnp.where(central, CENTRE[0], TAIL[0])
    for near, far in zip(CENTRE[1:], TAIL[1:], strict=True):
        p = p * t + jnp.where(central, near, far)
    return jnp.float32(2**0.5) * x * p


def _places(first: int, shape: tuple[int, ...]) -> Array:
    """``first + 0, 1, 2, ...`` in this shape, as sums of iotas, which XLA fuses."""
    places = jnp.full(shape, first, jnp.uint32)
    stride = 1
    for axis in range(len(shape) - 1, -1, -1):
        places = places + jnp.uint32(stride) * lax.broadcasted_iota(jnp.uint32, shape, axis)
        stride *= shape[axis]
    return places


def _mixed(x: Array, y: Array, z: Array, w: Array) -> tuple[Array, Array, Array, Array]:
    x = x + y * w
    y = y + z * x
    z = z + x * y
    w = w + y * z
    return x, y, z, w
