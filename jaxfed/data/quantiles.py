"""Quantiles over all hospitals' training rows, from histograms that hospitals can add up.

A quantile cannot be put together from hospitals' quantiles, as a mean can from their means. Hospitals agree
on a range (the smallest and the largest value of anybody), count their values in ``bins`` intervals of the
same width, and the sum of their counts says in which interval the value of each rank lies; a second round of
counts divides that interval again. The result is the pooled quantile up to one interval of the last round,
``(max - min) / bins**2``. Only sums of counts are needed, so that secure summation suffices.

Between two ranks a quantile is interpolated, as in ``numpy.quantile`` (Hyndman, Fan 1996, definition 7,
doi 10.1080/00031305.1996.10473566).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems

BINS = 1024
ROUNDS = 2  # of counts


def quantiles(
    dataset: Dataset, q: float | Sequence[float] = (0.25, 0.5, 0.75), *, bins: int = BINS, min_rows: int = 1
) -> pd.DataFrame:
    """Quantiles of every feature over the training rows of all hospitals; a row for each of ``q``.

    Args:
        dataset: whose ``x`` is one matrix ``[N, d]``; missing values are left out.
        q: between 0 and 1.
        bins: intervals in a round. The result is within ``(max - min) / bins**2`` of the pooled quantile.
        min_rows: hospitals with fewer training rows take no part.

    Raises:
        InvalidInput: a ``q`` outside of [0, 1], fewer than 2 bins, ``x`` that is no matrix, or no hospital
            with enough rows.

    >>> from jaxfed.data import from_arrays
    >>> data = from_arrays({"a": ([[1.0], [2.0]], [0, 1]), "b": ([[3.0], [4.0]], [1, 0])}, split=None)
    >>> float(quantiles(data, 0.5).loc[0.5, 0].round(3))
    2.5
    """
    problems = Problems("quantiles")
    wanted = np.atleast_1d(np.asarray(q, float))
    problems.check(
        bool(wanted.size) and bool(((wanted >= 0) & (wanted <= 1)).all()),
        f"q={q!r}: give numbers from 0 to 1",
    )
    problems.check(bins >= 2, f"bins={bins!r}: give 2 or more")
    problems.check(min_rows >= 1, f"min_rows={min_rows!r}: give a positive number")
    matrix = isinstance(dataset.x, np.ndarray) and dataset.x.ndim == 2
    problems.check(matrix, "x is not one matrix [N, d]; give a dataset of a table")
    problems.raise_if_any()
    values = federated_quantiles(dataset, dataset.x, wanted, min_rows, bins)
    return pd.DataFrame(values, index=wanted, columns=[*dataset.features] or None)


def federated_quantiles(
    dataset: Dataset, leaf: np.ndarray, q: np.ndarray, min_rows: int = 1, bins: int = BINS
) -> np.ndarray:
    """``[Q, d]`` quantiles ``q [Q]`` of an array ``[N, ..., d]``; NaN if no hospital has a value.

    Raises:
        InvalidInput: no hospital has ``min_rows`` training rows.
    """
    rows = dataset.counts[:, TRAIN]
    if not (rows >= min_rows).any():
        raise InvalidInput(
            f"quantiles: no hospital has {min_rows} training rows (most have {rows.max()}); lower min_rows"
        )
    takes_part = (rows >= min_rows)[dataset.owner] & (dataset.split == TRAIN)
    columns = _columns(leaf[takes_part])
    return np.stack([_histogram_quantiles(_finite(column), q, bins) for column in columns], axis=1)


def hospital_quantiles(dataset: Dataset, leaf: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``[Q, C, d]`` quantiles of each hospital's training rows by themselves; NaN if it has no value."""
    train = dataset.split == TRAIN
    parts = []
    for a, n in zip(dataset.start, dataset.size, strict=True):
        columns = [_finite(column) for column in _columns(leaf[a : a + n][train[a : a + n]])]
        own = [np.quantile(column, q) if len(column) else np.full(len(q), np.nan) for column in columns]
        parts.append(np.stack(own, axis=1))
    return np.stack(parts, axis=1)


def _columns(leaf: np.ndarray) -> np.ndarray:
    """``[d, n]`` values by feature; an array ``[N]`` has d = 1."""
    return leaf.reshape(-1, leaf.shape[-1] if leaf.ndim > 1 else 1).T


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)].astype(np.float64)


def _histogram_quantiles(values: np.ndarray, q: np.ndarray, bins: int) -> np.ndarray:
    """``[Q]`` quantiles of ``[n]`` values, which are looked at only through their range and counts."""
    if not len(values):
        return np.full(len(q), np.nan)
    ordered = np.sort(values)  # so that values below an edge are counted at once
    place = q * (len(values) - 1)
    below, above = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    ranks = np.unique(np.concatenate([below, above]))
    low, high = np.full(len(ranks), ordered[0]), np.full(len(ranks), ordered[-1])
    for _ in range(ROUNDS):
        for interval in {*zip(low, high, strict=True)}:
            same = (low == interval[0]) & (high == interval[1])
            edges = np.linspace(*interval, bins + 1)
            smaller = np.searchsorted(ordered, edges, side="left")
            b = np.clip(np.searchsorted(smaller, ranks[same], side="right") - 1, 0, bins - 1)
            low[same], high[same] = edges[b], edges[b + 1]
    middle = dict(zip(ranks.tolist(), (low + high) / 2, strict=True))
    first, last = (np.array([middle[r] for r in part.tolist()]) for part in (below, above))
    return first + (place - below) * (last - first)
