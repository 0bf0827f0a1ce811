"""Confidence intervals of proportions and of means, for many hospitals at once.

    proportion    score interval, Wilson 1927, doi:10.1080/01621459.1927.10502953
    mean          m +- t_{n-1} s / sqrt(n)
    difference    of independent estimates from their own intervals, "MOVER": Zou and Donner 2008,
                  doi:10.1002/sim.3095; for two proportions it is Newcombe's hybrid score interval (1998)

An estimate also has a centre and a standard error on the scale on which hospitals are pooled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.metrics.segments import segment_means

DEGREES = 400  # beyond these, Student's quantile is that of its expansion (Abramowitz and Stegun 26.7.5)


class Estimate(NamedTuple):
    """A metric of each segment; arrays ``[segments]``, NaN where it is undefined.

    Attributes:
        value: the metric.
        low, high: its interval; NaN if it has none.
        centre, se: estimate and standard error on the scale of pooling, such as the logit.
    """

    value: Any
    low: Any
    high: Any
    centre: Any
    se: Any


def normal_quantile(level: float) -> float:
    """The normal quantile of a two-sided interval: 1.96 for .95. ``level`` is a number, not traced."""
    from scipy.stats import norm  # type: ignore[import-untyped]

    return float(norm.ppf((1 + level) / 2))


def student_quantile(level: float, degrees: Array) -> Array:
    """Student's quantile of a two-sided interval, for an array of degrees of freedom; NaN below 1.

    ``level`` is a number, not traced.
    """
    from scipy.stats import t

    degrees = jnp.asarray(degrees)
    z = normal_quantile(level)
    quantiles = np.append(np.nan, t.ppf((1 + level) / 2, np.arange(1, DEGREES + 1)))
    table = jnp.asarray(quantiles, jnp.promote_types(degrees.dtype, jnp.float32))
    large = jnp.maximum(degrees, 1) * 1.0
    far = z + (z**3 + z) / (4 * large) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * large**2)
    near = table[jnp.clip(degrees.astype(jnp.int32), 0, DEGREES)]
    return jnp.where(degrees > DEGREES, far, near)


def logit(p: Array) -> Array:
    """The log of the odds."""
    return jnp.log(p) - jnp.log1p(-p)


def wilson(successes: Array, trials: Array, level: float) -> tuple[Array, Array]:
    """Wilson's score interval of a proportion; NaN without trials."""
    z = normal_quantile(level)
    trials = jnp.where(trials > 0, trials, jnp.nan)
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * jnp.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / (1 + z**2 / trials)
    # exact at the ends, where the difference would leave a rounding error
    low = jnp.where(successes <= 0, 0, middle - half)
    high = jnp.where(successes >= trials, 1, middle + half)
    return jnp.where(jnp.isnan(share), jnp.nan, low), jnp.where(jnp.isnan(share), jnp.nan, high)


def proportion(successes: Array, trials: Array, level: float) -> Estimate:
    """A proportion with Wilson's interval; pooled as a logit with half a row added to each side."""
    trials = jnp.where(trials > 0, trials, jnp.nan)
    yes, no = successes + 0.5, trials - successes + 0.5
    low, high = wilson(successes, trials, level)
    return Estimate(successes / trials, low, high, jnp.log(yes / no), jnp.sqrt(1 / yes + 1 / no))


def around(
    value: Array, se: Array, degrees: Array, level: float, least: float = -np.inf, most: float = np.inf
) -> Estimate:
    """An estimate with Student's interval, cut to ``[least, most]``; pooled as it is."""
    half = student_quantile(level, degrees) * se
    return Estimate(value, jnp.maximum(value - half, least), jnp.minimum(value + half, most), value, se)


def mean_of(
    values: Array,
    segment: Array,
    segments: int,
    level: float,
    least: float = -np.inf,
    most: float = np.inf,
) -> Estimate:
    """The mean of ``values [N]`` in each segment, with Student's interval."""
    value, variance, rows = moments(values[:, None], segment, segments)
    return around(value[:, 0], standard_error(variance[:, 0], rows), rows - 1, level, least, most)


def moments(values: Array, segment: Array, segments: int) -> tuple[Array, Array, Array]:
    """Means and variances of ``values [N, M]`` in each segment, ``[segments, M]``, and numbers of rows.

    The variance divides by the number of rows.
    """
    value = segment_means(values, segment, segments)
    deviation = values - value[jnp.clip(segment, 0, segments - 1)]
    variance = segment_means(jnp.square(deviation), segment, segments)
    return value, variance, row_counts(segment, segments)


def standard_error(variance: Array, rows: Array) -> Array:
    """Of a mean, from :func:`moments`; NaN with one row."""
    return jnp.sqrt(variance / jnp.where(rows > 1, rows - 1, jnp.nan))


def row_counts(segment: Array, segments: int) -> Array:
    """Rows of each segment, ``[segments]`` int32; others are left out."""
    place = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    return jax.ops.segment_sum(jnp.ones(len(segment), jnp.int32), place, segments + 1)[:segments]


def difference(a: Estimate, b: Estimate) -> tuple[Any, Any, Any]:
    """``a - b`` of independent estimates with its interval, from the intervals of both (MOVER)."""
    value = a.value - b.value
    low = value - jnp.sqrt(jnp.square(a.value - a.low) + jnp.square(b.high - b.value))
    high = value + jnp.sqrt(jnp.square(a.high - a.value) + jnp.square(b.value - b.low))
    return value, low, high
