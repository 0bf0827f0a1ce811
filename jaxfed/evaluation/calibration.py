"""Calibration of predicted risks: in the large, slope, and the expected error over bins.

    intercept   a of  logit P(y = 1) = a + logit(p), the slope fixed at 1: calibration in the large, ideally 0
    slope       b of  logit P(y = 1) = a + b logit(p), ideally 1; below 1 predictions are too extreme
    O:E         events / sum of p, ideally 1
    ECE         sum over 10 bins of equal mass of  n_bin / n  |share of events - mean of p|

Cox 1958, doi:10.1093/biomet/45.3-4.562; Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7. The interval
of O:E is that of the share of events (Wilson) over the mean risk; Debray et al. 2017, doi:10.1136/bmj.i6460,
pool its logarithm with the variance (1 - O / n) / O. ECE grows where there are few rows, whatever the model
is, and a bootstrap makes it grow more: it has no interval.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import named_means, segment_means
from jaxfed.evaluation.intervals import Estimate, normal_quantile, row_counts, wilson
from jaxfed.evaluation.logistic import fit_logistic
from jaxfed.evaluation.ranks import Ranks

BINS = 10


def recalibration(
    logit: Array, y: Array, segment: Array, segments: int, level: float
) -> tuple[Estimate, Estimate, Array]:
    """Intercept and slope, and where classes are separated.

    Returns:
        The intercept: NaN without events or without non-events. The slope: NaN there, where all predictions
        are equal, and where a threshold separates the classes (up to equal predictions), which ``[segments]``
        bool marks: then the likelihood has no maximum.
    """
    positive = y > 0
    place = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    inside = jnp.clip(segment, 0, segments - 1)

    def extreme(biggest: bool, of: Array) -> Array:
        over = jax.ops.segment_max if biggest else jax.ops.segment_min
        return over(logit, jnp.where(of, place, segments), segments + 1)[:segments]

    both = _any(positive, place, segments) & _any(~positive, place, segments)
    apart = (extreme(True, ~positive) <= extreme(False, positive)) | (
        extreme(True, positive) <= extreme(False, ~positive)
    )
    finite = ~_any(~jnp.isfinite(logit), place, segments)
    target = positive.astype(logit.dtype)
    ones = jnp.ones_like(logit)[:, None]
    b, covariance, ended = fit_logistic(ones, target, logit, segment, segments)
    fine = both & finite & ended
    z = normal_quantile(level)

    def estimate(value: Array, variance: Array, fine: Array) -> Estimate:
        value, se = (jnp.where(fine, x, jnp.nan) for x in (value, jnp.sqrt(variance)))
        return Estimate(value, value - z * se, value + z * se, value, se)

    intercept = estimate(b[:, 0], covariance[:, 0, 0], fine)
    mean = segment_means(logit[:, None], segment, segments)
    spread = jnp.sqrt(segment_means(jnp.square(logit[:, None] - mean[inside]), segment, segments))
    spread = jnp.where(spread > 0, spread, 1)
    scaled = (logit[:, None] - mean[inside]) / spread[inside]
    design = jnp.concatenate([ones, jnp.where(jnp.isfinite(scaled), scaled, 0)], axis=1)
    b, covariance, ended = fit_logistic(design, target, jnp.zeros_like(logit), segment, segments)
    spread = spread[:, 0]
    fine = both & finite & ended & ~apart
    slope = estimate(b[:, 1] / spread, covariance[:, 1, 1] / jnp.square(spread), fine)
    return intercept, slope, both & finite & apart


def observed_to_expected(
    probability: Array, y: Array, segment: Array, segments: int, level: float
) -> Estimate:
    """Events over expected events; its logarithm is pooled, where there are events."""
    rows = row_counts(segment, segments)
    target = (y > 0).astype(probability.dtype)
    means = named_means(segment, segments, expected=probability, observed=target)
    observed, expected = means["observed"], jnp.where(means["expected"] > 0, means["expected"], jnp.nan)
    events = jnp.round(observed * rows)
    low, high = wilson(events, rows, level)
    ratio = jnp.where(events > 0, observed / expected, jnp.nan)
    se = jnp.sqrt((1 - observed) / jnp.maximum(events, 1))
    return Estimate(
        observed / expected,
        low / expected,
        high / expected,
        jnp.log(ratio),
        jnp.where(events > 0, se, jnp.nan),
    )


def calibration_error(ranks: Ranks, probability: Array, bins: int = BINS) -> Array:
    """ECE of each segment over bins of equal mass, ``[segments]``; equal predictions are in the same bin.

    Args:
        ranks: of the predictions.
        probability: ``[N]`` in the order of the rows that were ranked.
        bins: static.
    """
    segments = len(ranks.positives)
    cell, inside = bins_of(ranks, bins), jnp.clip(ranks.segment, 0, segments - 1)
    gap = ranks.positive.astype(probability.dtype) - probability[ranks.order]
    rows = jnp.maximum(ranks.positives + ranks.negatives, 1)
    # shares of the hospital's rows, so that nothing large is added up
    gap = jnp.where(ranks.segment < segments, gap / rows[inside].astype(gap.dtype), 0)
    total = jax.ops.segment_sum(gap, cell, segments * bins + 1)[:-1].reshape(segments, bins)
    empty = ranks.positives + ranks.negatives == 0
    return jnp.where(empty | ranks.broken, jnp.nan, jnp.abs(total).sum(1))


def bins_of(ranks: Ranks, bins: int) -> Array:
    """The number ``segment * bins + bin`` of each sorted row, ``segments * bins`` for those left out."""
    segments = len(ranks.positives)
    bin_of_row = jnp.clip(jnp.nan_to_num(ranks.middle) * bins, 0, bins - 1).astype(jnp.int32)
    return jnp.where(ranks.segment < segments, ranks.segment * bins + bin_of_row, segments * bins)


def _any(marked: Array, place: Array, segments: int) -> Array:
    return jax.ops.segment_sum(marked.astype(jnp.int32), place, segments + 1)[:segments] > 0
