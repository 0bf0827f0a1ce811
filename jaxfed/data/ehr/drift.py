r"""Part 8: rates and slopes that change over time, in all hospitals alike.

    eta_i += drift t + s_t W_t + s_bt z_i^T V_t,   W_t, V_t random walks of N(0, 1) steps from W_0 = V_0 = 0

``t`` is the period of the patient; the rows of a hospital are in the order of time, an equal number to
each period. The population's ``prevalence`` is that of period 0.
"""

from __future__ import annotations

import numpy as np

from jaxfed.data.ehr.draws import DRIFT, keyed
from jaxfed.data.ehr.population import Population


def drift_effects(population: Population, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds ``[T]`` and slopes ``[T, d]`` that are added in each period."""
    d = population.features
    W, V = np.zeros(population.periods), np.zeros((population.periods, d))
    for t in range(1, population.periods):
        rng = keyed(seed, DRIFT, t)
        W[t] = W[t - 1] + rng.standard_normal()
        V[t] = V[t - 1] + rng.standard_normal(d)
    return population.drift * np.arange(population.periods) + population.s_t * W, population.s_bt * V


def draw_periods(n: int, periods: int) -> np.ndarray:
    """``[n]`` period of each row of a hospital."""
    return (np.arange(n) * periods // max(n, 1)).astype(np.int32)
