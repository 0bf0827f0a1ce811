"""Random-effects pooling of hospitals' estimates: mean, tau, I2, and the interval for a new hospital.

    y_h = mu + b_h + e_h,    b_h ~ N(0, tau^2),    e_h ~ N(0, se_h^2),    w_h = 1 / (se_h^2 + tau^2)

tau^2 by restricted maximum likelihood (Viechtbauer 2005, doi:10.3102/10769986030003261), or by moments
(DerSimonian and Laird 1986, doi:10.1016/0197-2456(86)90046-2). The interval of mu is that of Hartung and
Knapp 2001, doi:10.1002/sim.1009, ``t_{k-1}`` with the variance ``sum w_h (y_h - mu)^2 / ((k - 1) sum w_h)``.
The prediction interval is ``mu +- t_{k-2} sqrt(tau^2 + se(mu)^2)``, Higgins, Thompson and Spiegelhalter 2009,
doi:10.1111/j.1467-985X.2008.00552.x; it is too narrow where tau is badly known (few hospitals, or rows).
I2 is ``max(0, 1 - (k - 1) / Q)``, Higgins and Thompson 2002, doi:10.1002/sim.1186.

**AUROC.** The logit of an AUROC of few rows is biased, and its estimated variance goes along with it, so that
the mean over many small hospitals leaves its interval. :func:`pool_auroc` therefore linearises the logit
around each hospital's fitted value instead of its estimate, as penalised quasi-likelihood does (Breslow and
Clayton 1993, doi:10.1080/01621459.1993.10594284):

    eta_h = mu + tau^2 / (tau^2 + v_h) (z_h - mu),    z_h = eta_h + (A_h - expit(eta_h)) / expit'(eta_h)

where ``v_h`` is the variance of ``A_h`` at ``expit(eta_h)`` over ``expit'(eta_h)^2``. With many rows z_h is
logit(A_h). No AUROC of 0 or 1 needs a correction.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.evaluation.auroc import newcombe_variance
from jaxfed.evaluation.intervals import logit, normal_quantile, student_quantile

METHODS = ("reml", "dl")
STEPS = 200  # of the search for tau
FITS = 15  # of the linearised logit


class RandomEffects(NamedTuple):
    """Pooled hospitals; scalars on the scale of the estimates.

    Attributes:
        mean, low, high: mu and its interval; with one hospital the interval is NaN.
        se: the standard error of mu.
        tau: the standard deviation of hospitals' true values.
        i2: the share of the variance of estimates that is between hospitals, from 0 to 1.
        prediction_low, prediction_high: where a new hospital's true value is expected; NaN below 3 hospitals.
        hospitals: how many have an estimate and a standard error.
    """

    mean: Any
    low: Any
    high: Any
    se: Any
    tau: Any
    i2: Any
    prediction_low: Any
    prediction_high: Any
    hospitals: Any


@partial(jax.jit, static_argnames=("method", "level", "hartung_knapp"))
def random_effects(
    estimate: Array, se: Array, *, method: str = "reml", level: float = 0.95, hartung_knapp: bool = True
) -> RandomEffects:
    """Pool estimates ``[C]`` with standard errors ``[C]``; hospitals that lack either are left out.

    Args:
        estimate, se: on a scale on which estimates are about normal.
        method: ``"reml"`` or ``"dl"``; static.
        level: of the intervals; static.
        hartung_knapp: False for the interval ``mu +- z / sqrt(sum w_h)``; static.
    """
    fine = jnp.isfinite(estimate) & jnp.isfinite(se) & (se > 0)
    k = fine.sum()
    y, v = jnp.where(fine, estimate, 0), jnp.where(fine, se, 1) ** 2

    def at(t: Array) -> tuple[Array, Array, Array]:
        """Weights, their mean, and squared residuals."""
        w = fine / (v + t)
        mean = (w * y).sum() / w.sum()
        return w, mean, jnp.where(fine, jnp.square(y - mean), 0)

    w, _, residual = at(jnp.zeros((), v.dtype))
    total, Q = w.sum(), (w * residual).sum()
    t = jnp.maximum((Q - (k - 1)) / (total - (w**2).sum() / total), 0)
    t = jnp.where(k > 1, t, 0)
    if method == "reml":

        def step(_: int | Array, t: Array) -> Array:
            w, _, residual = at(t)
            update = (w**2 * (residual - v)).sum() / (w**2).sum() + 1 / w.sum()
            return jnp.where(k > 1, jnp.maximum(update, 0), 0)

        t = jax.lax.fori_loop(0, STEPS, step, t)
    w, mean, residual = at(t)
    if hartung_knapp:
        error = jnp.sqrt((w * residual).sum() / (w.sum() * jnp.where(k > 1, k - 1, jnp.nan)))
        half = student_quantile(level, k - 1) * error
    else:
        error = 1 / jnp.sqrt(w.sum())
        half = normal_quantile(level) * error
    wide = student_quantile(level, k - 2) * jnp.sqrt(t + error**2)
    some = jnp.where(k > 0, 0, jnp.nan)
    i2 = jnp.where(Q > 0, jnp.maximum(1 - (k - 1) / jnp.where(Q > 0, Q, 1), 0), 0)
    return RandomEffects(
        mean + some, mean - half, mean + half, error + some,
        jnp.where(k > 1, jnp.sqrt(t), jnp.nan), jnp.where(k > 1, i2, jnp.nan), mean - wide, mean + wide, k,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("method", "level"))
def pool_auroc(
    area: Array,
    positives: Array,
    negatives: Array,
    se: Array,
    *,
    method: str = "reml",
    level: float = 0.95,
) -> RandomEffects:
    """Pool AUROCs on the logit scale; see the module.

    Args:
        area: ``[C]``; hospitals with NaN are left out.
        positives, negatives: ``[C]`` rows of each class.
        se: ``[C]`` the standard error that :func:`jaxfed.evaluation.auroc` gives, on the logit scale: its
            ratio to the one from the numbers of rows alone is kept.
        method, level: as of :func:`random_effects`.
    """
    fine = jnp.isfinite(area) & (positives > 0) & (negatives > 0)
    area = jnp.where(fine, area, 0.5)
    m, n = (jnp.where(fine, count, 1).astype(area.dtype) for count in (positives, negatives))
    inside = (m * n * area + 0.5) / (m * n + 1)
    ratio = (se * inside * (1 - inside)) ** 2 / newcombe_variance(inside, m, n)
    pairs = jnp.where(fine, m * n, 0).sum()
    farthest = logit((pairs + 0.5) / (pairs + 1))
    weight = jnp.where(fine, m * n / (m + n), 0)
    start = jnp.clip(logit((weight * area).sum() / weight.sum()), -farthest, farthest)

    def working(eta: Array) -> tuple[Array, Array]:
        risk = jax.nn.sigmoid(eta)
        slope = risk * (1 - risk)
        variance = ratio * newcombe_variance(risk, m, n) / slope**2
        return jnp.where(fine, eta + (area - risk) / slope, jnp.nan), jnp.sqrt(variance)

    def fit(_: int, eta: Array) -> Array:
        z, se = working(eta)
        pooled = random_effects(z, se, method=method, level=level)
        share = pooled.tau**2 / (pooled.tau**2 + se**2)
        eta = pooled.mean + jnp.nan_to_num(share) * (jnp.nan_to_num(z) - pooled.mean)
        return jnp.clip(eta, -farthest, farthest)

    eta = jax.lax.fori_loop(0, FITS, fit, jnp.broadcast_to(start, area.shape))
    return random_effects(*working(eta), method=method, level=level)
