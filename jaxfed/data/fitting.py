"""How columns become features, from counts that hospitals share of their training rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems
from jaxfed.data.encoding import FIRST, Column, Kind, days, level_codes
from jaxfed.data.notices import Notices
from jaxfed.data.settings import Settings

MOST = 200  # levels of a category that become features
REST = ("other", "unseen")


def fit_column(
    values: pd.Series, kind: Kind, rows: Dataset, settings: Settings, problems: Problems, notices: Notices
) -> Column:
    """One column, from its training rows.

    Args:
        values: ``[N]`` of all rows, in the order of ``rows``, with NaN for missing values.
        kind: of the column.
        rows: which rows are of which hospital and part.
        settings: what was asked for.
        problems: receives what cannot be used.
        notices: receives what deserves a second look.
    """
    name = str(values.name)
    train = rows.split == TRAIN
    lacking = int(values[train].isna().sum())
    problems.check(
        lacking < train.sum(),
        f"column {name!r} has no value in training rows; leave it out with drop=[{name!r}]",
    )
    if kind == "category":
        return _category(values, rows, settings, lacking, problems, notices)
    if kind == "date":
        return _date(values, rows, settings.dates[name], lacking, problems)
    levels = settings.ordinal.get(name, ())
    return Column(name, kind, levels=levels, lacking=lacking)


def _category(
    values: pd.Series, rows: Dataset, settings: Settings, lacking: int, problems: Problems, notices: Notices
) -> Column:
    name, train = str(values.name), rows.split == TRAIN
    code, levels = level_codes(values[train])
    known = code >= 0
    counts = np.zeros((len(rows), len(levels)), np.int64)  # what each hospital shares
    np.add.at(counts, (rows.owner[train][known], code[known]), 1)
    counts[rows.counts[:, TRAIN] < settings.sharing] = 0
    total = counts.sum(axis=0)
    given = settings.categories.get(name)
    frequent = [level for level, n in zip(levels, total, strict=True) if n >= settings.min_count]
    kept = frequent if given is None else list(given)
    rare = not set(levels) <= set(kept)
    problems.check(
        len(kept) <= MOST,
        f"column {name!r} has {len(kept)} levels in {settings.min_count} or more training rows; raise "
        f"min_count=, name the levels that matter, categories={{{name!r}: [...]}}, or leave it out, "
        f"drop=[{name!r}]",
    )
    if len(kept) < 2 and not (kept and rare):
        few = f"only the level {kept[0]!r}" if kept else f"no level in {settings.min_count} training rows"
        notices.add(f"column {name!r} has {few}, and tells nothing; leave it out, drop=[{name!r}]")
    rest = REST[0] if rare else REST[1]
    while rest in kept:
        rest += " level"
    flagged = bool(lacking) and settings.masks
    fill: tuple[str, ...] = ()
    if settings.method(name, "category") is not None and total.any():
        fill = _modes(levels, counts, settings.local)
    return Column(name, "category", tuple(kept), rest, flagged, fill, lacking=lacking)


def _modes(levels: list[str], counts: np.ndarray, local: bool) -> tuple[str, ...]:
    """The most frequent level of all hospitals or, ``local``, of each that has any; the first of equals."""
    everyone = levels[counts.sum(axis=0).argmax()]
    if not local:
        return (everyone,)
    return tuple(levels[own.argmax()] if own.any() else everyone for own in counts)


def _date(values: pd.Series, rows: Dataset, reference: str, lacking: int, problems: Problems) -> Column:
    name = str(values.name)
    if reference != FIRST:
        return Column(name, "date", reference=reference, lacking=lacking)
    own = days(values, problems)
    first = []
    for c, hospital in enumerate(rows.hospitals):
        mine = own[(rows.split == TRAIN) & (rows.owner == c)]
        known = mine[np.isfinite(mine)]
        problems.hospital(hospital).check(
            bool(len(known)) or not rows.size[c],
            f"column {name!r} has no date in training rows to count from; give "
            f"dates={{{name!r}: '2020-01-01'}}, or the name of another column with a date",
        )
        first.append(float(known.min()) if len(known) else np.nan)
    return Column(name, "date", reference=FIRST, first=tuple(first), lacking=lacking)
