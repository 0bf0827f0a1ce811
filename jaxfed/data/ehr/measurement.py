r"""Part 5: recorded values in physical units, by devices that hospitals calibrate, sometimes in other units.

    x <- exp(s_gain G_hj) x + s_offset sd_j O_hj,   G, O ~ N(0, 1),   and then, with probability ``swap`` for
                                                    each hospital and feature that has one, the other unit

A column is turned round, where that is needed, so that patients die on the side on which they do: risk
rises with lactate and falls with blood pressure. Values are clipped to what a body can have and rounded as
they are recorded. The truth is the risk given the exact values.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtr  # type: ignore[import-untyped]

from jaxfed.core.errors import Problems
from jaxfed.data.ehr.checks import check_number, check_share
from jaxfed.data.ehr.draws import DEVICES, keyed
from jaxfed.data.ehr.features import Feature


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Strengths of measurement shift; without ``units`` values are standard scores."""

    units: bool = False
    s_gain: float = 0.0
    s_offset: float = 0.0
    swap: float = 0.0

    def record(
        self, h: int, z: np.ndarray, columns: list[Feature], sign: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Recorded values ``[n, d]`` of hospital ``h``, and ``[d]`` whether its unit is another one.

        ``sign [d]`` turns columns round.
        """
        if not self.units and self.s_gain == self.s_offset == 0:
            return z, np.zeros(len(columns), bool)
        # Drawn feature by feature, so that more features do not move the draws of the first.
        gain, offset, chance = keyed(seed, DEVICES, h).standard_normal((len(columns), 3)).T
        gain, offset = np.exp(self.s_gain * gain), self.s_offset * offset
        swaps, swapped = ndtr(chance) < self.swap, np.zeros(len(columns), bool)
        x = np.empty_like(z)
        for j, column in enumerate(columns):
            if not self.units:
                x[:, j] = gain[j] * z[:, j] + offset[j] if column.device else z[:, j]
                continue
            value = _physical(sign[j] * z[:, j], column)
            if column.device:
                value = gain[j] * value + offset[j] * _deviation(column)
            if column.swap and swaps[j]:
                factor, added, _ = column.swap
                value, swapped[j] = factor * value + added, True
            x[:, j] = np.round(value, column.decimals)
        return x, swapped

    def check(self, problems: Problems) -> None:
        """Record what cannot be used."""
        problems.check(isinstance(self.units, bool), f"units={self.units!r}: give True or False")
        check_number("s_gain", self.s_gain, problems)
        check_number("s_offset", self.s_offset, problems)
        check_share("swap", self.swap, problems, "0.05")
        problems.check(
            bool(self.units) or self.swap == 0, f"swap={self.swap}: scores have no units; give units=True"
        )


def _physical(z: np.ndarray, column: Feature) -> np.ndarray:
    if column.kind == "flag":
        return (z > column.centre).astype(float)
    skewed = column.kind == "skewed"
    value = column.centre * np.exp(column.spread * z) if skewed else column.centre + column.spread * z
    return np.clip(value, column.low, column.high)


def _deviation(column: Feature) -> float:
    """Standard deviation of a column, before it is clipped."""
    if column.kind != "skewed":
        return column.spread
    variance = column.spread**2
    return column.centre * float(np.exp(variance / 2) * np.sqrt(np.expm1(variance)))
