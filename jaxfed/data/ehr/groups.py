r"""Part 9: groups of patients (ethnicity) whose share, rate and slopes differ, for fairness.

    g_i ~ share_h,   share_h ~ Dirichlet(k share),   share_g proportional to 2^-g
    eta_i += s_g A_g + s_gb z_i^T U_g,               A, U ~ N(0, 1), the same in all hospitals

Group 0, the largest one, is the reference (``A_0 = U_0 = 0``): the smaller groups are those whom a
common model fits less well.
"""

from __future__ import annotations

import numpy as np

from jaxfed.data.ehr.draws import GROUPS, keyed, mixture
from jaxfed.data.ehr.population import Population


def group_shares(groups: int) -> np.ndarray:
    """``[G]`` shares of the whole population, each half of the one before."""
    share = 0.5 ** np.arange(groups)
    return share / share.sum()


def group_effects(population: Population, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds ``[G]`` and slopes ``[G, d]`` that are added to those of everybody."""
    streams = [keyed(seed, GROUPS, g, 1) for g in range(population.groups)]
    a = np.array([rng.standard_normal() for rng in streams])
    u = np.stack([rng.standard_normal(population.features) for rng in streams])
    a[0], u[0] = 0, 0
    return population.s_g * a, population.s_gb * u


def draw_groups(population: Population, seed: int, h: int, n: int) -> np.ndarray:
    """``[n]`` group of each patient of hospital ``h``."""
    share = mixture(group_shares(population.groups), population.group_shift, keyed(seed, GROUPS, h, 2))
    u = keyed(seed, GROUPS, h).random(n)
    return np.searchsorted(np.cumsum(share)[:-1], u, side="right").astype(np.int32)


def typical_groups(groups: int, count: int) -> np.ndarray:
    """``[count]`` groups in proportion to their shares, without chance."""
    return np.searchsorted(np.cumsum(group_shares(groups))[:-1], (np.arange(count) + 0.5) / count)
