"""The one place where 64-bit numbers become 32-bit ones, and what that may lose is noticed."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from jaxfed.core.errors import Problems
from jaxfed.data.notices import Notices


def narrow(
    array: np.ndarray, label: Callable[[int], str], problems: Problems, notices: Notices
) -> np.ndarray:
    """float64 to float32, int64 to int32, as JAX would; unchanged with ``jax_enable_x64``.

    A notice is given where a column's rounding errors reach a thousandth of its spread (large
    offsets, as times in seconds since 1970), a problem where values leave the range.

    Args:
        array: ``[N, ...]`` numbers; the last axis is that of the features.
        label: name of feature j for messages.
        problems: receives values that do not fit.
        notices: receives columns that lose digits.
    """
    kind = array.dtype.kind
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if jax.config.read("jax_enable_x64") or array.dtype.itemsize < (8 if kind == "f" else 4):
        return array.astype(np.float64) if array.dtype.itemsize > 8 else array
    if not array.size:
        return array.astype(np.float32 if kind == "f" else np.int32)
    columns = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[:, None]
    if kind in "iu":
        info = np.iinfo(np.int32)
        _check(columns, (columns > info.max) | (columns < info.min), "int32", label, problems)
        return array.astype(np.int32)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = columns.astype(np.float32)
        finite = np.isfinite(columns)
        _check(columns, finite & ~np.isfinite(cast), "float32", label, problems)
        error = np.where(finite, np.abs(cast - columns), 0).max(0)
        count = np.maximum(finite.sum(0), 1)
        mean = np.where(finite, columns, 0).sum(0) / count
        spread = np.sqrt((np.where(finite, columns - mean, 0) ** 2).sum(0) / count)
    coarse = np.flatnonzero((error > 1e-3 * spread) & (spread > 1e-12 * np.abs(mean)))
    if len(coarse):
        which = ", ".join(label(int(j)) for j in coarse[:8])
        notices.add(
            f"{which}: rounding to float32 changes values by up to "
            f"{error[coarse[0]]:.2g}, with a spread of {spread[coarse[0]]:.2g}; subtract an offset "
            "first, or set jax_enable_x64"
        )
    return cast.reshape(array.shape)


def _check(
    columns: np.ndarray,
    bad: np.ndarray,
    dtype: str,
    label: Callable[[int], str],
    problems: Problems,
) -> None:
    for j in np.flatnonzero(bad.any(0)):
        values = columns[bad[:, j], j]
        problems.add(
            f"{label(int(j))} has {len(values)} values outside {dtype} (as {values[0]:.4g}); "
            "rescale them, number them from 0 if they are ids, or set jax_enable_x64"
        )
