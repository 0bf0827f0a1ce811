"""The columns of a record: vital signs and laboratory values of intensive care, with their units.

Means and deviations are typical values of adult intensive care; ``risk`` is the side on which patients
die. After the twentieth, columns are standard scores without a unit, ``x20``, ``x21``, ...
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Feature(NamedTuple):
    """How a standard normal score becomes a recorded value.

    Attributes:
        name: of the column.
        unit: of its values.
        kind: ``"normal"``: ``centre + spread z``; ``"skewed"``: ``centre exp(spread z)``;
            ``"flag"``: 1 where z is above ``centre``.
        centre, spread: see ``kind``.
        risk: 1 where high values are dangerous, -1 where low ones are, else 0.
        low, high: values are clipped to these.
        decimals: with which it is recorded.
        group: whose coverage it shares, see :mod:`~jaxfed.data.ehr.missingness`.
        device: whether it is measured by a device, which each hospital calibrates.
        swap: ``(factor, added, unit)`` of another unit in use.
    """

    name: str
    unit: str
    kind: str
    centre: float
    spread: float
    risk: int = 0
    low: float = 0.0
    high: float = np.inf
    decimals: int = 0
    group: str = "labs"
    device: bool = True
    swap: tuple[float, float, str] | None = None


FEATURES = (
    Feature("age", "years", "normal", 63, 17, 1, 18, 90, 0, "always", False),
    Feature("heart_rate", "1/min", "normal", 88, 20, 1, 20, 220, 0, "vitals"),
    Feature("map", "mmHg", "normal", 78, 16, -1, 20, 180, 0, "vitals"),
    Feature("respiratory_rate", "1/min", "normal", 20, 6, 1, 4, 60, 0, "vitals"),
    Feature("temperature", "C", "normal", 36.8, 0.8, 0, 30, 43, 1, "vitals", swap=(1.8, 32, "F")),
    Feature("spo2", "%", "normal", 96, 4, -1, 50, 100, 0, "vitals"),
    Feature("sodium", "mmol/L", "normal", 138, 5, 0, 100, 180),
    Feature("potassium", "mmol/L", "normal", 4.1, 0.7, 0, 1.5, 9, 1),
    Feature("creatinine", "mg/dL", "skewed", 1.1, 0.6, 1, 0.1, 25, 2, swap=(88.4, 0, "umol/L")),
    Feature("bun", "mg/dL", "skewed", 20, 0.6, 1, 1, 250),
    Feature("wbc", "10^9/L", "skewed", 11, 0.45, 1, 0.1, 150, 1),
    Feature("haemoglobin", "g/dL", "normal", 11, 2.2, -1, 3, 20, 1, swap=(10, 0, "g/L")),
    Feature("platelets", "10^9/L", "normal", 200, 95, -1, 5, 1000),
    Feature("lactate", "mmol/L", "skewed", 1.8, 0.6, 1, 0.3, 30, 1),
    Feature("bilirubin", "mg/dL", "skewed", 0.7, 0.8, 1, 0.1, 50, 1),
    Feature("albumin", "g/dL", "normal", 3.0, 0.6, -1, 0.8, 6, 1),
    Feature("glucose", "mg/dL", "skewed", 140, 0.35, 1, 20, 1200, 1, swap=(1 / 18, 0, "mmol/L")),
    Feature("ph", "", "normal", 7.37, 0.09, -1, 6.7, 7.8, 2, "respiratory"),
    Feature("gcs", "points", "normal", 13, 3, -1, 3, 15, 0, "vitals", False),
    Feature("sex", "1 = male", "flag", -0.1004, 1, 0, 0, 1, 0, "always", False),  # .54 are male
)
AGE, SEX = 0, 19


def columns_of(d: int) -> list[Feature]:
    """The first ``d`` columns of a record."""
    more = [
        Feature(f"x{j:02d}", "", "normal", 0, 1, 0, -np.inf, np.inf, 3, "infusions") for j in range(20, d)
    ]
    return [*FEATURES[:d], *more]
