"""Robust rules as their papers write them, in NumPy in float64: each on the uploads ``x [n, d]`` present."""

from __future__ import annotations

import itertools

import numpy as np
from roads import krum_order, squared_distances


def subsets(n: int, size: int) -> list[list[int]]:
    """All sets of hospitals, those with the first hospitals first."""
    return [list(some) for some in itertools.combinations(range(n), size)]


def mda(x: np.ndarray, f: int) -> np.ndarray:
    """Of all sets of n - f the first with the least diameter."""
    far = squared_distances(x)
    sets = subsets(len(x), len(x) - f)
    diameters = [far[np.ix_(some, some)].max() for some in sets]
    return x[sets[int(np.argmin(diameters))]].mean(0)


def smea(x: np.ndarray, f: int) -> np.ndarray:
    """Of all sets of n - f that with the least largest eigenvalue of the covariance."""
    sets = subsets(len(x), len(x) - f)
    largest = [np.linalg.eigvalsh(np.cov(x[some].T, bias=True)).max() for some in sets]
    return x[sets[int(np.argmin(largest))]].mean(0)


def around_median(x: np.ndarray, count: int) -> np.ndarray:
    """Column by column, with a stable sort."""
    far = np.abs(x - np.median(x, axis=0))
    near = np.argsort(far, axis=0, kind="stable")[:count]
    return np.take_along_axis(x, near, 0).mean(0)


def meamed(x: np.ndarray, f: int) -> np.ndarray:
    """The mean around the median."""
    return around_median(x, len(x) - f)


def bulyan(x: np.ndarray, f: int) -> np.ndarray:
    """Krum again and again on the uploads that are left."""
    left, chosen = list(range(len(x))), []
    for _ in range(len(x) - 2 * f):
        some = x[left]
        if len(left) - f - 2 >= 1:
            best = krum_order(some, f)[0]
        else:  # one neighbour at least; the last of all has none
            best = krum_order(some, len(left) - 3)[0] if len(left) > 1 else 0
        chosen.append(left.pop(int(best)))
    return around_median(x[sorted(chosen)], len(x) - 4 * f)


def nearest_to(x: np.ndarray, f: int, trusted: int) -> np.ndarray:
    """MoNNA."""
    far = ((x - x[trusted]) ** 2).sum(1)
    return x[np.argsort(far, kind="stable")[: len(x) - f]].mean(0)


def caf(x: np.ndarray, f: int) -> np.ndarray:
    """The filter, with NumPy's eigenvectors of the covariance itself."""
    c, best, least = np.ones(len(x)), x.mean(0), np.inf
    while c.sum() > len(x) - 2 * f:
        mean = c @ x / c.sum()
        values, vectors = np.linalg.eigh((c[:, None] * (x - mean)).T @ (x - mean) / c.sum())
        if values[-1] < least:
            best, least = mean, values[-1]
        t = ((x - mean) @ vectors[:, -1]) ** 2
        c = np.maximum(c * (1 - t / t[c > 0].max()), 0)
    return best


def dnc(x: np.ndarray, f: int, factor: float = 1.0, columns: list[np.ndarray] | None = None) -> np.ndarray:
    """Divide and conquer, on these columns in each draw; None for all of them once."""
    good = set(range(len(x)))
    for some in [np.arange(x.shape[1])] if columns is None else columns:
        centred = x[:, some] - x[:, some].mean(0)
        along = (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2
        good &= set(np.argsort(along, kind="stable")[: len(x) - int(factor * f)].tolist())
    return x[sorted(good)].mean(0)


def fltrust(x: np.ndarray, trusted: int) -> np.ndarray:
    """FLTrust."""
    root, others = x[trusted], np.delete(x, trusted, 0)
    norms = np.linalg.norm(others, axis=1)
    trust = np.maximum(others @ root / (norms * np.linalg.norm(root)), 0)
    scaled = others * (np.linalg.norm(root) / norms)[:, None]
    return trust @ scaled / trust.sum() if trust.sum() else np.zeros_like(root)


def adaptively_clipped(x: np.ndarray, f: int) -> np.ndarray:
    """ARC."""
    norms = np.linalg.norm(x, axis=1)
    k = int(np.floor(2 * f / len(x) * (len(x) - f) + 1e-9))
    bound = np.sort(norms)[::-1][k]
    return x * np.minimum(1, bound / norms)[:, None]
