"""The minimum-count rule: nothing that is known of fewer patients than the minimum is shown.

A count below the minimum is ``<5``; so is one whose rest of the whole is below it, because the two add up.
A median is shown only with the minimum on either side of it, and rounded, because it is a patient's value.
"""

from __future__ import annotations

import numpy as np


def count_text(count: int, minimum: int) -> str:
    """A count as it may be shown."""
    return f"<{minimum}" if 0 < count < minimum else f"{count:,}"


def is_hidden(part: np.ndarray, whole: np.ndarray, minimum: int) -> np.ndarray:
    """Whether a part, or what is left of the whole, is of too few."""
    part, whole = np.asarray(part), np.asarray(whole)
    rest = whole - part
    return ((part > 0) & (part < minimum)) | ((rest > 0) & (rest < minimum)) | (whole < minimum)


def shares(part: np.ndarray, whole: np.ndarray, minimum: int) -> np.ndarray:
    """``part / whole``, NaN where that is hidden."""
    part, whole = np.broadcast_arrays(part, whole)
    hidden = is_hidden(part, whole, minimum)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=~hidden & (whole > 0))


def rounded(values: np.ndarray, digits: int = 3) -> np.ndarray:
    """Values with ``digits`` significant digits."""
    values = np.asarray(values, float)
    return np.array([float(f"{value:.{digits - 1}e}") for value in values.ravel()]).reshape(values.shape)


def total_text(counts: np.ndarray, minimum: int) -> str:
    """A sum over hospitals: of those that may be shown, for else the hidden one would be the difference."""
    counts = np.asarray(counts)
    hidden = (counts > 0) & (counts < minimum)
    return f"more than {counts[~hidden].sum():,}" if hidden.any() else f"{counts.sum():,}"


def without_rest(parts: np.ndarray) -> np.ndarray:
    """Shares ``[C, K]`` that add up to 1, where a single hidden one would be the rest: the smallest of the
    others is hidden as well."""
    parts = parts.copy()
    for row in parts:
        shown = np.where(np.isnan(row) | (row == 0), np.inf, row)
        if np.isnan(row).sum() == 1 and np.isfinite(shown).any():
            row[shown.argmin()] = np.nan
    return parts
