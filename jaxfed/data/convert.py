"""One array as NumPy: from lists, tables and tensors, refusing what has no single meaning."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, did_you_mean, listed

NO_ARRAYS = (Iterator, KeysView, ValuesView, ItemsView)


def to_array(raw: Any, whose: str, problems: Problems) -> np.ndarray | None:
    """``raw`` as a numeric array (bool, int or float), or None with the reason in ``problems``.

    Lists and anything with ``__array__`` (torch, jax, pandas) are converted, masked entries become
    NaN; sparse matrices, text, dates, complex numbers and ragged lists are refused.
    """
    if hasattr(raw, "todense") or getattr(raw, "is_sparse", False) is True:
        kind = f"{type(raw).__module__.split('.')[0]} {type(raw).__name__}"
        return _refuse(problems, f"{whose} is sparse ({kind}); make it dense (.toarray()) first")
    if isinstance(raw, NO_ARRAYS):
        return _refuse(
            problems, f"{whose} is a {type(raw).__name__}, which is no array; give a list or an array"
        )
    if raw is None:
        return _refuse(problems, f"{whose} is None; give an array")
    if isinstance(raw, np.ma.MaskedArray):
        raw = np.ma.filled(raw.astype(float), np.nan) if np.any(raw.mask) else raw.data
    try:
        # torch hands over no tensor that carries gradients or lives on a GPU.
        array = np.asarray(raw.detach().cpu() if hasattr(raw, "detach") else raw)
    except (TypeError, ValueError, RuntimeError) as error:
        return _refuse(problems, f"{whose} cannot be read as one array ({error})")
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O":
        return _from_objects(array, whose, problems)
    kinds = {"U": "text", "S": "text", "M": "dates", "m": "time spans", "c": "complex numbers"}
    what = kinds.get(array.dtype.kind, str(array.dtype))
    where = f" (first value {array.flat[0]!r})" if array.size else ""
    return _refuse(problems, f"{whose} holds {what}{where}; turn it into numbers first")


def to_matrix(
    frame: pd.DataFrame, columns: list[str], exact: bool, lacking: bool, whose: str, problems: Problems
) -> np.ndarray | None:
    """``[n, d]`` of the named columns of a table, in that order; missing values become NaN.

    With ``exact``, columns beyond the named ones are refused, else left out. With ``lacking``, columns
    that are not there are NaN, else refused.
    """
    names = [str(column) for column in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    absent = [] if lacking else [column for column in columns if column not in names]
    extra = [name for name in names if name not in columns] if exact or absent else []
    if repeated:
        return _refuse(problems, f"{whose}: columns given twice: {listed(repeated)}")
    if absent or (extra and exact):
        lacks = f"lacks {listed(absent)}" if absent else ""
        has = f"has also {listed(extra)}" if extra else ""
        near = f"; {did_you_mean(absent[0], extra)}" if absent and extra else ""
        return _refuse(
            problems,
            f"{whose} {' and '.join(filter(None, [lacks, has]))}{near}; give every hospital the same "
            "columns, or pass impute='flag'",
        )
    named = frame.set_axis(names, axis=1)
    chosen = named[[column for column in columns if column in names]]
    text = not_numeric(chosen)
    if text:
        return _refuse(problems, f"{whose}: columns {listed(text)} are not numbers; encode them first")
    return numeric(chosen if len(chosen.columns) == len(columns) else chosen.reindex(columns=columns))


def not_numeric(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that hold something else than numbers and true/false."""
    return [
        str(name)
        for name, kind in zip(frame.columns, frame.dtypes, strict=True)
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind)
    ]


def numeric(frame: pd.DataFrame) -> np.ndarray:
    """``[n, d]`` of a table of numeric columns; floats if any value is missing."""
    if any(pd.api.types.is_extension_array_dtype(kind) for kind in frame.dtypes):
        return frame.to_numpy(dtype=float, na_value=np.nan)
    array = frame.to_numpy()
    # Columns of bool and of numbers meet in an object array.
    return array.astype(float) if array.dtype.kind == "O" else array


def _from_objects(array: np.ndarray, whose: str, problems: Problems) -> np.ndarray | None:
    columns = array[:, None] if array.ndim == 1 else array.reshape(len(array), -1)
    strange = []
    for j in range(columns.shape[1]):
        for value in columns[:, j]:
            if isinstance(value, (bool, int, float, np.number, np.bool_)) or _missing(value):
                continue
            strange.append(f"column {j} (value {value!r})" if array.ndim > 1 else f"{value!r}")
            break
    if strange:
        return _refuse(problems, f"{whose} is not all numbers: {listed(strange)}; encode them first")
    return np.array([np.nan if _missing(value) else value for value in array.flat], dtype=float).reshape(
        array.shape
    )


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _refuse(problems: Problems, problem: str) -> np.ndarray | None:
    problems.add(problem)
    return None
