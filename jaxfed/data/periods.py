"""Train on earlier periods, test on later ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxfed.core.dataset import TEST, TRAIN, VALIDATION, Dataset
from jaxfed.core.errors import InvalidInput, Problems


def split_by_period(dataset: Dataset, period: Any = None, *, validation: int = 1, test: int = 1) -> Dataset:
    """The same rows; those of the last periods are for testing, those before for validation.

    Args:
        dataset: any dataset.
        period: ``[N]`` numbers, dates or years, one per row; periods are their distinct values in order. By
            default ``truth["period"]`` of ``synthetic_ehr(periods=...)``.
        validation: how many periods before the test periods are validation rows; 0 is allowed.
        test: how many of the last periods are test rows, 1 or more.

    Raises:
        InvalidInput: no periods, too few of them, or not one per row.

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
    return dataset.replace(split=split)
