"""Numbers that are not measurements: ids, patients' numbers, weights of rows, dates, constants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxfed.data.check.finding import Finding, Severity, dropping
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import columns_text
from jaxfed.data.lookalikes import ENOUGH, PATIENT, all_differ, is_weight

DAYS = (19000101, 21001231)  # dates written as whole numbers
EPOCHS = ((6e8, 2.2e9), (6e11, 2.2e12))  # seconds and milliseconds since 1970, from 1989 to 2039
CHECKED = 10_000  # values that are read as dates


def find(survey: Survey) -> Iterator[Finding]:
    """A finding for all columns of a kind."""
    kinds: dict[str, list[str]] = {}
    for name, kind in roles_of(survey).items():
        kinds.setdefault(kind, []).append(name)
    words: dict[str, tuple[Severity, str, str]] = {
        "id": (
            "problem",
            "differs in every row and looks like an id",
            "differ in every row and look like ids",
        ),
        "date": (
            "problem",
            "looks like dates or times",
            "look like dates or times",
        ),
        "weight": ("caution", "looks like weights of rows", "look like weights of rows"),
        "constant": ("caution", "has one value only", "have one value only"),
        "empty": ("problem", "has no value at all", "have no value at all"),
    }
    for kind, (severity, one, several) in words.items():
        if kind in kinds:
            columns = kinds[kind]
            yield Finding(
                kind, severity, columns_text(columns, one, several), tuple(columns), (), str(len(columns)),
                arguments={"row_weights": columns[0]}
                if kind == "weight" and not survey.weighted
                else dropping(survey, columns),
            )  # fmt: skip
    if "patient" in kinds:
        name = kinds["patient"][0]
        yield Finding(
            "patient", "problem",
            f"column {name!r} looks like the number of a patient, who may have several rows; all of them "
            "belong in the same part of the split",
            (name,), arguments={"patient": name},
        )  # fmt: skip


def roles_of(survey: Survey) -> dict[str, str]:
    """``{feature: kind}`` of those that are not measurements."""
    kinds = {
        name: _kind(name, values[np.isfinite(values)], survey.patient is not None)
        for name, values in zip(survey.features, survey.x.T, strict=True)
    }
    return {name: kind for name, kind in kinds.items() if kind is not None}


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
