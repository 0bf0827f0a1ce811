"""Train on earlier periods, test on later ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import TEST, TRAIN, VALIDATION, Dataset
from jaxfed.core.errors import InvalidInput, Problems, warn
from jaxfed.data.notices import DataWarning
from jaxfed.data.splits import warn_of_seen_rows


def split_by_period(dataset: Dataset, period: Any = None, *, validation: int = 1, test: int = 1) -> Dataset:
    """The same rows; those of the last periods are for testing, those before for validation.

    Where patients have several rows, all of a patient are in the part of the last one.

    Args:
        dataset: any dataset.
        period: ``[N]`` numbers, dates or years, one per row; periods are their distinct values in order. By
            default ``truth["period"]`` of ``synthetic_ehr(periods=...)``.
        validation: how many periods before the test periods are validation rows; 0 is allowed.
        test: how many of the last periods are test rows, 1 or more.

    Raises:
        InvalidInput: no periods, too few of them, or not one per row.

    Warns:
        DataWarning: rows of patients that are in a later part than their period says, or numbers of a
            preparation that come from rows that are for validation or test now.

    >>> from jaxfed.data import synthetic_ehr
    >>> data = split_by_period(synthetic_ehr(2, sizes=[40, 40], periods=4))
    >>> data.counts.tolist()
    [[20, 10, 10], [20, 10, 10]]
    """
    if period is None:
        if "period" not in dataset.truth:
            raise InvalidInput(
                f"split_by_period: dataset {dataset.name!r} has no truth['period']; give period=, a "
                "number or date for each row"
            )
        period = dataset.truth["period"]
    period = np.asarray(period)
    problems = Problems("split_by_period")
    problems.check(
        period.shape == dataset.y.shape[:1],
        f"period has shape {period.shape}; give a value for each of {len(dataset.y)} rows",
    )
    missing = int(pd.isna(period).sum())
    problems.check(
        not missing, f"{missing} rows have no period; give them one, or leave them out of the data"
    )
    for key, value, least in (("validation", validation, 0), ("test", test, 1)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        problems.check(
            whole and bool(value >= least), f"{key}={value!r}: give a whole number, {least} or more"
        )
    problems.raise_if_any()
    values, number = np.unique(period, return_inverse=True)
    first_test = len(values) - test
    problems.check(
        first_test - validation >= 1,
        f"{len(values)} periods, of which validation={validation} and test={test} leave none for training",
    )
    problems.raise_if_any()
    split = np.full(len(period), TRAIN, np.int8)
    split[number >= first_test - validation] = VALIDATION
    split[number >= first_test] = TEST
    if dataset.patients is not None:
        split = _together(dataset.patients, split)
    warn_of_seen_rows("split_by_period", dataset, split)
    return dataset.replace(split=split)


def _together(patients: np.ndarray, split: np.ndarray) -> np.ndarray:
    """``[N]`` the latest part of each patient's rows."""
    _, number = np.unique(patients.astype(str), return_inverse=True)
    last = np.zeros(number.max(initial=-1) + 1, np.int8)
    np.maximum.at(last, number, split)
    moved = int((last[number] != split).sum())
    if moved:
        warn(
            f"split_by_period: {moved} rows of earlier periods are in the part of their patient's last row, "
            "so that no patient is in two parts",
            DataWarning,
        )
    return last[number]
