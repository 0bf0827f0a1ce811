"""Honest mistakes that hospitals really make: a laboratory value that drifts, a value in another unit.

Both change features of all rows of some hospitals before training and return a new data set; labels, splits
and other hospitals stay as they are. A robust rule that only expects malice meets these far more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfed.attacks.who import numbers_of
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean


def drift(hospitals: Dataset, who: Any, feature: str | int, shift: float, *, gradual: bool = True) -> Dataset:
    """A measuring device that loses its calibration: a value moves from row to row.

    Args:
        hospitals: the data.
        who: names of hospitals, or what :func:`jaxfed.attacks.malicious` returns.
        feature: name or number of the feature.
        shift: what is added to it in the end, in units of ``x``.
        gradual: from 0 in a hospital's first row to ``shift`` in its last; False for ``shift`` in all rows.

    Raises:
        InvalidInput: there is no such hospital or feature, or ``shift`` is no number.
    """
    numbers, column = _where(hospitals, who, feature, "drift", shift=shift)
    x = np.array(hospitals.x)
    for c in numbers:
        rows = _rows(hospitals, c)
        count = rows.stop - rows.start
        along = np.linspace(0, 1, count) if gradual else np.ones(count)
        x[rows, column] += (along * shift).astype(x.dtype)
    return hospitals.replace(x=x)


def unit_swap(
    hospitals: Dataset,
    who: Any,
    feature: str | int,
    factor: float,
    *,
    mean: float = 0.0,
    sd: float = 1.0,
) -> Dataset:
    """A value in another unit than elsewhere, such as glucose in mg/dL (factor 18) and not in mmol/L.

    Swap units before features are standardised, or say how they were: ``x`` is then (value - mean) / sd.

    Args:
        hospitals: the data.
        who: names of hospitals, or what :func:`jaxfed.attacks.malicious` returns.
        feature: name or number of the feature.
        factor: what the value is multiplied by, not 0.
        mean: the value where ``x`` is 0.
        sd: the values per unit of ``x``, above 0.

    Raises:
        InvalidInput: there is no such hospital or feature, or a number that cannot be used.
    """
    numbers, column = _where(hospitals, who, feature, "unit_swap", factor=factor, mean=mean, sd=sd)
    problems = Problems("unit_swap")
    problems.check(factor != 0, "factor=0: give the value of one unit in the other, such as 18.0")
    problems.check(sd > 0, f"sd={sd!r}: give a number > 0")
    problems.raise_if_any()
    x = np.array(hospitals.x)
    for c in numbers:
        rows = _rows(hospitals, c)
        x[rows, column] = (factor * (mean + sd * x[rows, column].astype(float)) - mean) / sd
    return hospitals.replace(x=x)


def column_of(hospitals: Dataset, feature: str | int, where: str) -> int:
    """The number of a feature's column.

    Raises:
        InvalidInput: ``x`` is not one matrix of floats, or has no such feature.
    """
    x = hospitals.x
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype.kind != "f":
        raise InvalidInput(f"{where}: x is not one matrix of floats [N, d]; change hospitals.x yourself")
    if isinstance(feature, str):
        if feature not in hospitals.features:
            raise InvalidInput(
                f"{where}: no feature {feature!r}; {did_you_mean(feature, hospitals.features)}"
            )
        return hospitals.features.index(feature)
    whole = isinstance(feature, (int, np.integer)) and not isinstance(feature, bool)
    if not whole or not 0 <= feature < x.shape[1]:
        raise InvalidInput(
            f"{where}: feature={feature!r}; give a name, or a number from 0 to {x.shape[1] - 1}"
        )
    return int(feature)


def _where(
    hospitals: Dataset, who: Any, feature: str | int, where: str, **numbers: float
) -> tuple[Sequence[int], int]:
    problems = Problems(where)
    for name, value in numbers.items():
        fine = (
            isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and np.isfinite(value)
        )
        problems.check(bool(fine), f"{name}={value!r}: give a finite number")
    problems.raise_if_any()
    return numbers_of(hospitals, who, where).tolist(), column_of(hospitals, feature, where)


def _rows(hospitals: Dataset, c: int) -> slice:
    return slice(int(hospitals.start[c]), int(hospitals.start[c] + hospitals.size[c]))
