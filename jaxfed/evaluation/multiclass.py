"""All metrics of several classes with their intervals, for many hospitals at once.

    balanced accuracy   mean over the classes that a hospital has of the share of their rows that are right
    AUROC               mean over these classes of one class against the rest (macro, Hand and Till 2001's is
                        over pairs)
    Brier               sum over classes of squared errors, from 0 to 2

The interval of the accuracy is Wilson's; that of the balanced accuracy adds up Wilson's of the classes
(MOVER); that of the AUROC is DeLong's, whose placements are added up over the classes in each row, on the
logit scale.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.core.tasks.multiclass import MULTICLASS, losses
from jaxfed.evaluation.auroc import ENOUGH, newcombe_variance
from jaxfed.evaluation.intervals import (
    Estimate,
    logit,
    mean_of,
    normal_quantile,
    proportion,
    row_counts,
    wilson,
)
from jaxfed.evaluation.ranks import rank_rows


@partial(jax.jit, static_argnames=("segments", "level"))
def multiclass_estimates(
    outputs: Array, y: Array, segment: Array, segments: int, threshold: float = 0.5, level: float = 0.95
) -> tuple[dict[str, Estimate], dict[str, Array]]:
    """Every metric of each segment; see :func:`jaxfed.evaluation.binary.binary_estimates`.

    Args:
        outputs: ``[N, K]`` logits.
        y: ``[N]`` numbers of classes.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
        threshold: not used.
        level: of the intervals; static.
    """
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    broken_row = jnp.isnan(outputs).any(1)
    place = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    broken = jax.ops.segment_sum(broken_row.astype(jnp.int32), place, segments + 1)[:segments] > 0
    wanted = jax.nn.one_hot(y, outputs.shape[1], dtype=outputs.dtype)
    right = outputs.argmax(1) == y
    rows = row_counts(segment, segments)
    brier = jnp.square(jax.nn.softmax(outputs) - wanted).sum(1)

    def count(marked: Array) -> Array:
        return jax.ops.segment_sum(marked.astype(outputs.dtype), place, segments + 1)[:segments]

    estimates = {
        "accuracy": proportion(count(right), rows.astype(outputs.dtype), level),
        "balanced_accuracy": _balanced(count(wanted * right[:, None]), count(wanted), level),
        "auroc": _one_against_rest(outputs, y, segment, segments, level),
        MULTICLASS.loss: mean_of(losses(outputs, y, None), segment, segments, level, 0),
        "brier": mean_of(brier, segment, segments, level, 0, 2),
    }
    estimates = jax.tree.map(lambda x: jnp.where(broken, jnp.nan, x), estimates)
    return estimates, {"broken": broken}


def _balanced(right: Array, rows: Array, level: float) -> Estimate:
    """From rows that are right and rows of each class, ``[segments, K]``."""
    there = rows > 0
    classes = jnp.where(there.any(1), there.sum(1), jnp.nan)
    share = jnp.where(there, right / jnp.maximum(rows, 1), 0)
    low, high = wilson(right, rows, level)
    value = share.sum(1) / classes
    down, up = (
        jnp.sqrt(jnp.where(there, jnp.square(end - share), 0).sum(1)) / classes for end in (low, high)
    )
    se = (down + up) / (2 * normal_quantile(level))
    return Estimate(value, jnp.maximum(value - down, 0), jnp.minimum(value + up, 1), value, se)


def _one_against_rest(outputs: Array, y: Array, segment: Array, segments: int, level: float) -> Estimate:
    """The mean over the classes of the AUROC of one against the rest."""

    def influence(k: Array) -> tuple[Array, ...]:
        """The AUROC of a class; pulled inside, with its variance there; rows of the rarer side; what each
        row adds to the error.
        """
        ranks = rank_rows(outputs[:, k], y == k, segment, segments)
        positive = ranks.in_rows(ranks.positive)
        below, above = ranks.in_rows(ranks.below), ranks.in_rows(ranks.above)
        mine = jnp.where(positive, segment, segments)
        area = segment_means(below[:, None], mine, segments)[:, 0]
        both = (ranks.positives > 0) & (ranks.negatives > 0)
        area = jnp.where(both, area, jnp.nan)
        place = jnp.clip(segment, 0, segments - 1)
        m, n = ranks.positives, ranks.negatives  # sample variances, as DeLong's
        weight = jnp.where(positive, (m * jnp.maximum(m - 1, 1))[place], (n * jnp.maximum(n - 1, 1))[place])
        part = jnp.where(positive, below, above) - area[place]
        pairs = m.astype(area.dtype) * n
        inside = (pairs * area + 0.5) / (pairs + 1)
        spread = newcombe_variance(inside, m, n)
        return (
            area,
            inside,
            spread,
            jnp.minimum(m, n),
            part / jnp.sqrt(jnp.maximum(weight, 1).astype(part.dtype)),
        )

    areas, inside, spreads, fewest, parts = jax.lax.map(
        influence, jnp.arange(outputs.shape[1])
    )  # [K, segments], parts [K, N]
    there = ~jnp.isnan(areas)
    classes = jnp.where(there.any(0), there.sum(0), jnp.nan)
    area = jnp.where(there, areas, 0).sum(0) / classes
    place = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    total = jax.ops.segment_sum(jnp.square(jnp.nan_to_num(parts).sum(0)), place, segments + 1)[:segments]
    # As with two classes: half a pair is added to each side; with few rows, or where all pairs are ordered
    # alike, the error is that of the numbers of rows, of classes that err independently.
    edge = (area <= 0) | (area >= 1)
    few = edge | (jnp.where(there, fewest, ENOUGH).min(0) < ENOUGH)
    inside = jnp.where(there, inside, 0).sum(0) / classes
    by_counts = jnp.where(there, spreads, 0).sum(0)
    se = jnp.sqrt(jnp.where(few, by_counts, total)) / classes
    on_logit = se / (inside * (1 - inside))
    middle = jnp.where(edge, inside, area)
    half = normal_quantile(level) * se / (middle * (1 - middle))
    low = jnp.where(area <= 0, 0, jax.nn.sigmoid(logit(middle) - half))
    high = jnp.where(area >= 1, 1, jax.nn.sigmoid(logit(middle) + half))
    return Estimate(area, low, high, logit(inside), on_logit)
