"""Poisson sampling of a hospital's rows inside of the program, at full capacity.

Every row is in a step's sample with probability q, independently of the others. The distance from one sampled
row to the next has a geometric distribution, so that the rows are drawn one after another, microbatch by
microbatch, until the hospital ends: no sample is too large, and a step costs as much as its sample, not as
much as the hospital. Distances have the 24 bits of a float32, so a row's probability is q to within 6e-8.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxfed.privacy.draws import uniform


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


def draw(
    key: Array, step: Array, rate: Array | float, size: Array, last: Array, first: Array, count: int
) -> Drawn:
    """The next ``count`` rows of a Poisson sample.

    Args:
        key, step: of the sample.
        rate: the probability of each row, from 0 to 1.
        size: int32, the hospital's rows.
        last: the last row that was drawn; -1 before the first.
        first: rows drawn so far.
        count: static.
    """
    drawn = uniform(key, step, first + jnp.arange(count))
    gap = jnp.floor(jnp.log(drawn) / jnp.log1p(-jnp.asarray(rate, jnp.float32)))
    gap = jnp.where(rate > 0, jnp.minimum(gap, size.astype(jnp.float32)), size).astype(jnp.int32)
    places = last + jnp.cumsum(gap + 1)
    counts = places < size
    # bounded, because a hospital that is done goes on with those of its block
    return Drawn(jnp.where(counts, places, 0), counts, jnp.minimum(places[-1], size))
