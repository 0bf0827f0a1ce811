"""Rows of many hospitals in the order of their scores: AUROC, its placements, average precision and bins.

    below_i   the share of the hospital's negatives with a lower score than row i, equal scores counting half
    above_i   the share of its positives with a higher score, equal scores counting half

The mean of ``below`` over positives is the AUROC, and so is that of ``above`` over negatives.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Ranks(NamedTuple):
    """Arrays ``[N]`` in the order of segment and score, and counts ``[segments]``.

    Attributes:
        order: the row at each place.
        segment: ``segments`` for rows that are left out.
        positive: bool.
        below, above: see the module; NaN without negatives or positives.
        precision: the share of positives among the rows with at least this score.
        middle: the mean place, from 0 to 1, of the rows of the hospital with this score.
        positives, negatives: rows of each class.
        broken: whether a score of the segment is NaN.
    """

    order: Array
    segment: Array
    positive: Array
    below: Array
    above: Array
    precision: Array
    middle: Array
    positives: Array
    negatives: Array
    broken: Array

    def in_rows(self, values: Array) -> Array:
        """Values ``[N]`` in the order of the rows that were ranked."""
        return jnp.zeros_like(values).at[self.order].set(values, unique_indices=True)


def rank_rows(score: Array, y: Array, segment: Array, segments: int) -> Ranks:
    """Sort rows by segment and score.

    Args:
        score: ``[N]``, larger means more likely positive.
        y: ``[N]``, 1 positive, 0 negative.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
    """
    segment = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    broken = jax.ops.segment_sum(jnp.isnan(score).astype(jnp.int32), segment, segments + 1) > 0
    order = jnp.lexsort((score, segment))
    score, segment, positive = score[order], segment[order], y[order] > 0
    changes = (score[1:] != score[:-1]) | (segment[1:] != segment[:-1])
    first, last = jnp.append(True, changes), jnp.append(changes, True)

    marked = jnp.stack([~positive, positive], axis=1).astype(jnp.int32)
    running = jnp.cumsum(marked, axis=0)
    total = jax.ops.segment_sum(marked, segment, segments + 1, indices_are_sorted=True)
    ahead = (jnp.cumsum(total, axis=0) - total)[segment]
    # rows of the row's own segment and of each class, with a lower score and with at most its score
    lower = jax.lax.cummax(jnp.where(first[:, None], running - marked, 0)) - ahead
    at_most = jax.lax.cummin(jnp.where(last[:, None], running, len(score) + 1), reverse=True) - ahead
    negatives, positives = total[segment].T
    (neg_lower, pos_lower), (neg_at_most, pos_at_most) = lower.T, at_most.T
    dtype = jnp.promote_types(score.dtype, jnp.float32)

    def share(part: Array, whole: Array) -> Array:
        return jnp.where(whole > 0, part.astype(dtype) / jnp.maximum(whole, 1).astype(dtype), jnp.nan)

    pos_here, neg_here = positives - pos_lower, negatives - neg_lower  # with at least this score
    return Ranks(
        order,
        segment,
        positive,
        below=share(neg_lower + neg_at_most, 2 * negatives),
        above=share(2 * positives - pos_lower - pos_at_most, 2 * positives),
        precision=share(pos_here, pos_here + neg_here),
        middle=share(neg_lower + neg_at_most + pos_lower + pos_at_most, 2 * (negatives + positives)),
        positives=total[:segments, 1],
        negatives=total[:segments, 0],
        broken=broken[:segments],
    )
