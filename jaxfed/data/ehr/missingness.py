r"""Part 6: what hospitals do not record, and which patients are measured.

A hospital h records the columns of a group g (vital signs, laboratory values, ...) for a share ``c_hg`` of
its patients, which follows the published coverage of eICU-CRD. A cell is missing with probability

    m_hj = 1 - (1 - mcar) (1 - coverage (1 - c_hg))

and, with a latent score as in Heckman 1979 (doi 10.2307/1912352), in which patients it is may depend on
their age, which is always recorded (MAR), and on their risk, which is not (MNAR):

    missing where  (mar A_i - mnar E_i + e_ij) / sd > Phi^-1(1 - m_hj),   e ~ N(0, 1)

with A the age and E the log-odds, both standardised, and sd the score's standard deviation: the share of
missing cells stays ``m`` in the average hospital. Age and sex are never missing. At a larger ``mcar`` or
``coverage`` the same cells are missing and more.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtri  # type: ignore[import-untyped]

from jaxfed.core.errors import Problems
from jaxfed.data.ehr.checks import check_real, check_share
from jaxfed.data.ehr.draws import COVERAGE, MISSING, keyed
from jaxfed.data.ehr.features import Feature

# Shares of patients with a value, and of hospitals in each class; Pollard et al. 2018, see synthetic.py.
BOUNDS = np.array([[0, 0], [0, 0.2], [0.2, 0.6], [0.6, 0.8], [0.8, 1]])
CLASSES = {
    "vitals": (0.01, 0.00, 0.03, 0.02, 0.93),
    "labs": (0.005, 0.0, 0.005, 0.03, 0.96),
    "infusions": (0.27, 0.16, 0.40, 0.10, 0.07),
    "respiratory": (0.11, 0.15, 0.36, 0.10, 0.28),
}


@dataclasses.dataclass(frozen=True)
class Missingness:
    """Strengths of missingness; ``coverage`` 1 is that of eICU-CRD, 0 records everything."""

    coverage: float = 0.0
    mcar: float = 0.0
    mar: float = 0.0
    mnar: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.coverage == self.mcar == 0

    def probability(self, h: int, columns: list[Feature], seed: int) -> np.ndarray:
        """``[d]`` share of missing cells of hospital ``h``, 0 where a column is always recorded."""
        covered = {"always": 1.0}
        for (group, classes), u in zip(CLASSES.items(), keyed(seed, COVERAGE, h).random((4, 2)), strict=True):
            upto = np.cumsum(classes) / sum(classes)
            low, high = BOUNDS[min(int(np.searchsorted(upto, u[0], side="right")), len(BOUNDS) - 1)]
            covered[group] = low + (high - low) * u[1]
        c = np.array([covered[column.group] for column in columns])
        always = np.array([column.group == "always" for column in columns])
        return np.where(always, 0.0, 1 - (1 - self.mcar) * (1 - self.coverage * (1 - c)))

    def draw(
        self, h: int, age: np.ndarray, risk: np.ndarray, both: float, columns: list[Feature], seed: int
    ) -> np.ndarray:
        """``[n, d]`` missing cells of hospital ``h``.

        Args:
            h: number of the hospital.
            age, risk: ``[n]``, standardised on the average hospital; a risk that is 0 for all counts for
                nothing.
            both: their correlation there.
            columns: of the record.
            seed: of the draws.
        """
        e = keyed(seed, MISSING, h).standard_normal((len(age), len(columns)), dtype=np.float32)
        score = (self.mar * age - self.mnar * risk)[:, None]
        mnar = self.mnar if risk.any() else 0.0
        sd = np.sqrt(1 + self.mar**2 + mnar**2 - 2 * self.mar * mnar * both)
        return (score + e) / sd > -ndtri(self.probability(h, columns, seed))

    def check(self, problems: Problems) -> None:
        """Record what cannot be used."""
        check_share("coverage", self.coverage, problems, "1")
        check_share("mcar", self.mcar, problems, "0.2")
        for key in ("mar", "mnar"):
            value = getattr(self, key)
            check_real(key, value, problems)
            problems.check(
                value == 0 or not self.complete,
                f"{key}={value}: it says in whom values are missing; none are without mcar=0.2 or coverage=1",
            )
