"""Columns of a table as numbers; what is none is named with a value and with what to do about that kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, listed
from jaxfed.data.notices import Notices

FEW = 5  # different values that are no numbers, among numbers: codes for missing
KINDS = {
    "bounds": re.compile(r"[<>≤≥]=?\s*[\d.,]+"),
    "percentages": re.compile(r"[-+]?\d+([.,]\d+)?\s*%"),
    "thousands": re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?"),
    "decimal commas": re.compile(r"[-+]?\d*,\d+"),
    "dates": re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}( .*)?"),
}
REMEDIES = {
    "bounds": "put numbers in their place, or count them as missing, missing={values}",
    "percentages": "take the % away, df[column].str.rstrip('%').astype(float)",
    "thousands": "take the commas away; if they are decimal commas, pass decimal=',' to read_table",
    "decimal commas": "pass decimal=',' to jaxfed.data.read_table",
    "dates": "turn them into days since another date, which jaxfed.data.prepare does, or leave them out with "
    "drop={columns}",
    "numbers as text": "turn them into numbers, df[column] = pd.to_numeric(df[column])",
    "codes": "if they mean that a value is missing, pass missing={values}",
    "text": "one-hot them, which jaxfed.data.prepare does, or leave them out with drop={columns}",
}


def as_numbers(
    table: pd.DataFrame, missing: Sequence[Any], problems: Problems, notices: Notices
) -> pd.DataFrame:
    """The table with numbers in every column, NaN where one of the codes ``missing`` stands.

    Text is turned into numbers only where that is all that is left beside the codes.
    """
    texts, numbers = codes_of(missing)
    strange: dict[str, tuple[list[str], list[str]]] = {}
    made, seen = {}, set()
    for column in table.columns:
        values, hits = without_codes(table[column], texts, numbers)
        seen |= hits
        values = plain_numbers(numeric_text(values, hits))
        if not is_number(values):
            kind, examples = kind_of(values)
            columns, shown = strange.setdefault(kind, ([], []))
            columns.append(str(column))
            shown.extend(examples)
        made[column] = values
    for kind, (columns, shown) in strange.items():
        remedy = REMEDIES[kind].format(columns=columns[:8], values=list(dict.fromkeys(shown))[:FEW])
        what = f" ({kind}, as {listed(dict.fromkeys(shown), 3)})" if shown else f" ({kind})"
        problems.add(f"columns {listed(columns)} are not numbers{what}; {remedy}")
    unseen = [code for code in missing if as_written(code) not in {*seen, "nan", "NaN"}]
    if unseen and not strange:
        notices.add(f"missing={list(missing)}: no feature has the value {listed(unseen)}")
    return pd.DataFrame(made, index=table.index)


def codes_of(missing: Sequence[Any]) -> tuple[set[str], dict[float, str]]:
    """Codes for missing values as text, and those that are numbers."""
    texts = {as_written(code) for code in missing}
    numbers = {}
    for text in texts:
        try:
            number = float(text)
        except ValueError:
            continue
        if not np.isnan(number):  # NaN is missing in any case, and equal to no other
            numbers[number] = text
    return texts, numbers


def without_codes(
    values: pd.Series, texts: set[str], numbers: dict[float, str]
) -> tuple[pd.Series, set[str]]:
    """A column with NaN in place of the codes, and the codes that stood in it."""
    kind = values.dtype
    if not texts or pd.api.types.is_bool_dtype(kind) or pd.api.types.is_complex_dtype(kind):
        return values, set()
    if pd.api.types.is_numeric_dtype(values.dtype):
        hit = values.isin(list(numbers)).fillna(False).astype(bool)
        return (values.mask(hit) if hit.any() else values), {numbers[float(v)] for v in values[hit].unique()}
    given = list(values.astype(object))
    written = [None if is_blank(value) else as_written(value) for value in given]
    hits = {text for text in written if text in texts}
    if not hits:
        return values, set()
    left = [None if text in hits else value for value, text in zip(given, written, strict=True)]
    return pd.Series(left, values.index, dtype=object), {str(text) for text in hits}


def numeric_text(values: pd.Series, codes: set[str]) -> pd.Series:
    """A column of text as numbers, where ``codes`` stood among them and no other text does."""
    if not codes or pd.api.types.is_numeric_dtype(values.dtype):
        return values
    given = list(values.astype(object))
    if not all(is_blank(value) or parses(str(value)) for value in given):
        return values
    numbers = [np.nan if is_blank(value) else float(str(value)) for value in given]
    return pd.Series(numbers, values.index, dtype=float)


def is_blank(value: Any) -> bool:
    """Whether nothing is there: None, NaN, NaT or NA."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def parses(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python allows between digits


def as_written(value: Any) -> str:
    """A value as text; whole floats, which a gap in a file makes of whole numbers, without ``.0``."""
    whole = isinstance(value, (float, np.floating)) and value == np.floor(value) and np.isfinite(value)
    return str(int(value)) if whole else str(value).strip()


def plain_numbers(values: pd.Series) -> pd.Series:
    """Objects that are all numbers, as numbers."""
    if values.dtype != object:
        return values
    given = list(values)
    if not all(is_blank(v) or isinstance(v, (bool, int, float, np.number, np.bool_)) for v in given):
        return values
    try:
        return pd.Series([np.nan if is_blank(v) else float(v) for v in given], values.index, dtype=float)
    except (OverflowError, TypeError):  # a whole number beyond all floats; a complex one
        return values


def is_number(values: pd.Series) -> bool:
    """Whether a column holds real numbers or true/false."""
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(values.dtype)


def kind_of(values: pd.Series) -> tuple[str, list[str]]:
    """What a column holds that is no number, and some of it."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "dates", [str(value) for value in values.dropna().unique()[:3]]
    present = [value for value in values.astype(object) if not is_blank(value)]
    texts = list(dict.fromkeys(str(value).strip() for value in present))
    other = [text for text in texts if not parses(text)][:10_000]
    if not other:
        return "numbers as text", texts[:3]
    for kind, pattern in KINDS.items():
        some = [value for value in other if pattern.fullmatch(value)]
        if len(some) > 0.5 * len(other):
            return kind, some[:FEW]
    rare = len(other) <= FEW and sum(parses(str(value)) for value in present) >= 0.5 * len(present)
    return ("codes", other) if rare else ("text", other[:3])
