"""What each hospital spends: the noisy steps of its rounds, counted."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfed.core.errors import Problems
from jaxfed.privacy import accounting
from jaxfed.privacy.accounting import Accountant, Mechanism
from jaxfed.privacy.calibration import noise_for, steps_for
from jaxfed.privacy.correlation import Correlation

FINE = 1.1  # many hospitals share noise: rates and steps are rounded up to powers of this number
MANY = 32
CURVE = 60  # evaluations of the chosen accountant for a curve; for more the curve is that of "rdp"


@dataclasses.dataclass(frozen=True, eq=False)
class Ledger:
    """The accounting of a simulation with C hospitals.

    Attributes:
        unit: ``"patient"`` or ``"hospital"``.
        mechanisms: ``[C]`` a step of each hospital; None for hospitals without rows, which spend nothing.
        steps: ``[C]`` steps of a round in which a hospital takes part.
        always: whether rounds without a hospital cost it too, as where it is drawn by chance.
        delta, accountant: of the guarantee.
        correlation: of the noise of different rounds; None for independent noise.
    """

    unit: str
    mechanisms: tuple[Mechanism | None, ...]
    steps: np.ndarray
    delta: float
    accountant: Accountant
    always: bool = False
    correlation: Correlation | None = None

    def spent(self, present: np.ndarray) -> np.ndarray:
        """``[C]`` epsilon of each hospital after rounds ``[R, C]`` in which it was present or not."""
        return self._epsilons(self.charges(present)[-1:], self.accountant)[0]

    def charges(self, present: np.ndarray) -> np.ndarray:
        """``[R, C]`` what each has spent after each round, in steps with independent noise."""
        if self.correlation is not None:
            return self.correlation.charges(present)
        return self.rounds(present) * self.steps

    def rounds(self, present: np.ndarray) -> np.ndarray:
        """``[R, C]`` the rounds that count for each hospital, of those in which it was present."""
        if not self.always:
            return np.cumsum(present, axis=0)
        return np.broadcast_to(np.arange(1, len(present) + 1)[:, None], present.shape)

    def curve(self, present: np.ndarray) -> tuple[np.ndarray, Accountant]:
        """``[R, C]`` epsilon of each hospital after each round, and the accountant of the curve."""
        charges = self.charges(present)
        pairs = {
            (mechanism, n) for c, mechanism in enumerate(self.mechanisms) for n in np.unique(charges[:, c])
        }
        cheap = len(pairs) > CURVE and all(m is None or m.adjacency != "replace-one" for m in self.mechanisms)
        accountant: Accountant = "rdp" if cheap else self.accountant
        return self._epsilons(charges, accountant), accountant

    def shared(self, groups: Sequence[Sequence[int]], rounds: np.ndarray) -> float:
        """The largest epsilon of a patient who is in several hospitals, for the given sets of hospitals."""
        worst = 0.0
        for group in groups:
            worst = max(worst, accounting.composed(
                [(m, int(rounds[c] * self.steps[c])) for c in group if (m := self.mechanisms[c])],
                self.delta,
            ))  # fmt: skip
        return worst

    def _epsilons(self, charges: np.ndarray, accountant: Accountant) -> np.ndarray:
        """``[R, C]``."""
        result = np.zeros(charges.shape)
        curve = accounting.curve if self.correlation is None else accounting.charged
        for c, mechanism in enumerate(self.mechanisms):
            if mechanism is not None:
                result[:, c] = curve(mechanism, charges[:, c], self.delta, accountant=accountant)
        return result


def noise_of(budgets: np.ndarray, steps: np.ndarray, rates: np.ndarray, privacy: Any) -> np.ndarray:
    """``[C]`` the least noise multipliers with which ``steps [C]`` cost at most ``budgets [C]``.

    For more than 32 different hospitals rates and steps are rounded up by at most 10 %, so that noise is
    searched for some tens of hospitals and not for all.
    """
    wanted = {*zip(budgets.tolist(), steps.tolist(), rates.tolist(), strict=True)}
    rough = len(wanted) > MANY
    result = np.ones(len(budgets))
    for c, (budget, count, rate) in enumerate(zip(budgets, steps, rates, strict=True)):
        if not count or not rate:
            continue
        if rough:
            count, rate = math.ceil(_up(count)), min(1.0, _up(rate))
        result[c] = noise_for(
            float(budget),
            int(count),
            privacy.delta,
            rate=float(rate),
            adjacency=privacy.adjacency,
            accountant=privacy.accountant,
        )
    return result


def limits(
    budgets: np.ndarray,
    mechanisms: Sequence[Mechanism | None],
    steps: np.ndarray,
    privacy: Any,
    names: Sequence[str],
    problems: Problems,
) -> np.ndarray:
    """``[C]`` the rounds that fit each budget; a budget smaller than one round is a problem."""
    result = np.zeros(len(mechanisms), np.int32)
    for c, (budget, mechanism, unit) in enumerate(zip(budgets, mechanisms, steps, strict=True)):
        if mechanism is None:
            continue
        result[c] = _limit(float(budget), mechanism, privacy.delta, int(unit), privacy.accountant)
        if not result[c]:
            first = accounting.epsilon(mechanism, int(unit), privacy.delta, accountant=privacy.accountant)
            problems.hospital(names[c]).add(
                f"a budget of epsilon {float(budget):g} is smaller than its first round, {int(unit)} steps, "
                f"which cost {first:.3g}; give more noise_multiplier, fewer steps, a smaller rate, or a "
                "larger budget",
                kind="budget",
            )
    return result


@functools.lru_cache(maxsize=4096)
def _limit(budget: float, mechanism: Mechanism, delta: float, unit: int, accountant: Accountant) -> int:
    return steps_for(budget, mechanism, delta, unit=unit, accountant=accountant)


def _up(number: float) -> float:
    """The next power of 1.1, at least ``number``."""
    return FINE ** math.ceil(math.log(number) / math.log(FINE) - 1e-9)
