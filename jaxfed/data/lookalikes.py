"""What in a table looks like something else: ids and weights among features, rows of one patient."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import listed
from jaxfed.data.notices import Notices

PATIENT = re.compile(
    r"(patient|subject|person)([_ ]?(id|nr|no|number))?|(stay|visit|encounter|hadm)[_ ]?id|pid|mrn",
    re.IGNORECASE,
)
WEIGHT = re.compile(
    r"(sample|row|sampling|survey|case|inverse[_ ]probability)[_ ]?weights?|p?weights?|ip[tc]?w"
)


ENOUGH = 20  # rows, to tell ids from measurements


def all_differ(values: pd.Series) -> bool:
    """Whether each value occurs once: of whole numbers, no measurement of so few people would do so."""
    return len(values) >= ENOUGH and bool(values.is_unique)


def is_weight(name: str) -> bool:
    """Whether a column is called as weights of rows are; ``weight`` alone is of the body."""
    return bool(WEIGHT.fullmatch(name.lower())) and name.lower() != "weight"


def notice_columns(table: pd.DataFrame, patient: str | None, notices: Notices) -> None:
    """Notices of features that look like ids, like a patient's number, or like weights of rows."""
    alike, persons, weights = [], [], []
    for column in table.columns:
        values, name = table[column], str(column)
        whole = pd.api.types.is_integer_dtype(values.dtype)
        if whole and all_differ(values):
            alike.append(name)
        elif whole and len(values) >= ENOUGH and patient is None and PATIENT.fullmatch(name):
            persons.append(name)
        if is_weight(name):
            weights.append(name)
    if alike:
        notices.add(
            f"columns {listed(alike)} differ in every row and look like ids; leave them out with drop={alike}"
        )
    if persons:
        notices.add(
            f"column {persons[0]!r} looks like the number of a patient with several rows; pass "
            f"patient={persons[0]!r}, so that training and test rows are of different patients"
        )
    if weights:
        notices.add(
            f"columns {listed(weights)} look like weights of rows; here they are features, and every row "
            f"counts as one: pass row_weights={weights[0]!r}, or leave them out with drop={weights}"
        )


def notice_rows(
    x: np.ndarray, code: np.ndarray, names: Sequence[str], patients: np.ndarray | None, notices: Notices
) -> None:
    """Notices of rows, or patients, that occur more than once.

    Args:
        x: ``[n, d]`` features.
        code: ``[n]`` numbers of the hospitals.
        names: their names.
        patients: ``[n]`` ids, or None.
    """
    repeats = find_repeats(x, code, patients)
    if repeats is None:
        return
    if repeats.within and patients is None:
        notices.add(
            f"{repeats.within} rows repeat a row of their hospital: the same patients? then name the column "
            "that tells them apart, patient=, or drop the copies, or train and test rows are not independent"
        )
    if not repeats.shared:
        return
    sites = listed([names[c] for c in repeats.sites])
    if patients is None:
        notices.add(
            f"{repeats.shared} rows occur in two or more of the hospitals {sites}: the same "
            "patients? then train and test rows are not independent"
        )
    else:
        notices.add(
            f"{repeats.shared} patients (as {repeats.example!r}) have rows in two or more of "
            f"the hospitals {sites}; all rows of a patient are in one part of the split. If each hospital "
            "numbers its own patients, give them ids that differ between hospitals"
        )


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Rows, or patients, that occur more than once.

    Attributes:
        within: rows that repeat one of their hospital.
        shared: rows, or patients, in two or more hospitals.
        sites: numbers of these hospitals.
        example: one of the shared.
    """

    within: int
    shared: int
    sites: list[int]
    example: Any


def find_repeats(x: np.ndarray, code: np.ndarray, patients: np.ndarray | None) -> Repeats | None:
    """Repeated rows ``[n, d]`` of hospitals ``code [n]``; None where no more repeat than by chance."""
    if patients is None:
        row = pd.util.hash_pandas_object(pd.DataFrame(x), index=False).to_numpy()
        pairs = _pairs(row)
        # A table of a few coarse columns repeats its rows by chance.
        if pairs <= 4 * np.prod([_pairs(column) / max(_total(len(x)), 1) for column in x.T]) * _total(len(x)):
            return None
    else:
        row = patients
    measured = np.isfinite(x).any(axis=1) if patients is None else np.ones(len(code), bool)
    seen = pd.DataFrame({"row": row, "site": code})[measured]
    within = int(seen.duplicated().sum())
    seen = seen.drop_duplicates()
    shared = seen[seen.duplicated("row", keep=False)]
    sites = sorted(int(c) for c in shared["site"].unique())
    return Repeats(within, shared["row"].nunique(), sites, shared["row"].iloc[0] if len(shared) else None)


def _pairs(values: np.ndarray) -> float:
    """Pairs of rows with the same value."""
    _, count = np.unique(values, return_counts=True)
    return float((count * (count - 1.0)).sum() / 2)


def _total(rows: int) -> float:
    return rows * (rows - 1.0) / 2
