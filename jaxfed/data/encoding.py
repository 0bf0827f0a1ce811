"""Columns of a table as numbers: one-hot, ordered levels, days between dates; the same for new rows.

Every column that is named here becomes one feature or, a category, a feature for each of its levels and one
for all other levels. What that takes (levels, orders, dates to count from) is kept as plain text, so that it
can be saved and new rows are encoded alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, did_you_mean, listed
from jaxfed.data.columns import (
    as_numbers,
    as_written,
    codes_of,
    is_blank,
    is_number,
    numeric_text,
    without_codes,
)
from jaxfed.data.notices import Notices

FIRST = "first"  # as a reference: the first day of the hospital's training rows
Kind = Literal["number", "true/false", "ordinal", "date", "category"]
DAY = pd.Timedelta(days=1)
EPOCH = pd.Timestamp("1970-01-01")
TRUTHS = {
    text: number
    for pair in ("false true", "no yes", "n y", "f t")
    for number, text in enumerate(pair.split())
}


@dataclasses.dataclass(frozen=True)
class Column:
    """How a column becomes features.

    Attributes:
        name: of the column.
        kind: what it holds.
        levels: of a category, those with a feature of their own; of an ordinal, from low to high.
        rest: of a category, the name of the feature for all other levels: ``other`` where training rows have
            such levels, else ``unseen``.
        flagged: of a category, whether there is a feature for missing values.
        fill: of a category, the level in place of missing values, one or one for each hospital.
        reference: of a date, the column, the day or ``"first"`` that days are counted from.
        first: of a date counted from the first one, that day for each hospital, in days since 1970.
        lacking: training rows in which the column is missing.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    rest: str = ""
    flagged: bool = False
    fill: tuple[str, ...] = ()
    reference: str = ""
    first: tuple[float, ...] = ()
    lacking: int = 0

    @property
    def features(self) -> tuple[str, ...]:
        """Names of its features."""
        if self.kind == "category":
            levels = tuple(f"{self.name}={level}" for level in (*self.levels, self.rest))
            return (*levels, f"{self.name} missing") if self.flagged else levels
        return (f"{self.name} (days since {self.reference})",) if self.kind == "date" else (self.name,)


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """Columns of a table and the features that they become; the first step of a prepared table.

    Attributes:
        columns: in the order of the features.
        missing: codes that stand for a missing value.
        hospitals: names, in the order of the numbers that differ between hospitals; empty if none do.
        rows: training rows that it was fitted to.
    """

    kind: ClassVar[str] = "encode"
    columns: tuple[Column, ...]
    missing: tuple[str, ...] = ()
    hospitals: tuple[str, ...] = ()
    rows: int = 0

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        dates = [column.reference for column in self.columns if column.kind == "date"]
        others = [name for name in dates if name != FIRST and day_of(name) is None]
        return tuple(dict.fromkeys([column.name for column in self.columns] + others))

    def encode(self, table: pd.DataFrame, owners: np.ndarray, problems: Problems) -> np.ndarray:
        """``[n, d]`` float64 features of a table's rows; NaN for missing values of all but categories.

        Args:
            table: with the columns of :attr:`inputs`; others are ignored.
            owners: ``[n]`` names of the rows' hospitals, used where numbers differ between hospitals.
            problems: receives columns that are absent or hold something else than in training rows.
        """
        absent = [name for name in self.inputs if name not in table]
        if absent:
            hint = did_you_mean(absent[0], map(str, table))
            problems.add(f"the table has no column {listed(absent)}; {hint}")
            return np.zeros((len(table), 0))
        number = {name: c for c, name in enumerate(self.hospitals)}
        place = np.array([number.get(name, 0) for name in owners], np.int64)
        given = cleaned(table[[*self.inputs]], self.missing)
        # What was a column of numbers is read as numbers, where a new file has it as text too.
        plain = {c.name: numeric_text(given[c.name], {""}) for c in self.columns if c.kind == "number"}
        numbers = as_numbers(pd.DataFrame(plain, index=given.index), (), problems, Notices(""))
        parts = []
        for column in self.columns:
            values = given[column.name]
            if column.kind == "number":
                part = _floats(numbers[column.name])
            elif column.kind == "category":
                part = _one_hot(column, values, place)
            elif column.kind == "date":
                part = _days(column, given, place, problems)
            else:
                part = _ranked(column, values, problems)
            parts.append(part if part.ndim == 2 else part[:, None])
        return np.concatenate(parts, axis=1)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and text."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Encoding:
        """Read what :meth:`to_json` wrote."""
        columns = []
        for column in read["columns"]:
            known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in column.items()}
            columns.append(Column(**known))
        return cls(tuple(columns), tuple(read["missing"]), tuple(read["hospitals"]), read["rows"])


def cleaned(table: pd.DataFrame, missing: Sequence[Any]) -> pd.DataFrame:
    """The table with NaN for the codes ``missing`` and for empty text, and without spaces around text.

    Spans of time are numbers of days.
    """
    texts, numbers = codes_of(missing)
    made = {}
    for name in table.columns:
        values = numeric_text(*without_codes(table[name], texts, numbers))
        if pd.api.types.is_timedelta64_dtype(values.dtype):
            values = values.dt.total_seconds() / 86400
        if not (is_number(values) or pd.api.types.is_datetime64_any_dtype(values.dtype)):
            try:
                code, different = pd.factorize(values.astype(object))
            except TypeError:  # lists and the like
                code, different = pd.factorize(values.map(str, na_action="ignore"))
            plain = [value.strip() if isinstance(value, str) else value for value in different]
            plain = [None if value == "" else value for value in plain]
            values = pd.Series(np.array([*plain, None], object)[code], values.index, dtype=object)
        made[name] = values
    return pd.DataFrame(made, index=table.index)


def level_codes(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """``[n]`` places in the sorted levels, -1 if missing, and the levels as text."""
    code, different = pd.factorize(values)
    place, levels = pd.factorize(np.array([as_written(value) for value in different], object), sort=True)
    return np.append(place, -1)[code], [str(level) for level in levels]


def day_of(text: str) -> float | None:
    """A day as ``2020-04-03`` in days since 1970; None for other text."""
    if not (len(text) == 10 and text[:4].isdigit() and text[4] == text[7] == "-"):
        return None
    day = pd.to_datetime(text, errors="coerce", format="ISO8601")
    return None if pd.isna(day) else float((day - EPOCH) / DAY)


def days(values: pd.Series, problems: Problems) -> np.ndarray:
    """``[n]`` dates in days since 1970 (UTC), NaN if missing; what is no date goes to ``problems``."""
    if is_number(values) and values.notna().any():
        problems.add(f"column {values.name!r} holds numbers and no dates; leave it out of dates=")
        return np.full(len(values), np.nan)
    written = values if pd.api.types.is_datetime64_any_dtype(values.dtype) else _iso_text(values)
    dates = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
    bad = values[dates.isna().to_numpy() & values.notna().to_numpy()]
    problems.check(
        not len(bad),
        f"column {values.name!r} has dates such as {listed(map(str, bad.unique()[:2]))} that are not written "
        "as 2020-04-03; turn them into dates first, df[column] = pd.to_datetime(df[column], dayfirst=True)",
    )
    return ((dates - EPOCH) / DAY).to_numpy(float)


def _iso_text(values: pd.Series) -> pd.Series:
    return pd.Series(
        [None if is_blank(value) else str(value) for value in values], values.index, dtype=object
    )


def _floats(values: pd.Series) -> np.ndarray:
    # What is no number is noted as a problem already.
    return pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)


def _one_hot(column: Column, values: pd.Series, place: np.ndarray) -> np.ndarray:
    given, levels = level_codes(values)
    number = {level: k for k, level in enumerate(column.levels)}
    rest = len(column.levels)
    code = np.array([*(number.get(level, rest) for level in levels), -1])[given]
    lacking = given < 0
    if column.fill:
        fill = np.array([number.get(level, rest) for level in column.fill])
        code = np.where(lacking, fill[place] if len(fill) > 1 else fill[0], code)
    elif not column.flagged:
        code = np.where(lacking, rest, code)
    made = (code[:, None] == np.arange(rest + 1)).astype(np.float64)
    return np.column_stack([made, lacking]) if column.flagged else made


def _ranked(column: Column, values: pd.Series, problems: Problems) -> np.ndarray:
    given, levels = level_codes(values)
    if column.kind == "true/false":
        number: dict[str, float] = {**TRUTHS, "1": 1, "0": 0}
        known, levels = "true and false, yes and no", [level.lower() for level in levels]
    else:
        number = {level: float(k) for k, level in enumerate(column.levels)}
        known = f"its levels {listed(column.levels)}"
    strange = [level for level in levels if level not in number]
    problems.check(
        not strange,
        f"column {column.name!r} has {listed(strange, 3)}; give one of {known}, count it as missing, or "
        f"prepare the column as categories=[{column.name!r}]",
    )
    return np.array([*(number.get(level, np.nan) for level in levels), np.nan])[given]


def _days(column: Column, table: pd.DataFrame, place: np.ndarray, problems: Problems) -> np.ndarray:
    own = days(table[column.name], problems)
    if column.reference == FIRST:
        return own - np.array(column.first)[place]
    day = day_of(column.reference)
    return own - (days(table[column.reference], problems) if day is None else day)
