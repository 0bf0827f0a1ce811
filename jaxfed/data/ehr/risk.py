r"""Parts 2 and 3: the population that synthetic hospitals are drawn from, their case mix and risk.

Hospital h, patient i, d features:

    z_i   = m_h + exp(s_sc t_h) L e_i,   L L^T = R, R_jk = rho^|j-k|,   m_h = s_x g_h
    eta_i = a_0 + a_h + z_i^T (b + u_h) + q(z_i),   p_i = 1 / (1 + exp(-eta_i))

with ``g, e, t ~ N(0, 1)``, ``a_h ~ N(0, s_a^2)``, ``u_h ~ N(0, s_b^2 I)``,
``b = v signal / sqrt(v^T R v)``, ``v ~ N(0, I)``; ``q`` is a centred sum of ``interactions``
products of two features, and ``a_0`` makes the population's mean risk equal to ``prevalence``.

``a_0`` is solved on the population, not on the hospitals drawn from it, and every draw is keyed by
(seed, purpose, hospital number): hospital h is the same however many hospitals there are.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxfed.data.ehr.draws import (
    CALIBRATION,
    CASE_MIX,
    GLOBAL,
    LABEL_SHIFT,
    LABELS,
    PATIENTS,
    RISK,
    TYPES,
    beta_quantile,
    keyed,
    sigmoid,
)
from jaxfed.data.ehr.drift import draw_periods, drift_effects
from jaxfed.data.ehr.groups import draw_groups, group_effects, typical_groups
from jaxfed.data.ehr.label_shift import RAREST, shift_labels
from jaxfed.data.ehr.population import Population


@dataclasses.dataclass(frozen=True)
class Hospital:
    """A hospital: intercept ``a``, slopes ``w = b + u_h [d]``, mean ``m [d]``, scale, type."""

    a: float
    w: np.ndarray
    m: np.ndarray
    scale: float
    type: int


@dataclasses.dataclass(frozen=True)
class Patients:
    """Patients of a hospital: ``z [n, d]``, log-odds ``eta [n]``, risk ``p [n]``, outcome ``y [n]``.

    ``more`` holds their ``period``, ``group`` and hospital ``type``, where there are several.
    """

    z: np.ndarray
    eta: np.ndarray
    p: np.ndarray
    y: np.ndarray
    more: dict[str, np.ndarray]


class Risk:
    """A population with its global draws: ``b [d]``, ``L [d, d]``, interactions and ``a_0``."""

    def __init__(self, population: Population, seed: int) -> None:
        self.population, self.seed = population, seed
        d = population.features
        lag = np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
        # 0**0 is 1, so that rho = 0 gives the identity.
        self.R = np.power(float(population.rho), lag)
        self.L = np.linalg.cholesky(self.R)
        v = keyed(seed, GLOBAL, 0).standard_normal(d)
        self.b = v * population.signal / np.sqrt(v @ self.R @ v)
        self.pairs, self.c = self._interactions()
        self.groups = group_effects(population, seed) if population.groups else None
        self.drift = drift_effects(population, seed)
        self.a_0 = _solve_intercept(*self._population_risk(), population.prevalence)

    @property
    def spread(self) -> float:
        """Standard deviation of ``eta`` in the average hospital."""
        pop = self.population
        return float(np.hypot(pop.signal, pop.interaction_signal if len(self.c) else 0.0))

    def hospital(self, h: int) -> Hospital:
        """The draws of hospital number ``h``."""
        pop, d = self.population, self.population.features
        risk, mix = keyed(self.seed, RISK, h), keyed(self.seed, CASE_MIX, h)
        a, u = pop.s_a * risk.standard_normal(), risk.standard_normal(d)
        kind = 0
        if pop.types:
            kind = int(keyed(self.seed, TYPES, h).integers(pop.types))
            u = self._type(kind)
        scale = float(np.exp(pop.s_sc * mix.standard_normal()))
        return Hospital(a, self.b + pop.s_b * u, pop.s_x * mix.standard_normal(d), scale, kind)

    def patients(self, h: int, n: int) -> Patients:
        """The first ``n`` patients of hospital ``h``."""
        pop, hospital = self.population, self.hospital(h)
        e = keyed(self.seed, PATIENTS, h).standard_normal((n, len(self.b)))
        z = hospital.m + hospital.scale * (e @ self.L.T)
        uniform = keyed(self.seed, LABELS, h).random(n)
        if pop.label_shift:
            pi = beta_quantile(pop.prevalence, pop.label_shift, keyed(self.seed, LABEL_SHIFT, h).random())
            y = uniform < pi
            z, eta = self._given_labels(z, y, hospital, pi)
        else:
            eta = self.a_0 + hospital.a + z @ hospital.w + self._q(z)
        more = {}
        if pop.types:
            more["type"] = np.full(n, hospital.type, np.int32)
        if self.groups is not None:
            more["group"] = draw_groups(pop, self.seed, h, n)
            eta = eta + _effect(self.groups, more["group"], z)
        if pop.periods > 1:
            more["period"] = draw_periods(n, pop.periods)
        if pop.drift or pop.s_t or pop.s_bt:
            eta = eta + _effect(self.drift, more["period"], z)
        p = sigmoid(eta)
        y = y if pop.label_shift else uniform < p
        return Patients(z, eta, p, y.astype(np.int32), more)

    def _given_labels(
        self, z: np.ndarray, y: np.ndarray, hospital: Hospital, pi: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """``z [n, d]`` moved to their distribution given y, and their log-odds ``[n]``."""
        along = hospital.scale**2 * (self.R @ hospital.w)
        variance, a, s = float(hospital.w @ along), self.a_0 + hospital.a, z @ hospital.w
        if variance == 0:
            # No feature tells anything: the prevalence is all there is to know.
            pi = min(max(pi, RAREST), 1 - RAREST)
            return z, np.full(len(z), np.log(pi / (1 - pi)))
        mu, sigma = float(hospital.m @ hospital.w), float(np.sqrt(variance))
        moved, added = shift_labels(s, y, a, mu, sigma, pi)
        return z + np.outer(moved - s, along / variance), a + moved + added

    def _type(self, kind: int) -> np.ndarray:
        # One word more than a hospital's key, so that type 3 and hospital 3 draw apart.
        return keyed(self.seed, TYPES, kind, 1).standard_normal(self.population.features)

    def _interactions(self) -> tuple[np.ndarray, np.ndarray]:
        pop, rng = self.population, keyed(self.seed, GLOBAL, 1)
        j, k = np.triu_indices(pop.features, 1)
        chosen = rng.permutation(len(j))[: pop.interactions]
        pairs = np.stack([j[chosen], k[chosen]])
        if not pop.interactions:
            return pairs, np.zeros(0)
        c, (j, k), R = rng.standard_normal(pop.interactions), pairs, self.R
        # Isserlis: cov(z_j z_k, z_l z_m) = R_jl R_km + R_jm R_kl.
        covariance = R[j][:, j] * R[k][:, k] + R[j][:, k] * R[k][:, j]
        return pairs, c * pop.interaction_signal / np.sqrt(c @ covariance @ c)

    def _q(self, z: np.ndarray) -> np.ndarray | float:
        if not len(self.c):
            return 0.0
        j, k = self.pairs
        return (z[:, j] * z[:, k] - self.R[j, k]) @ self.c

    def _population_risk(self) -> tuple[np.ndarray, np.ndarray]:
        """Values of ``eta - a_0`` over the population ``[M, Q]`` and their weights ``[Q]``."""
        pop, d, M = self.population, self.population.features, 2**15 if len(self.c) else 2048
        rng = np.random.default_rng(CALIBRATION)
        u, scale = rng.standard_normal((M, d)), np.exp(pop.s_sc * rng.standard_normal(M))
        if pop.types:
            u = np.stack([self._type(kind) for kind in range(pop.types)])[np.arange(M) % pop.types]
        w, centre = self.b + pop.s_b * u, np.zeros((M, 1))
        if self.groups is not None:
            # Groups come in runs and types in turns, so that the two are independent.
            group = typical_groups(pop.groups, M)
            w, centre = w + self.groups[1][group], self.groups[0][group, None]
        node, weight = np.polynomial.hermite_e.hermegauss(40)
        weight = weight / weight.sum()
        if not len(self.c):
            # Given u_h and the scale, a_h + z^T w is normal: one quadrature instead of patients.
            spread = (w * (w @ self.R)).sum(1) * scale**2
            sd = np.sqrt(pop.s_a**2 + pop.s_x**2 * (w**2).sum(1) + spread)
            return centre + sd[:, None] * node, weight
        m, e = rng.standard_normal((2, M, d))
        z = pop.s_x * m + scale[:, None] * (e @ self.L.T)
        eta = (z * w).sum(1) + self._q(z)
        return centre + eta[:, None] + pop.s_a * node, weight


def _effect(effects: tuple[np.ndarray, np.ndarray], number: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Log-odds ``[n]`` of patients of these groups or periods: intercepts ``[G]`` and slopes ``[G, d]``."""
    a, u = effects
    return a[number] + (z * u[number]).sum(1)


def _solve_intercept(eta: np.ndarray, weight: np.ndarray, prevalence: float) -> float:
    """``a_0`` with ``mean sigmoid(a_0 + eta) = prevalence``, by bisection."""
    reach = 40.0 + float(np.abs(eta).max())
    low, high = -reach, reach
    for _ in range(50):
        middle = 0.5 * (low + high)
        if (sigmoid(middle + eta) @ weight).mean() < prevalence:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
