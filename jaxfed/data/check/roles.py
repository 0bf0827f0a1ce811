"""Numbers that are not measurements: ids, patients' numbers, weights of rows, dates, constants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxfed.core.errors import listed
from jaxfed.data.check.finding import Finding, dropping
from jaxfed.data.check.survey import Survey
from jaxfed.data.lookalikes import ENOUGH, PATIENT, all_differ, is_weight

DAYS = (19000101, 21001231)  # dates written as whole numbers
EPOCHS = ((6e8, 2.2e9), (6e11, 2.2e12))  # seconds and milliseconds since 1970, from 1989 to 2039
CHECKED = 10_000  # values that are read as dates


def find(survey: Survey) -> Iterator[Finding]:
    """A finding for all columns of a kind."""
    kinds: dict[str, list[str]] = {}
    for name, values in zip(survey.features, survey.x.T, strict=True):
        kind = _kind(name, values[np.isfinite(values)], survey.patient is not None)
        if kind is not None:
            kinds.setdefault(kind, []).append(name)
    words = {
        "id": ("problem", "differ in every row and look like ids"),
        "date": ("problem", "look like dates or times, which a model would take for amounts"),
        "weight": ("caution", "look like weights of rows, and are features here"),
        "constant": ("caution", "have one value only"),
        "empty": ("problem", "have no value at all"),
    }
    for kind, (severity, what) in words.items():
        if kind in kinds:
            columns = kinds[kind]
            yield Finding(
                kind, severity, f"columns {listed(columns)} {what}", tuple(columns), (), str(len(columns)),  # type: ignore[arg-type]
                arguments=dropping(survey, columns),
            )  # fmt: skip
    if "patient" in kinds:
        name = kinds["patient"][0]
        yield Finding(
            "patient", "problem",
            f"column {name!r} looks like the number of a patient, who may have several rows; all of them belong in "
            "the same part of the split",
            (name,), arguments={"patient": name},
        )  # fmt: skip


def _kind(name: str, values: np.ndarray, patients: bool) -> str | None:
    if not len(values):
        return "empty"
    if (values == values[0]).all():
        return "constant"
    if is_weight(name):
        return "weight"
    if len(values) < ENOUGH or (values != np.round(values)).any():
        return None
    if _are_dates(values):
        return "date"
    if PATIENT.fullmatch(name) and not patients:
        return "patient"
    return "id" if all_differ(pd.Series(values)) else None


def _are_dates(values: np.ndarray) -> bool:
    low, high = values.min(), values.max()
    if any(first <= low and high <= last for first, last in EPOCHS):
        return True
    if not DAYS[0] <= low <= high <= DAYS[1]:
        return False
    some = values[:: max(1, len(values) // CHECKED)].astype(np.int64).astype(str)
    return bool(pd.to_datetime(pd.Series(some), format="%Y%m%d", errors="coerce").notna().all())
