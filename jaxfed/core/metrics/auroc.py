"""The area under the ROC curve of many hospitals at once.

AUROC = P(score of a positive > score of a negative) + P(equal) / 2, the Mann-Whitney statistic (Hanley
and McNeil 1982, doi 10.1148/radiology.143.1.7063747). One sort by (hospital, score) gives every
hospital's; ties count one half; a hospital with one class has none, and gets NaN.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means


def auroc_by_segment(score: Array, y: Array, segment: Array, segments: int) -> Array:
    """AUROC of each segment, ``[segments]``.

    Args:
        score: ``[N]``, larger means more likely positive.
        y: ``[N]``, 1 positive, 0 negative.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
    """
    segment = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    broken = jax.ops.segment_sum(jnp.isnan(score).astype(jnp.int32), segment, segments + 1)
    score, segment, positive = _in_order(score, segment, y > 0)
    negatives = jnp.cumsum(~positive)  # exact: integers
    new_tie = jnp.concatenate([jnp.ones(1, bool), (score[1:] != score[:-1]) | (segment[1:] != segment[:-1])])
    before = jnp.where(new_tie, negatives - (~positive).astype(negatives.dtype), 0)
    before = jax.lax.cummax(before)  # negatives ahead of the tie group, whole store
    last = jnp.concatenate([new_tie[1:], jnp.ones(1, bool)])
    until = jnp.where(last, negatives, len(score) + 1)
    until = jax.lax.cummin(until, reverse=True)  # negatives up to its end

    def total(values: Array) -> Array:
        return jax.ops.segment_sum(values, segment, segments + 1, indices_are_sorted=True)

    n_neg = total((~positive).astype(jnp.int32))
    ahead = jnp.cumsum(n_neg) - n_neg  # negatives of the segments before
    # averages of numbers in [0, 1], not differences of rank sums: those lose digits in float32
    below = (before + until - 2 * ahead[segment]) / (2 * jnp.maximum(n_neg, 1)[segment])
    of_positives = jnp.where(positive, segment, segments)
    area = segment_means(below[:, None], of_positives, segments)[:, 0]
    undefined = (n_neg == 0) | (broken > 0)  # without positives, area is NaN
    return jnp.where(undefined[:segments], jnp.nan, area)


def _in_order(score: Array, segment: Array, positive: Array) -> tuple[Array, Array, Array]:
    """Scores, segments and labels in the order of segment and score; scores that are equal stay so.

    Scores of at most 32 bits are returned as integers. XLA sorts single integers several times as fast as
    rows of several arrays, so segment, score and label are packed into an integer of 64 bits.
    """
    if score.dtype.itemsize > 4:
        order = jnp.lexsort((score, segment))
        return score[order], segment[order], positive[order]
    score = jnp.where(score == 0, 0, score).astype(jnp.float32)  # 0 and -0 are equal
    bits = jax.lax.bitcast_convert_type(score, jnp.uint32)
    # the order of floats as the order of unsigned integers: negative ones have all bits turned
    bits = jnp.where(bits >> 31 == 1, ~bits, bits | jnp.uint32(1 << 31))
    with jax.enable_x64(True):
        low = bits.astype(jnp.uint64) * 2 + positive.astype(jnp.uint64)
        packed = jnp.sort(segment.astype(jnp.uint64) * (1 << 33) + low)
        rank = ((packed >> 1) & 0xFFFFFFFF).astype(jnp.uint32)
        return rank, (packed >> 33).astype(jnp.int32), (packed & 1).astype(bool)
