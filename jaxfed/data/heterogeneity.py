r"""How different the hospitals are: label shift against the pool, and inequality of sizes.

With ``p_h`` the label shares of hospital h and ``p`` those of all rows together:

    EMD   = 1/2 sum_k |p_hk - p_k|      earth mover's distance where all classes are one step apart
    JS    = sqrt(1/2 KL(p_h | m) + 1/2 KL(p | m)) in bits, m = (p_h + p) / 2
    effective classes = exp(entropy of p_h)

All are 0 (or the pool's number of classes) for identical hospitals; EMD and JS are at most 1.
Zhao et al. 2018 (arXiv 1806.00582) use twice this EMD.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput


def heterogeneity(dataset: Dataset) -> pd.DataFrame:
    """Label shift of every hospital, over all its rows.

    Returns:
        One row per hospital: ``n``, ``share`` of all rows, ``prevalence`` (binary) or one column
        ``label <class>`` each, ``emd``, ``js``, ``effective_classes``; NaN without rows.
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
    return label_shift(counts.reshape(len(dataset), K), dataset.hospitals, names, dataset.task.two_classes)


def label_shift(
    counts: np.ndarray, hospitals: Sequence[str], classes: Sequence[str], two_classes: bool
) -> pd.DataFrame:
    """The table of :func:`heterogeneity`, of ``counts [C, K]`` of rows by hospital and class."""
    n = counts.sum(1).astype(float)
    share = np.divide(counts, n[:, None], out=np.full(counts.shape, np.nan), where=n[:, None] > 0)
    pool = counts.sum(0) / counts.sum()
    middle = (share + pool) / 2
    js = np.sqrt(np.maximum(_relative(share, middle) + _relative(pool, middle), 0) / 2)
    table = pd.DataFrame({"n": n.astype(int), "share": n / n.sum()})
    if two_classes:
        table["prevalence"] = share[:, 1]
    else:
        for k, name in enumerate(classes):
            table[f"label {name}"] = share[:, k]
    table["emd"] = np.abs(share - pool).sum(1) / 2
    table["js"] = js
    table["effective_classes"] = np.exp(-np.log(2) * _relative(share, np.ones(len(classes))))
    table.index = pd.Index(hospitals, name="hospital")
    used = n > 0
    for column in ("emd", "js"):
        table.attrs[f"mean_{column}"] = float(np.average(table[column][used], weights=n[used]))
    table.attrs["size_gini"] = gini(n)
    return table


def gini(sizes: np.ndarray) -> float:
    """Gini coefficient of ``[C]`` sizes: mean absolute difference over twice the mean."""
    ordered = np.sort(np.asarray(sizes, float))
    C = len(ordered)
    if ordered.sum() == 0:
        return float("nan")
    return float((2 * np.arange(1, C + 1) - C - 1) @ ordered / (C * ordered.sum()))


def _relative(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``sum_k p_k log2(p_k / q_k)`` over the last axis, with 0 log 0 = 0."""
    p, q = np.broadcast_arrays(p, q)
    ratio = np.divide(p, q, out=np.ones(p.shape), where=p > 0)
    return np.where(np.isnan(p), np.nan, p * np.log2(ratio)).sum(-1)
