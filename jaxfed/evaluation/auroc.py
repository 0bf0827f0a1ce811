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

from jaxfed.evaluation.intervals import Estimate, around, logit, moments, normal_quantile, standard_error
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
    m, n = ranks.positives, ranks.negatives
    placements = jnp.where(ranks.positive, ranks.below, ranks.above)
    area, delong = class_moments(placements, ranks)
    area = jnp.where(ranks.broken | (m == 0) | (n == 0), jnp.nan, area)
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

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        """Between the area, which is inside, and 0 or 1."""
        inside, outside = ends
        middle = (inside + outside) / 2
        fits = jnp.abs(area - middle) <= z * jnp.sqrt(newcombe_variance(middle, positives, negatives))
        return jnp.where(fits, middle, inside), jnp.where(fits, outside, middle)

    start = jnp.stack([area, area]), jnp.stack([jnp.zeros_like(area), jnp.ones_like(area)])
    (low, high), (_, above) = jax.lax.fori_loop(0, HALVINGS, halve, start)
    return jnp.where(area == 0, 0, low), jnp.where(area == 1, above, high)


def auroc_difference(
    first: Array, second: Array, y: Array, segment: Array, segments: int, level: float = 0.95
) -> Estimate:
    """AUROC of ``first`` minus that of ``second`` on the same rows, with DeLong's paired interval.

    The interval is normal, on the scale of the difference and cut to [-1, 1]. Scores that order all rows
    alike differ by 0 with no width. NaN where either AUROC is undefined, and the interval is NaN with fewer
    than two rows of a class.
    """
    ranked = [rank_rows(score, y, segment, segments) for score in (first, second)]
    a, b = (r.in_rows(jnp.where(r.positive, r.below, r.above)) for r in ranked)
    ranks = ranked[0]
    value, variance = class_moments((a - b)[ranks.order], ranks)
    broken = ranked[0].broken | ranked[1].broken | (ranks.positives == 0) | (ranks.negatives == 0)
    value = jnp.where(broken, jnp.nan, value)
    return around(value, jnp.sqrt(variance), jnp.full(value.shape, jnp.inf), level, -1, 1)


def class_moments(placements: Array, ranks: Ranks) -> tuple[Array, Array]:
    """The mean of placements over positives, and DeLong's variance of it.

    NaN without positives; the variance is NaN with fewer than two rows of a class.
    """
    segments = len(ranks.positives)
    kept = ranks.segment < segments
    mine = jnp.where(kept, 2 * ranks.segment + ranks.positive, 2 * segments)
    mean, variance, rows = moments(placements[:, None], mine, 2 * segments)
    total = jnp.square(standard_error(variance[:, 0], rows)).reshape(segments, 2).sum(1)
    return mean[1::2, 0], total
