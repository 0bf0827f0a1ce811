"""Random streams of (seed, purpose, hospital): no draw depends on how many hospitals there are."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv  # type: ignore[import-untyped]

# What a random stream is for; a new purpose gets a new number, so that old draws never move.
(
    GLOBAL, SIZE, CASE_MIX, RISK, PATIENTS, LABELS, TYPES, CALIBRATION, GROUPS, DRIFT, LABEL_SHIFT, CODING,
    DEVICES, COVERAGE, MISSING, TIMES, DIAGNOSES,
) = range(17)  # fmt: skip


def keyed(seed: int, *key: int) -> np.random.Generator:
    """The random stream of (seed, purpose, hospital number)."""
    return np.random.default_rng(np.random.SeedSequence([seed, *key]))


def sigmoid(eta: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-eta))`` without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(eta, -700.0, 700.0)))


def beta_quantile(mean: float, spread: float, u: float) -> float:
    """Quantile ``u`` of the Beta distribution with this mean and variance ``spread * mean * (1 - mean)``.

    ``spread = 1 / (k + 1)`` for ``Beta(k mean, k (1 - mean))``: the intraclass correlation. Quantiles move
    smoothly with the mean and the spread, where draws from the distribution would jump.
    """
    if spread == 0 or mean in (0.0, 1.0):
        return mean
    k = 1 / spread - 1
    return float(betaincinv(k * mean, k * (1 - mean), u))


def mixture(shares: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """``[K]`` shares from Dirichlet(k shares), ``spread = 1 / (k + 1)``; the shares themselves at 0."""
    return shares if spread == 0 else rng.dirichlet((1 / spread - 1) * shares)
