"""Quantity skew: hospitals of unequal size, rows dealt at random."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxfed.core.errors import Problems


def lognormal_sizes(
    labels: np.ndarray, hospitals: int, seed: int = 0, *, sigma: float = 1.0, min_rows: int = 1
) -> np.ndarray:
    """Sizes proportional to ``exp(sigma N(0, 1))``; ``[N]`` hospital numbers."""
    check_whole("lognormal_sizes", {"sigma": sigma}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    rng = np.random.default_rng(seed)
    weight = np.exp(sigma * rng.standard_normal(max(hospitals, 0)))
    return _deal("lognormal_sizes", "sigma", sigma, 0, labels, hospitals, weight, rng, min_rows)


def zipf_sizes(
    labels: np.ndarray, hospitals: int, seed: int = 0, *, exponent: float = 1.0, min_rows: int = 1
) -> np.ndarray:
    """Sizes proportional to ``1 / rank^exponent``, hospital 0 the largest; ``[N]`` numbers."""
    check_whole("zipf_sizes", {"exponent": exponent}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    weight = np.arange(1.0, max(hospitals, 0) + 1) ** -exponent
    rng = np.random.default_rng(seed)
    return _deal("zipf_sizes", "exponent", exponent, 0, labels, hospitals, weight, rng, min_rows)


def dirichlet_sizes(
    labels: np.ndarray, hospitals: int, seed: int = 0, *, alpha: float = 1.0, min_rows: int = 1
) -> np.ndarray:
    """Shares of the rows from a symmetric Dirichlet(alpha); ``[N]`` hospital numbers."""
    check_whole("dirichlet_sizes", {"alpha": alpha}, hospitals=hospitals, seed=seed, min_rows=min_rows)
    rng = np.random.default_rng(seed)
    # Without its own guard the draw would fail before the message about alpha.
    weight = rng.dirichlet(np.full(max(hospitals, 1), alpha if alpha > 0 else 1.0))
    least = np.finfo(float).tiny
    return _deal("dirichlet_sizes", "alpha", alpha, least, labels, hospitals, weight, rng, min_rows)


def check_whole(where: str, reals: Mapping[str, Any], **whole: Any) -> None:
    """Raise where an argument is no whole number, or none at all; its size is checked by the rule."""
    problems = Problems(where)
    for name, value in whole.items():
        fine = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        problems.check(fine, f"{name}={value!r}: give a whole number")
    for name, value in reals.items():
        fine = isinstance(value, numbers.Real) and not isinstance(value, bool)
        problems.check(fine, f"{name}={value!r}: give a number")
    whole_seed = whole.get("seed", 0)
    if not problems.count:
        problems.check(whole_seed >= 0, f"seed={whole_seed!r}: give 0 or more")
    problems.raise_if_any()


def round_sizes(weight: np.ndarray, N: int, min_rows: int) -> np.ndarray:
    """``[C]`` whole sizes that add up to N, proportional to ``weight``, none below ``min_rows``.

    Hospitals whose share is too small get the minimum, the others share the rest in proportion
    (at most C passes), rounded by largest remainders.
    """
    low = np.zeros(len(weight), bool)
    while True:
        free = N - min_rows * np.count_nonzero(low)
        scale = weight[~low].sum()
        # Weights that are all 0 share equally what is left.
        usual = weight if scale > 0 else np.ones(len(weight))
        share = np.where(low, min_rows, free * usual / max(usual[~low].sum(), 1e-300))
        below = ~low & (share < min_rows)
        if not below.any():
            break
        low |= below
    size = np.floor(share + 1e-9).astype(np.int64)
    size[np.argsort(size - share, kind="stable")[: N - int(size.sum())]] += 1
    return size


def assign_sizes(size: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``[N]`` hospital numbers: the first ``size[0]`` rows of ``order`` are of hospital 0, ...."""
    assignment = np.empty(len(order), np.int64)
    assignment[order] = np.repeat(np.arange(len(size)), size)
    return assignment


def _deal(
    where: str,
    key: str,
    value: float,
    least: float,
    labels: np.ndarray,
    C: int,
    weight: np.ndarray,
    rng: np.random.Generator,
    min_rows: int,
) -> np.ndarray:
    problems, N = Problems(where), len(labels)
    problems.check(
        bool(least <= value < np.inf), f"{key}={value!r}: give a finite number, not below {least:g}"
    )
    problems.check(C >= 1, "hospitals: give 1 or more")
    problems.check(C <= N, f"{C} hospitals for {N} rows; give at most one hospital per row")
    problems.check(
        min_rows >= 0 and (C > N or C * min_rows <= N),
        f"{C} hospitals with at least {min_rows} rows need {C * min_rows}, but there are {N}",
    )
    problems.raise_if_any()
    return assign_sizes(round_sizes(weight, N, min_rows), rng.permutation(N))
