"""Differences between two arms that are paired by hospital, with intervals; the hospital is the unit.

    d_k   = value of hospital k in one arm minus that in the other, positive if the arm is better
    t     : mean(d) +- t_{K-1} sd(d) / sqrt(K)
    share : of the hospitals with d_k > 0, with the interval of Wilson (1927)
    ratio : mean(a) / mean(b) of paired numbers, with the interval of Fieller (1954)

Hospitals without one of the two values are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate with the ends of its interval; NaN where there are too few hospitals for one."""

    value: float
    low: float
    high: float


def mean_interval(differences: np.ndarray, level: float = LEVEL) -> tuple[Interval, float]:
    """The mean of ``differences [K]`` with its t interval, and the p value of a mean of 0."""
    from scipy import stats  # type: ignore[import-untyped]

    d = differences[np.isfinite(differences)]
    if not len(d):
        return Interval(np.nan, np.nan, np.nan), float("nan")
    mean = float(d.mean())
    if len(d) < 2:
        return Interval(mean, np.nan, np.nan), float("nan")
    error = float(d.std(ddof=1)) / np.sqrt(len(d))
    reach = float(stats.t.ppf(0.5 + level / 2, len(d) - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, len(d) - 1)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - reach, mean + reach), p


def bootstrap_interval(
    differences: np.ndarray, level: float = LEVEL, draws: int = 2000, seed: int = 0
) -> Interval:
    """The mean of ``differences [S, K]`` with the percentile interval of a bootstrap of hospitals and seeds.

    Hospitals and seeds are crossed factors (every hospital has every seed), so each is drawn with
    replacement on its own (Owen 2007, "The pigeonhole bootstrap", doi 10.1214/07-AOAS122). With few
    hospitals it is too narrow, and the t interval is the better one.
    """
    known = np.isfinite(differences)
    if known.any(0).sum() < 2:
        value = float(differences[known].mean()) if known.any() else float("nan")
        return Interval(value, np.nan, np.nan)
    known, values = known[:, known.any(0)], differences[:, known.any(0)]
    seeds, hospitals = values.shape
    rng = np.random.default_rng(seed)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
    of_hospitals = rng.multinomial(hospitals, np.full(hospitals, 1 / hospitals), draws)
    total, count = (
        np.einsum("bs,sk,bk->b", of_seeds, part, of_hospitals, optimize=True)
        for part in (np.where(known, values, 0), known.astype(float))
    )
    means = total[count > 0] / count[count > 0]
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values[known].mean()), float(low), float(high))


def share_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    """The share of ``differences [K]`` above 0, with the interval of Wilson 1927, doi 10.2307/2276774."""
    from scipy import stats

    d = differences[np.isfinite(differences)]
    if not len(d):
        return Interval(np.nan, np.nan, np.nan)
    gaining = int((d > 0).sum())
    low, high = stats.binomtest(gaining, len(d)).proportion_ci(level, method="wilson")
    return Interval(gaining / len(d), float(low), float(high))


def ratio_interval(a: np.ndarray, b: np.ndarray, level: float = LEVEL) -> Interval:
    """``mean(a) / mean(b)`` of paired numbers ``[K]`` with Fieller's interval (1954, JRSS B 16:175-185).

    It has no ends (infinite ones) if the mean of ``b`` cannot be told from 0 at this level: then no ratio is
    excluded, or only a stretch in the middle.
    """
    from scipy import stats

    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if not len(a):
        return Interval(np.nan, np.nan, np.nan)
    value = float(a.mean() / b.mean()) if b.mean() != 0 else float("nan")
    if len(a) < 2:
        return Interval(value, np.nan, np.nan)
    t2 = float(stats.t.ppf(0.5 + level / 2, len(a) - 1)) ** 2
    (saa, sab), (_, sbb) = t2 * np.cov(a, b) / len(a)
    # the ratios r for which mean(a - r b) is within t standard errors of 0: A r^2 - 2 B r + C <= 0
    A, B, C = b.mean() ** 2 - sbb, a.mean() * b.mean() - sab, a.mean() ** 2 - saa
    if A <= 0:
        return Interval(value, -np.inf, np.inf)
    reach = np.sqrt(max(B**2 - A * C, 0.0))
    return Interval(value, float((B - reach) / A), float((B + reach) / A))


def holm(p: np.ndarray) -> np.ndarray:
    """p values ``[M]`` adjusted for M comparisons (Holm 1979, Scand. J. Statist. 6:65-70); NaN stays NaN."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted
