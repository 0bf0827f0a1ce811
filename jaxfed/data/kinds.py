"""What the columns of a table hold: numbers, true/false, dates, ordered levels or categories."""

from __future__ import annotations

import pandas as pd

from jaxfed.core.errors import Problems, listed
from jaxfed.data.columns import FEW, REMEDIES, is_number, kind_of, parses, plain_numbers
from jaxfed.data.encoding import Kind, level_codes
from jaxfed.data.settings import Settings

PAIRS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
FREE = 50  # more different texts, most of them in few rows, are ids or free text
HINTS = {
    **REMEDIES,
    "dates": "say what days are counted from, dates={first!r} or another column, or leave them out with "
    "drop={columns}",
    "numbers as text": "turn them into numbers, df[column] = pd.to_numeric(df[column]), or, if they are "
    "codes, pass categories={columns}",
}


def kinds_of(table: pd.DataFrame, settings: Settings, problems: Problems) -> dict[str, Kind]:
    """``{column: kind}`` of training rows, whose missing values are NaN.

    Text is a category, but for two that mean true and false; what is none of that (dates that are not in
    ``settings.dates``, numbers with commas, free text) goes to ``problems`` with what to do about it.
    """
    categories, ordinal, dates = settings.categories, settings.ordinal, settings.dates
    kinds: dict[str, Kind] = {}
    strange: dict[str, tuple[list[str], list[str]]] = {}
    for name in map(str, table.columns):
        values = table[name]
        if name in dates:
            kinds[name] = "date"
        elif name in ordinal:
            kinds[name] = "ordinal"
        elif name in categories:
            kinds[name] = "category"
        else:
            kinds[name], kind, shown = _guess(values)
            if kind:
                columns, examples = strange.setdefault(kind, ([], []))
                columns.append(name)
                examples.extend(shown)
    for kind, (columns, shown) in strange.items():
        examples = list(dict.fromkeys(shown))
        what = f" ({kind}, as {listed(examples, 3)})" if shown else f" ({kind})"
        hint = HINTS[kind].format(columns=columns[:8], values=examples[:FEW], first={columns[0]: "first"})
        problems.add(f"columns {listed(columns)} are not numbers{what}; {hint}")
    refused = {name for columns, _ in strange.values() for name in columns}
    for name, kind in kinds.items():
        if kind == "category" and name not in (*categories, *refused):
            _check_text(table[name], problems)
    return kinds


def _guess(values: pd.Series) -> tuple[Kind, str, list[str]]:
    """The kind; and, of a column that cannot be used so, what it holds and some of it."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return "true/false", "", []
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "category", "", []
    plain = plain_numbers(values)
    if is_number(plain):
        truths = pd.api.types.infer_dtype(values, skipna=True) == "boolean"
        return ("true/false" if truths else "number"), "", []
    levels = level_codes(values)[1]
    words = {level.lower() for level in levels}
    if any(words <= pair and (words == pair or len(max(words)) > 1) for pair in PAIRS):
        return "true/false", "", []  # a single letter alone may be anything, such as a sex
    # How many rows have a level matters only for numbers among which a few other values stand.
    mixed = any(parses(level) for level in levels)
    kind, shown = kind_of(values if mixed else pd.Series(levels, dtype=object))
    return "category", "" if kind == "text" else kind, shown


def _check_text(values: pd.Series, problems: Problems) -> None:
    levels = values.nunique()
    problems.check(
        levels <= FREE or levels <= values.notna().sum() / 4,
        f"column {values.name!r} has {levels} different texts in {int(values.notna().sum())} training rows, "
        f"such as {listed(values.dropna().unique()[:2])}: an id, or free text; leave it out with "
        f"drop=[{str(values.name)!r}], or name it in categories=[{str(values.name)!r}] if it is a category",
    )
