"""Rows of a table with features: columns are encoded, winsorised, imputed and scaled, in this order.

All numbers are fitted to training rows; other rows only receive them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems, listed
from jaxfed.data.columns import codes_of
from jaxfed.data.encoding import Encoding, cleaned
from jaxfed.data.fitting import fit_column
from jaxfed.data.kinds import kinds_of
from jaxfed.data.lookalikes import notice_rows
from jaxfed.data.missing import impute_columns
from jaxfed.data.notices import Notices
from jaxfed.data.scaling import standardize
from jaxfed.data.settings import Settings
from jaxfed.data.winsorising import winsorise


def fitted(
    rows: Dataset,
    table: pd.DataFrame,
    names: list[str],
    missing: Sequence[Any],
    settings: Settings,
    problems: Problems,
    notices: Notices,
) -> Dataset:
    """The rows with features of the columns ``names``, fitted to training rows."""
    codes = tuple(sorted(codes_of(missing)[0]))
    clean = cleaned(table[names], codes)
    train = rows.split == TRAIN
    kinds = kinds_of(clean[train], settings, problems)
    problems.raise_if_any()
    columns = tuple(fit_column(clean[name], kinds[name], rows, settings, problems, notices) for name in names)
    problems.raise_if_any()
    own = any(len(column.fill) > 1 or column.first for column in columns)
    encoding = Encoding(columns, codes, rows.hospitals if own else (), int(train.sum()))
    data = encoded(rows, table, encoding, problems)
    bad = ~np.isfinite(data.x)
    single = {column.features[0]: column for column in columns if column.kind != "category"}
    methods = [
        settings.method(single[feature].name, single[feature].kind) if feature in single else None
        for feature in data.features
    ]
    for j in np.flatnonzero(bad.any(0)):
        problems.check(
            methods[j] is not None,
            f"column {single[data.features[j]].name!r} has {bad[:, j].sum()} missing values; pass "
            "impute='median' (or 'mean', 'most_frequent', 'zero'), or drop these rows",
        )
    problems.raise_if_any()
    _notice_lacking(rows, clean, settings.masks, notices)
    notice_rows(_codes(clean), rows.owner, rows.hospitals, rows.patients, notices)
    scaled = [name for name, column in single.items() if column.kind != "true/false"]
    how, least = "local" if settings.local else "federated", settings.min_rows
    measured = [name for name in scaled if single[name].kind != "ordinal"]
    if settings.winsorise is not None and measured:
        data = winsorise(data, settings.winsorise, how, min_rows=least, columns=measured)
    if settings.default is not None:
        flagged = np.flatnonzero(bad[train].any(0)).tolist() if settings.masks else []
        data = impute_columns(data, methods, flagged, settings.local, least)
    if settings.scale != "none" and scaled:
        data = standardize(data, how, min_rows=least, robust=settings.scale == "robust", columns=scaled)
    twice = sorted({name for name in data.features if data.features.count(name) > 1})
    problems.check(not twice, f"two features would be called {listed(twice)}; rename a column")
    return data


def encoded(rows: Dataset, table: pd.DataFrame, encoding: Encoding, problems: Problems) -> Dataset:
    """The rows with the features that their columns become; raises what is wrong with these."""
    owners = np.array(rows.hospitals, object)[rows.owner]
    x = encoding.encode(table, owners, problems)
    problems.raise_if_any()
    return rows.replace(x=x, features=encoding.features, steps=(encoding,))


def _codes(table: pd.DataFrame) -> np.ndarray:
    """``[n, d]`` numbers of the different values of each column, NaN if missing."""
    codes = np.column_stack([pd.factorize(table[name])[0] for name in table.columns]).astype(float)
    return np.where(codes < 0, np.nan, codes)


def _notice_lacking(rows: Dataset, table: pd.DataFrame, masks: bool, notices: Notices) -> None:
    """Notices of columns that a hospital does not have at all."""
    known = np.zeros((len(rows), len(table.columns)), np.int64)
    np.add.at(known, rows.owner, table.notna().to_numpy())
    lacks = (known == 0) & (rows.size > 0)[:, None]
    names = [str(name) for name in table.columns[lacks.any(0)]]
    how = "and flagged" if masks else "with the values of other hospitals; masks=True tells the model so"
    for c in np.flatnonzero(lacks.any(1)):
        notices.add(f"{listed(names)} are not measured everywhere; they are imputed {how}", rows.hospitals[c])
