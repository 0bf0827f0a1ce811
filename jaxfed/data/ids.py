"""Ids of hospitals and patients: text as written, never merged, never split without a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, listed
from jaxfed.data.notices import Notices

LEADING_ZEROS = re.compile(r"^0+(?=\d)")


def as_text(ids: pd.Series, column: str, problems: Problems) -> np.ndarray:
    """``[n]`` ids as text; whole floats, which a gap in a file makes of whole numbers, without ``.0``.

    Records rows without an id, and ids that are a number in one row and text in another: nobody but the
    user knows whether they are the same.
    """
    texts, mixed = id_texts(ids)
    blank = sum(text is None for text in texts)
    problems.check(not blank, f"column {column!r} is missing in {blank} rows; drop these rows")
    if mixed:
        problems.add(
            f"column {column!r} holds {listed(mixed)} as text in some rows and as another type in others; if "
            f"they are the same, make all of them text, df[{column!r}] = df[{column!r}].astype(str), or read "
            f"the file with jaxfed.data.read_table or dtype={{{column!r}: str}}"
        )
    return np.array(["" if text is None else text for text in texts], dtype=object)


def id_texts(ids: pd.Series) -> tuple[list[str | None], list[str]]:
    """``[n]`` ids as text, None where there is none, and those that have several types."""
    if pd.api.types.infer_dtype(ids) in ("string", "integer"):  # of one type: each different id once
        code, different = pd.factorize(ids)
        names = [*map(_written, different), None]
        return [names[k] for k in code], []
    values = np.asarray(ids, dtype=object)
    texts = [_written(value) for value in values]
    kinds: dict[str | None, set[str]] = {}
    for text, value in zip(texts, values, strict=True):
        kinds.setdefault(text, set()).add(_kind(value))
    return texts, [text for text, kind in kinds.items() if len(kind) > 1 and text is not None]


def alike(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that differ only in case, spaces, forms of an accent or leading zeros."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(LEADING_ZEROS.sub("", plain), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def written(name: str) -> str:
    """A name in quotes, in letters that show how it differs from one that looks the same."""
    return repr(name) if name.isascii() else ascii(name)


def notice_alike(names: Sequence[str], notices: Notices) -> None:
    """A notice of hospitals that look like one: case, spaces, forms of an accent, leading zeros."""
    groups = [" and ".join(map(written, group)) for group in alike(names)]
    if groups:
        notices.add(
            f"{'; '.join(groups[:5])} differ only in case, spaces, the form of accents or leading zeros; "
            "they are different hospitals here: if they are not, write them alike"
        )


def _written(value: Any) -> str | None:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    number = float(value) if isinstance(value, (float, np.floating)) else 0.5
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    text = str(value)
    return text if text.strip() else None


def _kind(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true/false"
    if isinstance(value, (int, float, np.number)):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__
