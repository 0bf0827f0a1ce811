"""A table with categories, dates and missing values as a dataset: encoded, imputed and scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, listed, spelled
from jaxfed.core.task import Task
from jaxfed.data.encoding import Encoding
from jaxfed.data.fitted import encoded, fitted
from jaxfed.data.frame import choose, column_of, gather_rows, owners_of, sequence
from jaxfed.data.lookalikes import notice_columns
from jaxfed.data.notices import Notices
from jaxfed.data.outcomes import outcome_columns, outcome_of
from jaxfed.data.precision import narrow
from jaxfed.data.preparation import apply_step, check_hospitals
from jaxfed.data.settings import settings_of
from jaxfed.data.splits import Split


@spelled
def prepare(
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
    task: Task | str | None = None,
    classes: Sequence[Any] | None = None,
    name: str = "table",
    categories: Sequence[str] | Mapping[str, Sequence[Any] | None] = (),
    ordinal: Mapping[str, Sequence[Any]] | None = None,
    dates: Mapping[str, str] | None = None,
    impute: str | Mapping[str, str] | None = "median",
    masks: bool = True,
    winsorise: tuple[float, float] | None = None,
    scale: str = "standard",
    how: str = "federated",
    min_count: int = 5,
    min_rows: int | None = None,
    like: Dataset | None = None,
) -> Dataset:
    """:func:`~jaxfed.data.frame.from_frame` for a table whose columns are not all complete numbers.

    The rows are split first; everything is then fitted to training rows only, from counts, sums and
    histograms that hospitals can add up, so that the numbers are those of the pooled training rows. They are
    kept in ``Dataset.steps`` and saved with a run: :meth:`jaxfed.Run.predict` takes the table of new patients
    as it is, and so does ``prepare(new, like=hospitals)``. What was done to each column is told by
    :func:`~jaxfed.data.preparation_report.preparation_report`.

    In this order:

    * Text, and the columns in ``categories``, are one-hot: a feature ``sex=female`` for each level that has
      ``min_count`` training rows in all hospitals together. Rarer levels share ``sex=other``, and so do
      levels that training rows never had; without rare levels these are ``sex=unseen``, 0 in all training
      rows. A missing category is a level too, ``sex missing``, if training rows have any.
    * Columns in ``ordinal`` become 0, 1, ...; text that means true and false (yes and no) 1 and 0; columns in
      ``dates`` a number of days.
    * Numbers and dates are winsorised if ``winsorise`` is given. Then missing values are imputed, with a
      feature ``bmi missing`` of flags. Then numbers, dates and ordinals are scaled; other features are 0 and
      1.

    Args:
        df, hospital, label, time, event, features, drop, patient, row_weights, split, seed, missing, task,
            classes, name: as in :func:`~jaxfed.data.frame.from_frame`; the codes ``missing`` are looked for
            in all columns.
        categories: further columns that are one-hot, such as numbers that are codes (a pandas category of
            numbers is one without being named); or ``{column: levels}``
            with the levels that get a feature, None for those that are frequent enough.
        ordinal: ``{column: levels}`` from low to high; None for the columns whose pandas type is ordered.
        dates: ``{column: reference}``: days are counted from another column (``{"discharged": "admitted"}``),
            from a day (``"2020-01-31"``), or from the ``"first"`` day in the hospital's training rows.
        impute: ``"median"``, ``"mean"``, ``"most_frequent"`` or ``"zero"`` in place of missing values (always
            ``"most_frequent"`` for true/false); or ``{column: method}`` for some columns, the others get the
            median. ``"most_frequent"`` is for categories as well. None refuses missing values, but of
            categories, where they are a level.
        masks: add a feature ``bmi missing`` for each column that has missing values in training rows. Without
            them a missing category is imputed.
        winsorise: two quantiles, as ``(0.01, 0.99)``: values beyond them are set to them.
        scale: ``"standard"``: to mean 0 and standard deviation 1; ``"robust"``: by the median and the
            interquartile range; ``"none"``.
        how: ``"federated"``: the same numbers for everyone; ``"local"``: each hospital imputes, winsorises
            and scales with numbers of its own. Levels are those of all hospitals in any case.
        min_count: see above; a level that fewer patients have is told to nobody.
        min_rows: hospitals with fewer training rows share nothing (default 1) or, with ``"local"``, use the
            federated numbers (default 10).
        like: data that were prepared before: the columns and all numbers are theirs.

    Raises:
        InvalidInput: columns that cannot be used as they are, with what to type, and all that ``from_frame``
            refuses.

    Warns:
        DataWarning: a column that a hospital does not have at all, and all that ``from_frame`` warns of.

    >>> import pandas as pd
    >>> df = pd.DataFrame({"site": ["n", "s"] * 4, "sex": ["f", "f", "m", "m"] * 2, "died": [0, 1, 1, 0] * 2})
    >>> prepare(df.assign(age=range(8)), split=None, min_count=2).features
    ('sex=f', 'sex=m', 'sex=unseen', 'age')
    """
    problems, notices = Problems("prepare"), Notices("prepare")
    missing = sequence("missing", missing, problems)
    known = None if like is None else _encoding_of(like, features, drop, problems)
    dropped = sequence("drop", drop, problems)
    outcome = outcome_columns(label, time, event, task, problems)
    roles = {
        "hospital": hospital, **outcome, "split": column_of(split), "patient": patient,
        "row_weights": row_weights,
    }  # fmt: skip
    if known is not None:
        written = {str(column): column for column in getattr(df, "columns", ())}
        features, dropped = [written.get(name, name) for name in known.inputs], []
    chosen = choose("prepare", df, roles, features, dropped, problems)
    problems.raise_if_any()
    settings = settings_of(
        [str(column) for column in chosen],
        [str(column) for column in df],
        categories=_with_codes(df[chosen], categories, [*(ordinal or ()), *(dates or ())]),
        ordinal=_ordered(df[chosen], [*categories, *(dates or ())]) if ordinal is None else ordinal,
        dates=dates,
        impute=impute,
        masks=masks,
        winsorise=winsorise,
        scale=scale,
        how=how,
        min_count=min_count,
        min_rows=min_rows,
        problems=problems,
    )
    problems.raise_if_any()
    owners = owners_of(df, hospital, patient, problems)
    problems.raise_if_any()
    if like is not None:
        task, classes = task or like.task, classes if classes is not None else like.classes or None
    y, task, classes = outcome_of(df, outcome, missing, task, classes, problems)
    problems.raise_if_any()
    rows, more = gather_rows(
        "prepare",
        df,
        owners,
        np.arange(len(df))[:, None],
        y,
        split=split,
        seed=seed,
        task=task,
        classes=classes,
        features=["row"],
        impute=None,
        name=name,
        row_weights=row_weights,
    )
    # The rows are in the order of the hospitals now.
    table = df.set_axis([str(column) for column in df], axis=1).iloc[rows.x[:, 0]].reset_index(drop=True)
    if like is not None and known is not None:
        data = _like(rows, table, known, like, problems)
    else:
        names = [str(column) for column in chosen]
        data = fitted(rows, table, names, missing, settings, problems, notices)
        notice_columns(df[chosen], patient, notices)
    x = narrow(data.x, lambda j: f"feature {data.features[j]!r}", problems, notices)
    problems.raise_if_any()
    notices.emit()
    more.emit()
    return data.replace(x=x)


def _encoding_of(
    like: Dataset, features: Sequence[str] | None, drop: Sequence[str], problems: Problems
) -> Encoding | None:
    """How the columns of other data were encoded."""
    problems.check(
        features is None and not len(drop), "features and drop: they come from like=; leave them out"
    )
    steps = like.steps if isinstance(like, Dataset) else ()
    if steps and isinstance(steps[0], Encoding):
        return steps[0]
    problems.add("like: these data were not made by prepare; use from_frame and jaxfed.data.transform_like")
    return None


def _like(
    rows: Dataset, table: pd.DataFrame, encoding: Encoding, like: Dataset, problems: Problems
) -> Dataset:
    """The rows with features made as those of ``like``."""
    check_hospitals(rows.hospitals, like.steps, problems)
    problems.raise_if_any()
    data = encoded(rows, table, encoding, problems)
    problems.raise_if_any()
    for step in like.steps[1:]:
        data = apply_step(data, step)
    lacking = [data.features[j] for j in np.flatnonzero(~np.isfinite(data.x).all(axis=0))]
    problems.check(
        not lacking,
        f"{listed(lacking)} have missing values, and the other data were prepared with impute=None; drop "
        "these rows, or prepare the other data with impute='median'",
    )
    return data.replace(steps=like.steps)


def _with_codes(
    table: pd.DataFrame, categories: Sequence[str] | Mapping[str, Sequence[Any] | None], others: Sequence[Any]
) -> Sequence[str] | Mapping[str, Sequence[Any] | None]:
    """``categories`` with the columns, but for ``others``, that are numbers of a pandas category."""
    if isinstance(categories, str):
        return categories
    codes = [
        str(name)
        for name, kind in table.dtypes.items()
        if isinstance(kind, pd.CategoricalDtype) and not kind.ordered and name not in (*categories, *others)
        and pd.api.types.is_numeric_dtype(kind.categories.dtype)
        and not pd.api.types.is_bool_dtype(kind.categories.dtype)
    ]  # fmt: skip
    if isinstance(categories, Mapping):
        return {**categories, **dict.fromkeys(codes)}
    return [*categories, *codes] if codes else categories


def _ordered(table: pd.DataFrame, others: Sequence[Any]) -> dict[str, list[Any]]:
    """The levels of columns whose type says that they are ordered, but for ``others``."""
    kinds = {str(name): table[name].dtype for name in table.columns if name not in others}
    return {
        name: list(kind.categories)
        for name, kind in kinds.items()
        if isinstance(kind, pd.CategoricalDtype) and kind.ordered
    }
