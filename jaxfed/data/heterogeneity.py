r"""How different the hospitals are: labels, features and missing values against the pool, and sizes.

With ``p_h`` the label shares of hospital h and ``p`` those of all rows together:

    EMD   = 1/2 sum_k |p_hk - p_k|      earth mover's distance where all classes are one step apart
    JS    = sqrt(1/2 KL(p_h | m) + 1/2 KL(p | m)) in bits, m = (p_h + p) / 2
    effective classes = exp(entropy of p_h)

All are 0 (or the pool's number of classes) for identical hospitals; EMD and JS are at most 1.
Zhao et al. 2018 (arXiv 1806.00582) use twice this EMD. With ``m_hj`` the mean of feature j in hospital h,

    feature shift = mean_j |m_hj - m_j| / sd_j        about sqrt(2/pi) sqrt(1/n_h - 1/N) by chance alone

over the features that vary in the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.data.moments import Moments, combine


def heterogeneity(dataset: Dataset) -> pd.DataFrame:
    """Label shift and feature shift of every hospital, over all its rows.

    Returns:
        One row per hospital: ``n``, ``share`` of all rows, ``prevalence`` (binary) or one column
        ``label <class>`` each, ``emd``, ``js``, ``effective_classes``; where ``x`` is a single array,
        ``feature_shift`` and ``missing``, the share of its values that are. NaN without rows.
        ``attrs`` holds ``size_gini`` (0: equal, near 1: one hospital has all) and the means of
        ``emd`` and ``js`` weighted by rows.

    Raises:
        InvalidInput: a regression dataset has no label shares.
    """
    if not dataset.task.has_classes:
        raise InvalidInput(f"heterogeneity: task={dataset.task.name!r} has no classes to compare")
    K = max(len(dataset.classes), int(dataset.y.max()) + 1)
    counts = np.bincount(dataset.owner * K + dataset.y, minlength=len(dataset) * K)
    names = [dataset.classes[k] if dataset.classes else str(k) for k in range(K)]
    table = label_shift(counts.reshape(len(dataset), K), dataset.hospitals, names, dataset.task.two_classes)
    if isinstance(dataset.x, np.ndarray) and dataset.x.dtype.kind in "fiu":
        table["feature_shift"], table["missing"] = _features(dataset)
    return table


def label_shift(
    counts: np.ndarray, hospitals: Sequence[str], classes: Sequence[str], two_classes: bool
) -> pd.DataFrame:
    """The columns of :func:`heterogeneity` on labels, of ``counts [C, K]`` of rows by hospital and class."""
    n = counts.sum(1).astype(float)
    share = _shares(counts)
    emd, js = label_distances(counts)
    table = pd.DataFrame({"n": n.astype(int), "share": n / n.sum()})
    if two_classes:
        table["prevalence"] = share[:, 1]
    else:
        for k, name in enumerate(classes):
            table[f"label {name}"] = share[:, k]
    table["emd"] = emd
    table["js"] = js
    table["effective_classes"] = np.exp(-np.log(2) * _relative(share, np.ones(len(classes))))
    table.index = pd.Index(hospitals, name="hospital")
    used = n > 0
    for column in ("emd", "js"):
        table.attrs[f"mean_{column}"] = float(np.average(table[column][used], weights=n[used]))
    table.attrs["size_gini"] = gini(n)
    return table


def label_distances(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[..., C]`` EMD and JS of hospitals with ``counts [..., C, K]`` of classes; NaN without rows."""
    share, pool = _shares(counts), _shares(counts.sum(-2, keepdims=True))
    middle = (share + pool) / 2
    js = np.sqrt(np.maximum(_relative(share, middle) + _relative(pool, middle), 0) / 2)
    return np.abs(share - pool).sum(-1) / 2, js


def gini(sizes: np.ndarray) -> float:
    """Gini coefficient of ``[C]`` sizes: mean absolute difference over twice the mean."""
    ordered = np.sort(np.asarray(sizes, float))
    C = len(ordered)
    if ordered.sum() == 0:
        return float("nan")
    return float((2 * np.arange(1, C + 1) - C - 1) @ ordered / (C * ordered.sum()))


def _features(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Feature shift ``[C]`` and share of missing values ``[C]``; pixels are features."""
    shift, missing = np.full((2, len(dataset)), np.nan)
    width = dataset.x[0].size
    count, mean, square = np.zeros((3, len(dataset), width))
    for c, (a, n) in enumerate(zip(dataset.start, dataset.size, strict=True)):
        own = dataset.x[a : a + n].reshape(n, width).astype(np.float64)
        finite = np.isfinite(own)
        if n:
            missing[c] = 1 - finite.mean()
        count[c] = finite.sum(0)
        mean[c] = np.where(finite, own, 0).sum(0) / np.maximum(count[c], 1)
        square[c] = (np.where(finite, own - mean[c], 0) ** 2).sum(0)
    pooled = combine(Moments(count, mean, square))
    varies = pooled.sd > 0
    for c in range(len(dataset)):
        used = varies & (count[c] > 0)
        if used.any():
            shift[c] = (np.abs(mean[c] - pooled.mean)[used] / pooled.sd[used]).mean()
    return shift, missing


def _shares(counts: np.ndarray) -> np.ndarray:
    n = counts.sum(-1, keepdims=True)
    return np.divide(counts, n, out=np.full(counts.shape, np.nan), where=n > 0)


def _relative(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``sum_k p_k log2(p_k / q_k)`` over the last axis, with 0 log 0 = 0."""
    p, q = np.broadcast_arrays(p, q)
    ratio = np.divide(p, q, out=np.ones(p.shape), where=p > 0)
    return np.where(np.isnan(p), np.nan, p * np.log2(ratio)).sum(-1)
