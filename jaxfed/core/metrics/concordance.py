"""Harrell's C-index of many hospitals at once.

Of all pairs in which one row is known to have its event first, the share in which that row has the higher
score; equal scores count one half (Harrell et al. 1982, doi 10.1001/jama.1982.03320430047030). A pair is
comparable if the earlier time is an event, and with equal times if one of them is an event and the other is
censored. A hospital without such a pair has none, and gets NaN.

For rows in the order of hospital and falling time, a row's partners are a contiguous range, and counting the
smaller scores in a range takes one pass per bit over a wavelet matrix (Claude, Navarro 2012, doi
10.1007/978-3-642-34109-0_18): N log N operations, no pairs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.cox import changes


def cindex_by_segment(score: Array, time: Array, event: Array, segment: Array, segments: int) -> Array:
    """The C-index of each segment, ``[segments]``.

    Args:
        score: ``[N]``, larger means an earlier event.
        time: ``[N]``, until the event or until the row was last seen.
        event: ``[N]``, 1 for an event, 0 for a censored row.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
    """
    segment = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    concordant, comparable = pair_counts(score, time, event, segment)
    weight = comparable.astype(jnp.promote_types(score.dtype, jnp.float32))
    share = jnp.where(comparable > 0, concordant.astype(weight.dtype) / jnp.maximum(2 * comparable, 1), 0)

    def total(values: Array) -> Array:
        return jax.ops.segment_sum(values, segment, segments + 1)

    pairs = jnp.maximum(total(weight), 1)
    first = total(weight * share) / pairs
    # a long float32 sum drifts; summing the residuals a second time recovers the lost digits
    index = first + total(weight * (share - first[segment])) / pairs
    undefined = (total(comparable) == 0) | (total(jnp.isnan(score).astype(jnp.int32)) > 0)
    return jnp.where(undefined, jnp.nan, index)[:segments]


def pair_counts(score: Array, time: Array, event: Array, segment: Array) -> tuple[Array, Array]:
    """Twice the partners of each row that it is concordant with, and its partners, ``[N]`` int32 each.

    A row's partners are the rows of its segment that are known to have a later event; a censored row has
    none.
    """
    n, event = len(score), event > 0
    order = jnp.lexsort((event, -time, segment))
    score, time, event, segment = (leaf[order] for leaf in (score, time, event, segment))
    place = jnp.arange(n)
    start = jax.lax.cummax(jnp.where(changes(segment), place, 0))
    new = changes(segment) | changes(time)
    stop = jax.lax.cummax(jnp.where(event & (new | ~jnp.roll(event, 1)), place, 0))
    by_score = jnp.argsort(score)
    rank = jnp.cumsum(changes(score[by_score])) - 1
    rank = jnp.zeros(n, jnp.int32).at[by_score].set(rank, unique_indices=True)
    below, equal = _counts(rank, start, stop)
    concordant, comparable = jnp.where(event, 2 * below + equal, 0), jnp.where(event, stop - start, 0)
    counts = jnp.zeros((2, n), jnp.int32).at[:, order].set(jnp.stack([concordant, comparable]))
    return counts[0], counts[1]


def _counts(values: Array, start: Array, stop: Array) -> tuple[Array, Array]:
    """For each i, how many of ``values[start[i]:stop[i]]`` are below ``values[i]``, and how many equal it.

    ``values`` are from 0 to N - 1. Each bit, from the highest, sorts them stably by the bit, and follows the
    range to where its values with the same bit lie.
    """
    n, levels = len(values), max(len(values) - 1, 1).bit_length()

    def level(i: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        sorted_values, start, stop, below = carry
        bit = 1 << (levels - 1 - i)
        zero = (sorted_values & bit) == 0
        zeros = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(zero, dtype=jnp.int32)])
        low, high = zeros[start], zeros[stop]
        one = (values & bit) != 0
        place = jnp.where(zero, zeros[:-1], zeros[-1] + jnp.arange(n) - zeros[:-1])
        moved = jnp.zeros_like(sorted_values).at[place].set(sorted_values, unique_indices=True)
        return (
            moved,
            jnp.where(one, zeros[-1] + start - low, low),
            jnp.where(one, zeros[-1] + stop - high, high),
            below + jnp.where(one, high - low, 0),
        )

    nothing = jnp.zeros(n, jnp.int32)
    _, start, stop, below = jax.lax.fori_loop(
        0, levels, level, (values, start.astype(jnp.int32), stop.astype(jnp.int32), nothing)
    )
    return below, stop - start
