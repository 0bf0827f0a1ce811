"""From one table with a hospital column, as hospitals' exports come, to a checked dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.data.arrays import gather
from jaxfed.data.convert import not_numeric, numeric
from jaxfed.data.notices import Notices, did_you_mean, listed
from jaxfed.data.splits import Split, part_numbers


def from_frame(
    df: pd.DataFrame,
    *,
    hospital: str = "site",
    label: str = "died",
    features: Sequence[str] | None = None,
    split: Split | str = (0.7, 0.1, 0.2),
    seed: int = 0,
    impute: str | None = None,
    task: str | None = None,
    classes: Sequence[Any] | None = None,
    name: str = "table",
) -> Dataset:
    """One row per patient; hospitals in the order of their first row.

    Args:
        df: the table (``pd.read_csv``, ``pd.read_parquet``).
        hospital: column that says whose row it is.
        label: column to predict: class numbers, text with ``classes``, or reals for regression.
        features: columns to learn from; None: all other columns, which must then be numbers.
        split: as in :func:`~jaxfed.data.arrays.from_arrays` (a mapping is in the order of each
            hospital's rows), or the name of a column with 0/1/2 or train/validation/test.
        seed: of the split.
        impute: ``"mean"``, ``"median"``, ``"zero"`` or ``"flag"`` for missing values, a column that
            a hospital does not have among them; None refuses them. See
            :func:`~jaxfed.data.missing.impute`.
        task: ``"binary"``, ``"multiclass"`` or ``"regression"``; by default from the labels.
        classes: names of the classes in the order of their numbers.
        name: what the data are called.

    Raises:
        InvalidInput: columns that are absent or no numbers, rows without hospital, and all that
            ``from_arrays`` refuses.

    Warns:
        DataWarning: columns that look like ids, rows that occur in two hospitals, and all that
            ``from_arrays`` warns of.

    >>> import pandas as pd
    >>> df = pd.DataFrame({"site": [1, 1, 2, 2], "age": [70, 60, 50, 40], "died": [1, 0, 1, 0]})
    >>> from_frame(df, split=None).rows("2")[0].ravel()
    array([50., 40.], dtype=float32)
    """
    problems = Problems("from_frame")
    if not isinstance(df, pd.DataFrame) or not len(df):
        raise InvalidInput(f"from_frame: got {type(df).__name__} without rows; give a pandas DataFrame")
    part = split if isinstance(split, str) else None
    chosen = _choose(df, hospital, label, features, part, problems)
    problems.raise_if_any()
    text = not_numeric(df[chosen])
    problems.check(
        not text,
        f"columns {listed(text)} are not numbers; one-hot them (pd.get_dummies) or leave them out "
        "with features=",
    )
    blank = int(df[hospital].isna().sum())
    problems.check(not blank, f"column {hospital!r} is missing in {blank} rows; drop these rows")
    problems.raise_if_any()
    table = df[chosen].set_axis([str(column) for column in chosen], axis=1)
    code, ids = pd.factorize(_whole(df[hospital]))
    rows = {str(ids[c]): np.flatnonzero(code == c) for c in range(len(ids))}
    if part is not None:
        numbers = part_numbers(df[part], f"column {part!r}: ", problems)
        problems.raise_if_any()
        parts: Split = {key: numbers[own] for key, own in rows.items()}
    else:
        parts = split if not isinstance(split, str) else None
    # Columns of a table are measurements, so that whole numbers among them are floats as well.
    x = numeric(table).astype(np.float64)
    pairs = {key: (x[own], df[label].iloc[own]) for key, own in rows.items()}
    dataset, notices = gather(
        "from_frame", pairs, parts, seed, task, classes, list(table.columns), impute, name
    )
    _notice_ids(table, notices)
    _notice_twins(x, df[label], code, ids, notices)
    notices.emit()
    return dataset


def _choose(
    df: pd.DataFrame,
    hospital: str,
    label: str,
    features: Sequence[str] | None,
    part: str | None,
    problems: Problems,
) -> list[Any]:
    """The feature columns, and whether all named columns are there."""
    columns = list(df.columns)
    names = [str(column) for column in columns]
    twice = sorted({n for n in names if names.count(n) > 1})
    problems.check(not twice, f"columns given twice: {listed(twice)}; rename them")
    roles = {"hospital": hospital, "label": label} | ({"split": part} if part is not None else {})
    for role, column in roles.items():
        if column not in columns:
            problems.add(f"no {role} column {column!r}; {did_you_mean(column, names)}")
    if features is None:
        rest = [column for column in columns if column not in roles.values()]
        problems.check(bool(rest), "no columns are left to learn from; add features")
        return rest
    if isinstance(features, str):
        problems.add(f"features={features!r}: give a list of columns, as [{features!r}]")
        return []
    for column in features:
        if column not in columns:
            problems.add(f"no feature column {column!r}; {did_you_mean(column, names)}")
        problems.check(
            column not in roles.values(), f"feature {column!r} is also the hospital, label or split"
        )
    problems.check(bool(len(features)), "features is empty; name at least one column")
    return list(features)


def _whole(ids: pd.Series) -> pd.Series:
    """Hospital ids that became floats in a file with gaps, back as whole numbers."""
    if ids.dtype.kind == "f" and bool((ids == ids.round()).all()) and float(ids.abs().max()) < 2**53:
        return ids.astype(np.int64)
    return ids


def _notice_ids(table: pd.DataFrame, notices: Notices) -> None:
    alike = []
    for column in table.columns:
        values = table[column]
        # Whole numbers, each once, over a range no measurement of so few people would fill.
        if pd.api.types.is_integer_dtype(values.dtype) and len(values) >= 20 and values.is_unique:
            alike.append(str(column))
    if alike:
        notices.add(
            f"columns {listed(alike)} differ in every row and look like ids; leave them out with features="
        )


def _notice_twins(x: np.ndarray, label: pd.Series, code: np.ndarray, ids: pd.Index, notices: Notices) -> None:
    row = pd.util.hash_pandas_object(pd.DataFrame(x), index=False).to_numpy()
    row = row ^ pd.util.hash_pandas_object(label, index=False).to_numpy()
    # A table of a few coarse columns repeats its rows by chance.
    if len(np.unique(row)) < 0.5 * len(row):
        return
    seen = pd.DataFrame({"row": row, "site": code}).drop_duplicates()
    shared = seen[seen.duplicated("row", keep=False)]
    if len(shared):
        sites = [str(ids[c]) for c in sorted(shared["site"].unique())]
        notices.add(
            f"{shared['row'].nunique()} rows occur in two or more of the hospitals "
            f"{listed(sites)}: the same patients? then train and test rows are not independent"
        )
