"""Part 7: outcomes that hospitals code wrongly, each with its own sensitivity and specificity.

``sensitivity_h ~ Beta(100 s, 100 (1 - s))`` with mean ``s``, and specificity alike. A patient with risk p
is recorded as an event with probability ``sensitivity_h p + (1 - specificity_h) (1 - p)``.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxfed.core.errors import Problems
from jaxfed.data.ehr.checks import check_share
from jaxfed.data.ehr.draws import CODING, beta_quantile, keyed

CONCENTRATION = 100


@dataclasses.dataclass(frozen=True)
class Coding:
    """Mean sensitivity and specificity; 1 and 1 are labels without error."""

    sensitivity: float = 1.0
    specificity: float = 1.0

    @property
    def exact(self) -> bool:
        """Whether all labels are right."""
        return self.sensitivity == self.specificity == 1

    def record(self, h: int, y: np.ndarray, p: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Recorded labels ``[n]`` of hospital ``h`` and their probabilities ``[n]``."""
        rng = keyed(seed, CODING, h)
        spread = 1 / (CONCENTRATION + 1)
        sensitivity = beta_quantile(self.sensitivity, spread, rng.random())
        specificity = beta_quantile(self.specificity, spread, rng.random())
        wrong = rng.random(len(y)) >= np.where(y == 1, sensitivity, specificity)
        return np.where(wrong, 1 - y, y).astype(np.int32), sensitivity * p + (1 - specificity) * (1 - p)

    def check(self, problems: Problems) -> None:
        """Record what cannot be used."""
        check_share("sensitivity", self.sensitivity, problems, "0.95 (1: no event is missed)")
        check_share("specificity", self.specificity, problems, "0.99 (1: no false event)")
