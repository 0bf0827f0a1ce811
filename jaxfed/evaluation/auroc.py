"""The area under the ROC curve with its interval, and the difference of two models on the same rows.

With placements ``V10`` of the m positives and ``V01`` of the n negatives (:mod:`jaxfed.evaluation.ranks`),

    Var(A) = S10 / m + S01 / n                                                               (DeLong)

with sample variances: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595. With at least ``ENOUGH``
rows of each class the interval is ``expit(logit(A) +- z sqrt(Var(A)) / (A (1 - A)))``; Pepe 2003 recommends
the logit scale.

With fewer rows of a class, DeLong's variance is too small and often 0. There, and if A is 0 or 1, the
interval is method 5 of Newcombe 2006, doi:10.1002/sim.2324: all areas T with ``|A - T| <= z sqrt(V(T))`` and

    V(T) = T (1 - T) (1 + N (1 - T) / (2 - T) + N T / (1 + T)) / (m n),    N = (m + n) / 2 - 1

(Hanley and McNeil 1982 with sizes that are averaged). It needs no variance of the sample, and A = 1 has a
lower limit below 1. ``benchmarks/coverage.py`` measures what both cover.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.evaluation.intervals import Estimate, around, logit, normal_quantile
from jaxfed.evaluation.ranks import Ranks, rank_rows

ENOUGH = 30
HALVINGS = 30  # of [0, 1]: below the digits of float32


def auroc(score: Array, y: Array, segment: Array, segments: int, level: float = 0.95) -> Estimate:
    """AUROC of each segment with its interval; NaN with one class, or a score that is NaN.

    Args:
        score: ``[N]``, larger means more likely positive.
        y: ``[N]``, 1 positive, 0 negative.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
        level: of the interval; static.
    """
    return auroc_of_ranks(rank_rows(score, y, segment, segments), level)


def auroc_of_ranks(ranks: Ranks, level: float) -> Estimate:
    """:func:`auroc` of rows that are sorted; pooled as a logit with half a pair added to each side."""
    segments = len(ranks.positives)
    m, n = ranks.positives, ranks.negatives
    area, of_positives = _class_moments(ranks.below, ranks, True)
    _, of_negatives = _class_moments(ranks.above, ranks, False)
    area = jnp.where(ranks.broken | (m == 0) | (n == 0), jnp.nan, area)
    delong = of_positives / m + of_negatives / n
    enough = (jnp.minimum(m, n) >= ENOUGH) & (area > 0) & (area < 1)
    inner = jnp.where(enough, area, 0.5)
    se = jnp.sqrt(jnp.where(enough, delong, 1)) / (inner * (1 - inner))
    half = normal_quantile(level) * se
    low, high = score_interval(area, m, n, level)
    low = jnp.where(enough, jax.nn.sigmoid(logit(inner) - half), low)
    high = jnp.where(enough, jax.nn.sigmoid(logit(inner) + half), high)
    pairs = m.astype(area.dtype) * n
    inside = (pairs * area + 0.5) / (pairs + 1)
    spread = jnp.sqrt(jnp.where(enough, delong, newcombe_variance(inside, m, n)))
    assert area.shape == (segments,)
    return Estimate(area, low, high, logit(inside), spread / (inside * (1 - inside)))


def newcombe_variance(area: Array, positives: Array, negatives: Array) -> Array:
    """The variance of an AUROC whose true value is ``area``, from the numbers of rows alone."""
    m, n = positives.astype(area.dtype), negatives.astype(area.dtype)
    N = (m + n) / 2 - 1
    pairs = jnp.maximum(m * n, 1)
    return area * (1 - area) * (1 + N * (1 - area) / (2 - area) + N * area / (1 + area)) / pairs


def score_interval(area: Array, positives: Array, negatives: Array, level: float) -> tuple[Array, Array]:
    """Newcombe's interval, by halving; NaN where ``area`` is."""
    z = normal_quantile(level)

    def end(edge: float) -> Array:
        """The limit between the area, which is inside, and 0 or 1."""

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            inside, outside = ends
            middle = (inside + outside) / 2
            fits = jnp.abs(area - middle) <= z * jnp.sqrt(newcombe_variance(middle, positives, negatives))
            return jnp.where(fits, middle, inside), jnp.where(fits, outside, middle)

        inside, _ = jax.lax.fori_loop(0, HALVINGS, halve, (area, jnp.full_like(area, edge)))
        return inside

    return end(0.0), end(1.0)


def auroc_difference(
    first: Array, second: Array, y: Array, segment: Array, segments: int, level: float = 0.95
) -> Estimate:
    """AUROC of ``first`` minus that of ``second`` on the same rows, with DeLong's paired interval.

    The interval is normal, on the scale of the difference and cut to [-1, 1]. Scores that order all rows
    alike differ by 0 with no width. NaN where either AUROC is undefined, and the interval is NaN with fewer
    than two rows of a class.
    """
    ranked = [rank_rows(score, y, segment, segments) for score in (first, second)]
    below = ranked[0].in_rows(ranked[0].below) - ranked[1].in_rows(ranked[1].below)
    above = ranked[0].in_rows(ranked[0].above) - ranked[1].in_rows(ranked[1].above)
    ranks = ranked[0]
    value, of_positives = _class_moments(below[ranks.order], ranks, True)
    _, of_negatives = _class_moments(above[ranks.order], ranks, False)
    broken = ranked[0].broken | ranked[1].broken | (ranks.positives == 0) | (ranks.negatives == 0)
    value = jnp.where(broken, jnp.nan, value)
    se = jnp.sqrt(of_positives / ranks.positives + of_negatives / ranks.negatives)
    many = jnp.full(value.shape, jnp.inf)
    return around(value, se, many, level, -1, 1)


def _class_moments(values: Array, ranks: Ranks, positive: bool) -> tuple[Array, Array]:
    """Mean and sample variance of values in the rows of a class; NaN with too few rows."""
    segments = len(ranks.positives)
    count = ranks.positives if positive else ranks.negatives
    mine = jnp.where(ranks.positive == positive, ranks.segment, segments)
    mean = segment_means(values[:, None], mine, segments)[:, 0]
    square = jnp.square(values - mean[jnp.clip(mine, 0, segments - 1)])
    variance = segment_means(square[:, None], mine, segments)[:, 0]
    return mean, variance * count / jnp.where(count > 1, count - 1, jnp.nan)
