"""All metrics of two classes with their intervals, for many hospitals at once.

    AP                 sum over thresholds of (recall gained) * precision; its baseline is the prevalence
    scaled Brier       1 - Brier / (prevalence (1 - prevalence)), 0 for a model that says the prevalence

The interval of the average precision is that of Boyd, Eng and Page 2013, doi:10.1007/978-3-642-40994-3_29, on
the logit scale with ``1 / (events AP (1 - AP))`` as variance; at AP = 1 it is Wilson's with as many trials as
events. Brier, its scaled form (by the delta method) and log loss have Student's interval.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.core.tasks.binary import BINARY, losses
from jaxfed.evaluation import calibration, thresholds
from jaxfed.evaluation.auroc import auroc_of_ranks
from jaxfed.evaluation.intervals import (
    Estimate,
    around,
    logit,
    moments,
    normal_quantile,
    standard_error,
    wilson,
)
from jaxfed.evaluation.ranks import Ranks, rank_rows


def average_precision(score: Array, y: Array, segment: Array, segments: int, level: float = 0.95) -> Estimate:
    """Average precision of each segment with its interval; NaN with one class or a score that is NaN.

    The arguments are those of :func:`jaxfed.evaluation.auroc`.
    """
    return precision_of_ranks(rank_rows(score, y, segment, segments), level)


def precision_of_ranks(ranks: Ranks, level: float) -> Estimate:
    """:func:`average_precision` of sorted rows; pooled as a logit with half an event added to each side."""
    segments = len(ranks.positives)
    of_positives = jnp.where(ranks.positive, ranks.segment, segments)
    value = segment_means(ranks.precision[:, None], of_positives, segments)[:, 0]
    undefined = ranks.broken | (ranks.positives == 0) | (ranks.negatives == 0)
    value = jnp.where(undefined, jnp.nan, value)
    events = ranks.positives.astype(value.dtype)
    inner = jnp.where(value < 1, value, 0.5)
    half = normal_quantile(level) / jnp.sqrt(events * inner * (1 - inner))
    low, high = wilson(value * events, events, level)
    low = jnp.where(value < 1, jax.nn.sigmoid(logit(inner) - half), low)
    high = jnp.where(value < 1, jax.nn.sigmoid(logit(inner) + half), high)
    inside = (events * value + 0.5) / (events + 1)
    return Estimate(value, low, high, logit(inside), 1 / jnp.sqrt(events * inside * (1 - inside)))


@partial(jax.jit, static_argnames=("segments", "level"))
def binary_estimates(
    outputs: Array,
    y: Array,
    segment: Array,
    segments: int,
    threshold: Array | float = 0.5,
    level: float = 0.95,
) -> tuple[dict[str, Estimate], dict[str, Array]]:
    """Every metric of each segment, and marks of what is to be noted.

    Args:
        outputs: ``[N]`` or ``[N, 1]`` logits.
        y: ``[N]``, 1 positive, 0 negative.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
        threshold: a probability; a row at the threshold is called positive. It may be traced.
        level: of the intervals; static.

    Returns:
        ``{name: Estimate}`` and ``{"separated": [segments], "broken": [segments]}``: whether a threshold
        separates the classes, so that no slope exists, and whether an output is NaN (then no metric is
        defined).
    """
    outputs = outputs.reshape(len(outputs)).astype(jnp.promote_types(outputs.dtype, jnp.float32))
    probability = jax.nn.sigmoid(outputs)
    target = (y > 0).astype(probability.dtype)
    ranks = rank_rows(outputs, y, segment, segments)
    error = jnp.square(probability - target)
    benefits = thresholds.benefit(probability, y, threshold)
    # the variance of (error + target) gives the covariance, without a reduction of its own
    columns = (error, losses(outputs, y, None), benefits, target, probability, outputs, error + target)
    means, variances, rows = moments(jnp.stack(columns, axis=1), segment, segments)
    brier, _, _, prevalence, risk, middle, _ = means.T

    def mean(column: int, least: float = -jnp.inf, most: float = jnp.inf) -> Estimate:
        se = standard_error(variances[:, column], rows)
        return around(means[:, column], se, rows - 1, level, least, most)

    covariance = (variances[:, 6] - variances[:, 0] - variances[:, 3]) / 2
    scaled = _scaled_brier(brier, prevalence, variances[:, 0], covariance, rows, level)
    intercept, slope, separated = calibration.recalibration(
        outputs, y, segment, segments, middle, jnp.sqrt(variances[:, 5]), level
    )
    ece = calibration.calibration_error(ranks, probability)
    none = jnp.full_like(ece, jnp.nan)
    estimates = {
        "auroc": auroc_of_ranks(ranks, level),
        "auprc": precision_of_ranks(ranks, level),
        "brier": mean(0, 0, 1),
        "brier_scaled": scaled,
        BINARY.loss: mean(1, 0),
        "calibration_intercept": intercept,
        "calibration_slope": slope,
        "oe": calibration.observed_to_expected(prevalence, risk, rows, level),
        "ece": Estimate(ece, none, none, ece, none),
        **thresholds.decisions(thresholds.counts_at(probability, y, segment, segments, threshold), level),
        "net_benefit": thresholds.net_benefit(means[:, 2], variances[:, 2], rows, threshold, level),
    }
    estimates = jax.tree.map(lambda x: jnp.where(ranks.broken, jnp.nan, x), estimates)
    return estimates, {"separated": separated & ~ranks.broken, "broken": ranks.broken}


def _scaled_brier(
    brier: Array, prevalence: Array, variance: Array, covariance: Array, rows: Array, level: float
) -> Estimate:
    """From moments of the squared errors and of the labels; NaN with one class."""
    reference = prevalence * (1 - prevalence)
    reference = jnp.where(reference > 0, reference, jnp.nan)
    ratio = brier / reference
    slope = ratio * (1 - 2 * prevalence)  # each row adds error - slope * label to the error of the ratio
    spread = variance - 2 * slope * covariance + jnp.square(slope) * prevalence * (1 - prevalence)
    se = standard_error(jnp.maximum(spread, 0), rows) / reference
    return around(1 - ratio, se, rows - 1, level, most=1)
