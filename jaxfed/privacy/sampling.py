"""Poisson sampling of a hospital's rows inside of the program, at full capacity.

Every row is in a step's sample with probability q, independently of the others. The distance from one sampled
row to the next has a geometric distribution, so that the rows are drawn one after another, microbatch by
microbatch, until the hospital ends: no sample is too large, and a step costs as much as its sample, not as
much as the hospital. Distances have the 24 bits of a float32, so a row's probability is q to within 6e-8.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.random import threefry_2x32


class Drawn(NamedTuple):
    """A microbatch of a sample.

    Attributes:
        rows: ``[B]`` int32, the rows, 0 where there are none left.
        counts: ``[B]`` bool, whether there is a row.
        last: int32, where the next microbatch goes on; at least the hospital's size if nothing is left.
    """

    rows: Array
    counts: Array
    last: Array


def words(key: Array, first: Array | int, count: int) -> Array:
    """``[count]`` random uint32 of a key; those at positions ``first ...`` of an endless sequence.

    They do not depend on how a sequence is cut into pieces of an even size, from an even position.
    """
    pairs = -(-count // 2)
    places = jnp.asarray(first, jnp.uint32) // 2 + jnp.arange(pairs, dtype=jnp.uint32)
    drawn = threefry_2x32(jax.random.key_data(key), jnp.concatenate([places, ~places]))
    return drawn.reshape(2, pairs).T.reshape(-1)[:count]


def draw(key: Array, rate: Array | float, size: Array, last: Array, first: Array, count: int) -> Drawn:
    """The next ``count`` rows of a Poisson sample.

    Args:
        key: of the step.
        rate: the probability of each row, from 0 to 1.
        size: int32, the hospital's rows.
        last: the last row that was drawn; -1 before the first.
        first: rows drawn so far, an even number.
        count: static; an even number.
    """
    uniform = ((words(key, first, count) >> 8).astype(jnp.float32) + 1) * 2.0**-24  # in (0, 1]
    gap = jnp.floor(jnp.log(uniform) / jnp.log1p(-jnp.asarray(rate, jnp.float32)))
    gap = jnp.where(rate > 0, jnp.minimum(gap, size.astype(jnp.float32)), size).astype(jnp.int32)
    places = last + jnp.cumsum(gap + 1)
    counts = places < size
    return Drawn(jnp.where(counts, places, 0), counts, places[-1])
