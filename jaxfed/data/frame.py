"""From one table with a hospital column, as hospitals' exports come, to a checked dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean, listed
from jaxfed.core.task import Task
from jaxfed.data.arrays import gather
from jaxfed.data.columns import as_numbers, codes_of, numeric_text, without_codes
from jaxfed.data.convert import numeric
from jaxfed.data.ids import as_text
from jaxfed.data.lookalikes import notice_columns, notice_rows
from jaxfed.data.notices import Notices
from jaxfed.data.row_weights import weigh_rows
from jaxfed.data.splits import Split, part_numbers


def from_frame(
    df: pd.DataFrame,
    *,
    hospital: str = "site",
    label: str = "died",
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    patient: str | None = None,
    row_weights: str | None = None,
    split: Split | str = (0.7, 0.1, 0.2),
    seed: int = 0,
    missing: Sequence[Any] = (),
    impute: str | None = None,
    task: Task | str | None = None,
    classes: Sequence[Any] | None = None,
    name: str = "table",
) -> Dataset:
    """One row per patient, or per visit; hospitals in the order of their first row.

    Args:
        df: the table (:func:`~jaxfed.data.reading.read_table`, ``pd.read_csv``, ``pd.read_parquet``).
        hospital: column that says whose row it is. Ids are text as written: ``007`` is not ``7``.
        label: column to predict: class numbers, text with ``classes``, or reals for regression.
        features: columns to learn from; None: all other columns, which must then be numbers.
        drop: columns to leave out, where ``features`` is None.
        patient: column that says whose row it is where a patient has several: all of them go to one part
            of the split, in all hospitals.
        row_weights: column of weights for the training loss; see
            :func:`~jaxfed.data.row_weights.weigh_rows`.
        split: as in :func:`~jaxfed.data.arrays.from_arrays` (a mapping is in the order of each
            hospital's rows), or the name of a column with 0/1/2 or train/validation/test.
        seed: of the split.
        missing: codes that stand for a missing value, such as ``["?", -9]``.
        impute: ``"mean"``, ``"median"``, ``"zero"`` or ``"flag"`` for missing values, a column that
            a hospital does not have among them; None refuses them. See
            :func:`~jaxfed.data.missing.impute`.
        task: ``"binary"``, ``"multiclass"``, ``"regression"`` or a :class:`jaxfed.Task`; by default
            from the labels.
        classes: names of the classes in the order of their numbers; where all are numbers, the values
            that the labels have. Of two the last is the positive one.
        name: what the data are called.

    Raises:
        InvalidInput: columns that are absent or no numbers, rows without hospital, and all that
            ``from_arrays`` refuses.

    Warns:
        DataWarning: columns that look like ids, rows that occur twice, hospitals that look like one, and all
            that ``from_arrays`` warns of.

    >>> import pandas as pd
    >>> df = pd.DataFrame({"site": [1, 1, 2, 2], "age": [70, 60, 50, 40], "died": [1, 0, 1, 0]})
    >>> from_frame(df, split=None).rows("2")[0].ravel()
    array([50., 40.], dtype=float32)
    """
    problems, notices = Problems("from_frame"), Notices("from_frame")
    if not isinstance(df, pd.DataFrame) or not len(df):
        raise InvalidInput(f"from_frame: got {type(df).__name__} without rows; give a pandas DataFrame")
    part = split if isinstance(split, str) else None
    roles = {
        "hospital": hospital, "label": label, "split": part, "patient": patient, "row_weights": row_weights
    }  # fmt: skip
    missing = _sequence("missing", missing, problems)
    chosen = _choose(df, roles, features, _sequence("drop", drop, problems), problems)
    problems.raise_if_any()
    ids = as_text(df[hospital], hospital, problems)
    patients = None if patient is None else as_text(df[patient], patient, problems)
    table = df[chosen].set_axis([str(column) for column in chosen], axis=1)
    table = as_numbers(table, missing, problems, notices)
    problems.raise_if_any()
    code, names = pd.factorize(ids)
    rows = {names[c]: own for c, own in enumerate(_rows_of(code, len(names)))}
    if part is not None:
        numbers = part_numbers(df[part], f"column {part!r}: ", problems)
        problems.raise_if_any()
        parts: Split = {key: numbers[own] for key, own in rows.items()}
    else:
        parts = split if not isinstance(split, str) else None
    # Columns of a table are measurements, so that whole numbers among them are floats as well.
    x = numeric(table).astype(np.float64)
    y = numeric_text(*without_codes(df[label], *codes_of(missing)))
    pairs = {key: (x[own], y.iloc[own]) for key, own in rows.items()}
    dataset, more = gather(
        "from_frame",
        pairs,
        parts,
        seed,
        task,
        classes,
        list(table.columns),
        impute,
        name,
        patients=None if patients is None else {key: patients[own] for key, own in rows.items()},
    )
    if row_weights is not None:
        given = pd.to_numeric(df[row_weights], errors="coerce").to_numpy(float)
        dataset = weigh_rows(dataset, {key: given[own] for key, own in rows.items()})
    notice_columns(df[chosen], patient, notices)
    notice_rows(x, code, [*names], patients, notices)
    notices.emit()
    more.emit()
    return dataset


def _rows_of(code: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows of each of ``count`` hospitals, in the table's order."""
    return np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code, minlength=count))[:-1])


def _sequence(argument: str, given: Any, problems: Problems) -> list[Any]:
    if isinstance(given, str) or not np.iterable(given):
        problems.add(f"{argument}={given!r}: give a list, as [{given!r}]")
        return []
    return list(given)


def _choose(
    df: pd.DataFrame,
    roles: dict[str, str | None],
    features: Sequence[str] | None,
    drop: Sequence[str],
    problems: Problems,
) -> list[Any]:
    """The feature columns, and whether all named columns are there."""
    columns = list(df.columns)
    names = [str(column) for column in columns]
    twice = sorted({n for n in names if names.count(n) > 1})
    problems.check(not twice, f"columns given twice: {listed(twice)}; rename them")
    used = {role: column for role, column in roles.items() if column is not None}
    named = [*used.items(), *(("drop", column) for column in drop)]
    if not isinstance(features, (str, type(None))):
        named += [("feature", column) for column in features]
    for role, column in named:
        if column not in columns:
            hint = (
                "; it is the only column: read the file with the sep= that it has" if len(names) == 1 else ""
            )
            problems.add(f"no {role} column {column!r}; {did_you_mean(column, names)}{hint}")
    both = [role for role in used if list(used.values()).count(used[role]) > 1]
    if both:
        problems.add(f"column {used[both[0]]!r} is given as {' and as '.join(both)}; give different columns")
    if features is None:
        rest = [column for column in columns if column not in (*used.values(), *drop)]
        problems.check(bool(rest) or problems.count > 0, "no columns are left to learn from; add features")
        return rest
    if isinstance(features, (str, set, frozenset)):
        names = [features] if isinstance(features, str) else sorted(map(str, features))
        problems.add(f"features={features!r}: give a list of columns, as {names}")
        return []
    problems.check(not drop, "features and drop: give one of them")
    for column in features:
        problems.check(
            column not in used.values(),
            f"feature {column!r} is also the hospital, label, patient or split; leave it out of features",
        )
    problems.check(bool(len(features)), "features is empty; name at least one column")
    return list(features)
