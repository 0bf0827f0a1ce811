"""Calibration curves of hospitals: bins of equal mass, and a flexible curve.

The flexible curve is a logistic regression of the label on a restricted cubic spline of the predicted logit
with four knots, at the 5th, 35th, 65th and 95th percentile (Harrell 2015, Regression Modeling Strategies,
2.4.6), as Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7, ask for; its band is Wald's, on the logit
scale.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.evaluation.calibration import bins_of
from jaxfed.evaluation.intervals import normal_quantile, wilson
from jaxfed.evaluation.logistic import fit_logistic
from jaxfed.evaluation.ranks import Ranks, rank_rows

KNOTS = (0.05, 0.35, 0.65, 0.95)
# Coefficients of cubes are some hundreds in small hospitals.
STEPS, LONGEST = 40, 100.0
ENDS = (0.01, 0.99)  # the curve is drawn between these percentiles of the predictions


@partial(jax.jit, static_argnames=("segments", "bins", "level"))
def calibration_bins(
    logit: Array, y: Array, segment: Array, segments: int, bins: int = 10, level: float = 0.95
) -> dict[str, Array]:
    """Bins of equal mass: ``predicted``, ``observed``, ``low``, ``high`` and ``rows``, ``[segments, bins]``.

    Equal predictions are in the same bin, so that a bin may be empty (NaN); intervals are Wilson's.
    """
    ranks = rank_rows(logit, y, segment, segments)
    cell = bins_of(ranks, bins)
    columns = jnp.stack([jax.nn.sigmoid(logit)[ranks.order], ranks.positive.astype(logit.dtype)], axis=1)
    predicted, observed = segment_means(columns, cell, segments * bins).T
    rows = jax.ops.segment_sum(jnp.ones(len(cell), jnp.int32), cell, segments * bins + 1)[:-1]
    low, high = wilson(jnp.round(observed * rows), rows, level)
    named = {"predicted": predicted, "observed": observed, "low": low, "high": high, "rows": rows}
    return {name: values.reshape(segments, bins) for name, values in named.items()}


@partial(jax.jit, static_argnames=("segments", "points", "level"))
def calibration_curve(
    logit: Array, y: Array, segment: Array, segments: int, points: int = 50, level: float = 0.95
) -> dict[str, Array]:
    """A flexible curve: ``predicted``, ``observed``, ``low`` and ``high``, ``[segments, points]``.

    NaN where the spline cannot be fitted: with one class, separated classes or few different predictions.
    """
    ranks = rank_rows(logit, y, segment, segments)
    middle = segment_means(logit[:, None], segment, segments)[:, 0]
    inside = jnp.clip(segment, 0, segments - 1)
    spread = jnp.sqrt(segment_means(jnp.square(logit - middle[inside])[:, None], segment, segments))[:, 0]
    spread = jnp.where(spread > 0, spread, 1)
    knots = (_quantiles(logit, ranks, KNOTS) - middle[:, None]) / spread[:, None]
    design = _spline((logit - middle[inside]) / spread[inside], knots[inside])
    usable = jnp.isfinite(design).all(1)
    target = (y > 0).astype(design.dtype)
    b, covariance, ended = fit_logistic(
        jnp.where(usable[:, None], design, 0), target, jnp.zeros_like(logit), segment, segments,
        steps=STEPS, longest=LONGEST,
    )  # fmt: skip
    first, last = _quantiles(logit, ranks, ENDS).T
    at = first[:, None] + (last - first)[:, None] * jnp.linspace(0, 1, points)
    rows = jax.vmap(_spline)((at - middle[:, None]) / spread[:, None], jnp.repeat(knots[:, None], points, 1))
    eta = jnp.einsum("spk,sk->sp", rows, b)
    half = normal_quantile(level) * jnp.sqrt(jnp.einsum("spk,skl,spl->sp", rows, covariance, rows))
    both = (ranks.positives > 0) & (ranks.negatives > 0) & ended & ~ranks.broken
    curve = {"predicted": at, "observed": eta, "low": eta - half, "high": eta + half}
    return {name: jnp.where(both[:, None], jax.nn.sigmoid(values), jnp.nan) for name, values in curve.items()}


def _spline(x: Array, knots: Array) -> Array:
    """The basis ``[N, 4]`` of a restricted cubic spline, with a constant; ``knots [N, 4]`` of each row."""
    first, last = knots[:, :1], knots[:, -1:]
    before = knots[:, -2:-1]

    def cube(knot: Array) -> Array:
        return jnp.maximum(x[:, None] - knot, 0) ** 3

    inner = knots[:, :-2]
    bent = cube(inner) - cube(before) * (last - inner) / (last - before)
    bent = (bent + cube(last) * (before - inner) / (last - before)) / jnp.square(last - first)
    return jnp.concatenate([jnp.ones_like(x)[:, None], x[:, None], bent], axis=1)


def _quantiles(values: Array, ranks: Ranks, shares: tuple[float, ...]) -> Array:
    """Quantiles of each segment, ``[segments, len(shares)]``: those of the nearest row."""
    rows = ranks.positives + ranks.negatives
    start = jnp.cumsum(rows) - rows
    place = jnp.round(jnp.asarray(shares, values.dtype) * (rows[:, None] - 1)).astype(jnp.int32)
    place = jnp.clip(start[:, None] + place, 0, len(values) - 1)
    return jnp.where(rows[:, None] > 0, values[ranks.order][place], jnp.nan)
