"""From one table with a hospital column, as hospitals' exports come, to a checked dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean, listed
from jaxfed.core.task import Task
from jaxfed.data.arrays import gather
from jaxfed.data.columns import as_numbers, as_written
from jaxfed.data.convert import numeric
from jaxfed.data.ids import as_text
from jaxfed.data.lookalikes import notice_columns, notice_rows
from jaxfed.data.notices import Notices
from jaxfed.data.outcomes import outcome_columns, outcome_of
from jaxfed.data.row_weights import weigh_rows
from jaxfed.data.splits import Split, part_numbers


def from_frame(
    df: pd.DataFrame,
    *,
    hospital: str = "site",
    label: str | Sequence[str] = "died",
    time: str | None = None,
    event: str | None = None,
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
        label: column to predict: class numbers, text with ``classes``, or reals for regression; or a list of
            columns with 0 and 1, several outcomes at once (:func:`jaxfed.evaluation.multilabel`), of which
            missing ones are unknown.
        time: column of the time until the event, or until the patient was last seen, instead of ``label``.
        event: column that says which: 1 (or true) for an event. Other values are named by ``classes``, the
            event last.
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
        task: ``"binary"``, ``"multiclass"``, ``"regression"``, ``"survival"``, ``"survival-efron"`` or a
            :class:`jaxfed.Task` such as :func:`jaxfed.evaluation.discrete_hazard`; by default
            ``"survival"`` with ``time``, and else from the labels.
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
    missing = sequence("missing", missing, problems)
    outcome = outcome_columns(label, time, event, task, problems)
    roles = {
        "hospital": hospital, **outcome, "split": column_of(split), "patient": patient,
        "row_weights": row_weights,
    }  # fmt: skip
    chosen = choose("from_frame", df, roles, features, sequence("drop", drop, problems), problems)
    problems.raise_if_any()
    owners = owners_of(df, hospital, patient, problems)
    table = df[chosen].set_axis([str(column) for column in chosen], axis=1)
    table = as_numbers(table, missing, problems, notices)
    y, task, classes = outcome_of(df, outcome, missing, task, classes, problems)
    problems.raise_if_any()
    # Columns of a table are measurements, so that whole numbers among them are floats as well.
    x = numeric(table).astype(np.float64)
    dataset, more = gather_rows(
        "from_frame",
        df,
        owners,
        x,
        y,
        split=split,
        seed=seed,
        task=task,
        classes=classes,
        features=list(table.columns),
        impute=impute,
        name=name,
        row_weights=row_weights,
    )
    codes = tuple(as_written(code) for code in missing)
    dataset = dataset.replace(steps=tuple(dataclasses.replace(step, missing=codes) for step in dataset.steps))
    notice_columns(df[chosen], patient, notices)
    notice_rows(x, owners.code, owners.names, owners.patients, notices)
    notices.emit()
    more.emit()
    return dataset


@dataclasses.dataclass(frozen=True)
class Owners:
    """Whose row each row of a table is.

    Attributes:
        code: ``[n]`` numbers of the hospitals.
        names: the hospitals, in the order of their first rows.
        patients: ``[n]`` ids, or None.
    """

    code: np.ndarray
    names: list[str]
    patients: np.ndarray | None

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """``{hospital: [rows]}``, in the table's order."""
        order = np.argsort(self.code, kind="stable")
        sizes = np.bincount(self.code, minlength=len(self.names))
        return dict(zip(self.names, np.split(order, np.cumsum(sizes)[:-1]), strict=True))


def owners_of(df: pd.DataFrame, hospital: str, patient: str | None, problems: Problems) -> Owners:
    """Whose row each row is; what cannot be said goes to ``problems``."""
    ids = as_text(df[hospital], hospital, problems)
    patients = None if patient is None else as_text(df[patient], patient, problems)
    code, names = pd.factorize(ids)
    return Owners(code, [*names], patients)


def column_of(split: Split | str) -> str | None:
    """The column that says which part of the split a row is in, if that is how it is given."""
    return split if isinstance(split, str) else None


def gather_rows(
    where: str,
    df: pd.DataFrame,
    owners: Owners,
    x: np.ndarray,
    y: pd.Series | pd.DataFrame,
    *,
    split: Split | str,
    seed: int,
    task: Task | str | None,
    classes: Sequence[Any] | None,
    features: list[str],
    impute: str | None,
    name: str,
    row_weights: str | None,
) -> tuple[Dataset, Notices]:
    """The dataset of a table's rows with features ``x [n, d]`` and labels ``y [n]``, hospital by hospital.

    Errors start with ``where``; other arguments are as in :func:`from_frame`.
    """
    problems, part, rows = Problems(where), column_of(split), owners.rows
    if part is not None:
        numbers = part_numbers(df[part], f"column {part!r}: ", problems)
        problems.raise_if_any()
        parts: Split = {key: numbers[own] for key, own in rows.items()}
    else:
        parts = split if not isinstance(split, str) else None
    pairs = {key: (x[own], y.iloc[own]) for key, own in rows.items()}
    patients = owners.patients
    ids = None if patients is None else {key: patients[own] for key, own in rows.items()}
    dataset, notices = gather(where, pairs, parts, seed, task, classes, features, impute, name, patients=ids)
    if row_weights is not None:
        given = pd.to_numeric(df[row_weights], errors="coerce").to_numpy(float)
        dataset = weigh_rows(dataset, {key: given[own] for key, own in rows.items()})
    return dataset, notices


def sequence(argument: str, given: Any, problems: Problems) -> list[Any]:
    """The list that was given for an argument."""
    if isinstance(given, str) or not np.iterable(given):
        problems.add(f"{argument}={given!r}: give a list, as [{given!r}]")
        return []
    return list(given)


def choose(
    where: str,
    df: pd.DataFrame,
    roles: dict[str, str | None],
    features: Sequence[str] | None,
    drop: Sequence[str],
    problems: Problems,
) -> list[Any]:
    """The feature columns; records named columns that are not there.

    Raises:
        InvalidInput: ``df`` is no table with rows.
    """
    if not isinstance(df, pd.DataFrame) or not len(df):
        raise InvalidInput(f"{where}: got {type(df).__name__} without rows; give a pandas DataFrame")
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
    again = sorted({str(column) for column in features if list(features).count(column) > 1})
    problems.check(not again, f"features has {listed(again)} twice; give each column once")
    for column in features:
        problems.check(
            column not in used.values(),
            f"feature {column!r} is also the hospital, label, time, event, patient or split; leave it out of "
            "features",
        )
    problems.check(bool(len(features)), "features is empty; name at least one column")
    return list(features)
