r"""Part 4: hospitals that differ in their prevalence, while patients with and without disease stay alike.

The prevalence of hospital h is ``pi_h ~ Beta(k pi, k (1 - pi))``. Its patients are drawn label first,
``y ~ Bernoulli(pi_h)`` and then ``z ~ p(z | y)``, the distributions that the linear model of
:mod:`~jaxfed.data.ehr.risk` implies. Only ``s = z^T w`` depends on y there:

    p(s | y = 1) ~ N(s; mu, sigma^2) sigmoid(a + s),   p(s | y = 0) ~ N(s; mu, sigma^2) sigmoid(-a - s)

so a patient drawn without regard to y is moved along ``cov(z) w`` until its ``s`` has that distribution:
its quantile stays the same. The risk given z follows by Bayes (Saerens, Latinne, Decaestecker 2002,
doi 10.1162/089976602753284446): ``eta_h = a + s + logit pi_h - logit pi_0``, ``pi_0 = E sigmoid(a + s)``.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logit, ndtr  # type: ignore[import-untyped]

from jaxfed.data.ehr.draws import sigmoid

NODES = np.linspace(-8.5, 8.5, 4001)  # of s in its standard deviations
DENSITY = np.exp(-(NODES**2) / 2)
RAREST = 1e-9  # a hospital's prevalence is at least this far from 0 and 1


def shift_labels(
    s: np.ndarray, y: np.ndarray, a: float, mu: float, sigma: float, pi: float
) -> tuple[np.ndarray, float]:
    """Scores given labels.

    Args:
        s: ``[n]`` scores ``z^T w``, drawn from ``N(mu, sigma^2)``.
        y: ``[n]`` labels.
        a: intercept of the hospital.
        mu, sigma: of s; ``sigma > 0``.
        pi: prevalence of the hospital.

    Returns:
        ``[n]`` scores with the distribution given y, and what is added to the log-odds ``a + s``.
    """
    risk = sigmoid(a + mu + sigma * NODES)
    u = ndtr((s - mu) / sigma)
    moved = np.empty_like(s)
    for label, weight in enumerate((DENSITY * (1 - risk), DENSITY * risk)):
        # The trapezoidal rule, on a grid where it is exact to about 1e-8.
        below = np.concatenate([[0.0], np.cumsum(weight[1:] + weight[:-1])])
        moved[y == label] = np.interp(u[y == label], below / below[-1], NODES)
    natural = float(DENSITY @ risk / DENSITY.sum())
    return mu + sigma * moved, float(logit(np.clip(pi, RAREST, 1 - RAREST)) - logit(natural))
