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

from jaxfed.evaluation.intervals import Estimate, normal_quantile, row_counts, wilson
from jaxfed.evaluation.logistic import fit_logistic
from jaxfed.evaluation.ranks import Ranks

BINS = 10


def recalibration(
    logit: Array, y: Array, segment: Array, segments: int, mean: Array, spread: Array, level: float
) -> tuple[Estimate, Estimate, Array]:
    """Intercept and slope, and where classes are separated.

    Args:
        logit, y: ``[N]`` predictions and labels.
        segment: ``[N]``; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
        mean, spread: ``[segments]`` mean and standard deviation of ``logit``.
        level: of the intervals; static.

    Returns:
        The intercept: NaN without events or without non-events. The slope: NaN there, where all predictions
        are equal, and where a threshold separates the classes (up to equal predictions), which ``[segments]``
        bool marks: then the likelihood has no maximum.
    """
    positive = y > 0
    inside = jnp.clip(segment, 0, segments - 1)
    within = (segment >= 0) & (segment < segments)
    place = jnp.where(within, 2 * segment + positive, 2 * segments)
    low, high = (
        over(logit, place, 2 * segments + 1)[:-1].reshape(segments, 2)
        for over in (jax.ops.segment_min, jax.ops.segment_max)
    )
    both = (row_counts(place, 2 * segments).reshape(segments, 2) > 0).all(1) & jnp.isfinite(mean)
    apart = (high[:, 0] <= low[:, 1]) | (high[:, 1] <= low[:, 0])
    spread = jnp.where(spread > 0, spread, 1)
    scaled = (logit - mean[inside]) / spread[inside]
    scaled = jnp.where(jnp.isfinite(scaled), scaled, 0)
    ones, zeros = jnp.ones_like(scaled), jnp.zeros_like(scaled)
    # both models in one program: a constant beside the logit, and a constant and a slope
    designs = jnp.stack([jnp.stack([ones, zeros], axis=1), jnp.stack([ones, scaled], axis=1)])
    offsets = jnp.stack([jnp.where(jnp.isfinite(logit), logit, 0), zeros])
    target = positive.astype(scaled.dtype)
    fit = jax.vmap(fit_logistic, in_axes=(0, None, 0, None, None))
    b, covariance, ended = fit(designs, target, offsets, segment, segments)
    z = normal_quantile(level)

    def estimate(value: Array, variance: Array, fine: Array) -> Estimate:
        value, se = (jnp.where(fine, x, jnp.nan) for x in (value, jnp.sqrt(variance)))
        return Estimate(value, value - z * se, value + z * se, value, se)

    intercept = estimate(b[0, :, 0], covariance[0, :, 0, 0], both & ended[0])
    slope = b[1, :, 1] / spread
    variance = covariance[1, :, 1, 1] / jnp.square(spread)
    return intercept, estimate(slope, variance, both & ended[1] & ~apart), both & apart


def observed_to_expected(observed: Array, expected: Array, rows: Array, level: float) -> Estimate:
    """Events over expected events; its logarithm is pooled, where there are events.

    Args:
        observed, expected: ``[segments]`` share of events and mean risk.
        rows: ``[segments]``.
        level: of the interval; static.
    """
    expected = jnp.where(expected > 0, expected, jnp.nan)
    events = jnp.round(observed * rows)
    low, high = wilson(events, rows, level)
    some = jnp.where(events > 0, 0, jnp.nan)
    se = jnp.sqrt((1 - observed) / jnp.maximum(events, 1)) + some
    centre = jnp.log(jnp.where(events > 0, observed, 1) / expected) + some
    return Estimate(observed / expected, low / expected, high / expected, centre, se)


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
