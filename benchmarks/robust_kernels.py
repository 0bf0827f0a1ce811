"""Robust rules in NumPy and torch, for :mod:`aggregators`.

The passes over the uploads are in either; the arithmetic on K x K numbers is NumPy's for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def squared_distances(gram: np.ndarray) -> np.ndarray:
    """``[K, K]`` of the inner products of uploads minus their mean."""
    squares = np.diagonal(gram)
    return np.maximum(squares[:, None] + squares - 2 * gram, 0)


def krum_scores(far: np.ndarray, f: int) -> np.ndarray:
    """Sums of the distances to the K - f - 2 nearest others."""
    count = max(len(far) - f - 2, 1)
    return np.partition(far, count, axis=1)[:, : count + 1].sum(1)


def multi_krum(gram: np.ndarray, f: int) -> np.ndarray:
    """Weights of the K - f uploads of the least scores."""
    scores = krum_scores(squared_distances(gram), f)
    return np.argsort(np.argsort(scores)) < len(gram) - f


def nearest(gram: np.ndarray, f: int) -> np.ndarray:
    """Weights of the K - f uploads nearest to the first."""
    return np.argsort(np.argsort(squared_distances(gram)[0])) < len(gram) - f


def spread(gram: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The largest eigenvalue of the covariance, and squares along its eigenvector."""
    share = weights / weights.sum()
    along = gram @ share
    centred = gram - along[:, None] - along + share @ along
    root = np.sqrt(share)
    values, vectors = np.linalg.eigh(root[:, None] * centred * root)
    return values[-1], np.square(centred @ (root * vectors[:, -1])) / values[-1]


def caf(gram: np.ndarray, f: int) -> np.ndarray:
    """The filter's weights."""
    weights = best = np.ones(len(gram), gram.dtype)
    least = np.inf
    while weights.sum() > len(gram) - 2 * f:
        value, squares = spread(gram, weights)
        if value < least:
            best, least = weights, value
        weights = np.maximum(weights * (1 - squares / squares[weights > 0].max()), 0)
    return best


def dnc(gram: np.ndarray, f: int) -> np.ndarray:
    """Weights of the K - f uploads of the least scores."""
    return np.argsort(np.argsort(spread(gram, np.ones(len(gram), gram.dtype))[1])) < len(gram) - f


def bulyan(gram: np.ndarray, f: int) -> np.ndarray:
    """The uploads that Krum selects one after the other."""
    far, left = squared_distances(gram), np.arange(len(gram))
    for _ in range(len(gram) - 2 * f):
        left = np.delete(left, krum_scores(far[np.ix_(left, left)], f).argmin())
    return np.setdiff1d(np.arange(len(gram)), left)


RULES = ("multi-Krum", "MoNNA", "CAF", "DnC", "FLTrust", "Meamed", "Bulyan")
WEIGHTS = {"multi-Krum": multi_krum, "MoNNA": nearest, "CAF": caf, "DnC": dnc}


def numpy_rule(name: str, x: np.ndarray, f: int) -> Callable[[], np.ndarray]:
    """The rule on ``x [K, N]`` in NumPy."""

    def around_median(some: np.ndarray, count: int) -> np.ndarray:
        near = np.argpartition(np.abs(some - np.median(some, axis=0)), count - 1, axis=0)[:count]
        return np.take_along_axis(some, near, 0).mean(0)

    def call() -> np.ndarray:
        if name == "FLTrust":
            weights, scale = trust(x @ x[0], np.linalg.norm(x, axis=1))
            return scale * (weights @ x)
        if name == "Meamed":
            return around_median(x, len(x) - f)
        centred = x - x.mean(0)
        gram = centred @ centred.T
        if name == "Bulyan":
            return around_median(x[bulyan(gram, f)], len(x) - 4 * f)
        weights = WEIGHTS[name](gram, f).astype(x.dtype)
        return weights / weights.sum() @ x

    return call


def torch_rule(name: str, x: np.ndarray, f: int) -> Callable[[], np.ndarray]:
    """The same with torch."""
    import torch

    whole = torch.from_numpy(x)

    def around_median(some: Any, count: int) -> Any:
        ordered = some.sort(dim=0).values
        middle = (ordered[(len(some) - 1) // 2] + ordered[len(some) // 2]) / 2
        near = (some - middle).abs().topk(count, dim=0, largest=False, sorted=False).indices
        return some.gather(0, near).mean(0)

    def call() -> np.ndarray:
        if name == "FLTrust":
            weights, scale = trust((whole @ whole[0]).numpy(), whole.norm(dim=1).numpy())
            return (scale * (torch.from_numpy(weights) @ whole)).numpy()
        if name == "Meamed":
            return around_median(whole, len(x) - f).numpy()
        centred = whole - whole.mean(0)
        gram = (centred @ centred.T).numpy()
        if name == "Bulyan":
            return around_median(whole[torch.from_numpy(bulyan(gram, f))], len(x) - 4 * f).numpy()
        weights = WEIGHTS[name](gram, f).astype(x.dtype)
        return (torch.from_numpy(weights / weights.sum()) @ whole).numpy()

    return call


def trust(inner: np.ndarray, norms: np.ndarray) -> tuple[np.ndarray, float]:
    """FLTrust's weights with the first as the trusted hospital, and what their sum is divided by."""
    trusts = np.maximum(inner / (norms * norms[0]), 0)
    trusts[0] = 0
    return (trusts * norms[0] / norms).astype(norms.dtype), float(1 / trusts.sum())
