"""Rows without their labels: what hospitals with different models compare predictions on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxfed.core.dataset import SPLITS, Dataset
from jaxfed.core.errors import Problems, did_you_mean


def unlabelled(
    dataset: Dataset, rows: int | None = None, *, split: str | None = "validation", seed: int = 0
) -> Any:
    """Features of some rows of all hospitals together.

    With rows of the hospitals that train, this assumes that those patients' features may be seen by all of
    them, though not their labels; and a metric on the same split is then measured on rows that a method has
    seen. Rows of hospitals that take no part are free of both:

    >>> from jaxfed.data import synthetic_ehr
    >>> every = synthetic_ehr(12, sizes="equal", n_med=100)
    >>> taking_part = every.select(every.hospitals[:10])
    >>> unlabelled(every.select(every.hospitals[10:]), rows=150, split=None).shape
    (150, 20)

    Args:
        dataset: any dataset.
        rows: how many, drawn without replacement; None for all.
        split: of these rows only; None for any.
        seed: of the draw.

    Returns:
        A tree like ``dataset.x``, ``[rows, ...]``.

    Raises:
        InvalidInput: no such split, or fewer rows than that.
    """
    problems = Problems("unlabelled")
    problems.check(split is None or split in SPLITS, f"split={split!r}: {did_you_mean(split, SPLITS)}")
    problems.raise_if_any()
    index = (
        np.arange(len(dataset.y)) if split is None else np.flatnonzero(dataset.split == SPLITS.index(split))
    )
    where = "" if split is None else f" {split}"
    whole = isinstance(rows, (int, np.integer)) and not isinstance(rows, bool)
    problems.check(
        len(index) > 0, f"the data have no{where} rows; give another split, or jaxfed.data.resplit them"
    )
    problems.check(
        rows is None or (whole and 1 <= rows <= max(len(index), 1)),
        f"rows={rows!r}: give a whole number from 1 to {len(index)}, the{where} rows, or None for all",
    )
    problems.raise_if_any()
    if rows is not None:
        index = np.sort(np.random.default_rng(seed).choice(index, rows, replace=False))
    return jax.tree.map(lambda leaf: leaf[index], dataset.x)
