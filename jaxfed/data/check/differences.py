r"""How heterogeneous the hospitals are, beside what sampling alone makes of hospitals of these sizes.

With ``w_h`` the share of the rows of hospital h:

    labels        sum_h w_h EMD_h and sum_h w_h JS_h            of the shares of the classes, against all rows
    a feature     sum_h w_h |mean_h - mean| / sd                standardised mean differences
    missingness   sum_h w_h |share missing_h - share missing|   of a feature

The reference deals all rows to hospitals of the same sizes at random (a permutation). Counts of classes and
of missing values are then exactly multivariate hypergeometric; means are normal with the variance of drawing
without replacement, ``sd^2 (1 / n_h - 1 / N)``. Values are clipped at their 1st and 99th percentile, so that
a few large ones are not heterogeneity.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from jaxfed.data.check.survey import Survey
from jaxfed.data.heterogeneity import label_distances

DRAWS = 200
BEYOND = 3.0  # deviations of the reference, above its mean
BINS = 10  # of a real label, by its quantiles


def differences(survey: Survey, seed: int = 0) -> pd.DataFrame:
    """One row per measure and feature.

    Returns:
        Columns ``seen``, ``chance`` (mean of the reference), ``chance_high`` (its 97.5th percentile) and
        ``beyond_chance``; rows ``(measure, column)``.
    """
    rng = np.random.default_rng(seed)
    rows: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
    for name, value in _labels(survey, rng).items():
        rows[name, survey.label] = value
    for j, name in enumerate(survey.features):
        known = np.isfinite(survey.x[:, j])
        if known.sum() > 1:
            rows["features", name] = _means(survey, survey.x[:, j], known, rng)
    for j, name in enumerate(survey.features):
        gone = np.isnan(survey.x[:, j])
        if gone.any() and not (survey.few(gone) or survey.few(~gone)):
            rows["missingness", name] = _counts(survey, gone.astype(int), 2, _share_distance, rng)
    index = pd.MultiIndex.from_tuples(list(rows), names=["measure", "column"])
    seen = np.array([value for value, _ in rows.values()])
    drawn = np.array([draws for _, draws in rows.values()]).reshape(len(rows), DRAWS)
    mean, deviation = drawn.mean(1), drawn.std(1)
    return pd.DataFrame(
        {
            "seen": seen,
            "chance": mean,
            "chance_high": np.quantile(drawn, 0.975, axis=1) if len(rows) else mean,
            "beyond_chance": seen > mean + BEYOND * deviation + 1e-12,
        },
        index=index,
    )


def classes_of(survey: Survey) -> tuple[np.ndarray, int]:
    """``[N]`` classes, -1 where missing, and how many; tenths of a real label."""
    y = survey.labels.y
    known = np.isfinite(y)
    if survey.labels.kind != "regression":
        return np.where(known, np.nan_to_num(y), -1).astype(int), max(len(survey.labels.levels), 2)
    cuts = np.quantile(y[known], np.linspace(0, 1, BINS + 1)[1:-1]) if known.any() else np.zeros(0)
    return np.where(known, np.searchsorted(cuts, np.nan_to_num(y)), -1), BINS


def class_counts(survey: Survey) -> np.ndarray:
    """``[C, K]`` rows of each class in each hospital."""
    number, K = classes_of(survey)
    known = number >= 0
    flat = np.bincount(survey.owner[known] * K + number[known], minlength=len(survey.size) * K)
    return flat.reshape(len(survey.size), K)


def _labels(survey: Survey, rng: np.random.Generator) -> dict[str, tuple[float, np.ndarray]]:
    counts = class_counts(survey)
    counts = counts[counts.sum(1) > 0]
    weight = counts.sum(1) / max(counts.sum(), 1)
    seen, drawn = label_distances(counts), label_distances(_deal(counts.sum(1), counts.sum(0), rng))
    names = ("labels (EMD)", "labels (JS)")
    return {name: (float(s @ weight), d @ weight) for name, s, d in zip(names, seen, drawn, strict=True)}


def _counts(
    survey: Survey,
    number: np.ndarray,
    K: int,
    distance: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[float, np.ndarray]:
    """A mean over hospitals of a function of counts ``[C, K]``, and its draws."""
    C = len(survey.size)
    counts = np.bincount(survey.owner * K + number, minlength=C * K).reshape(C, K)
    weight = survey.size / survey.size.sum()
    drawn = _deal(survey.size, counts.sum(0), rng)
    return float(weight @ distance(counts)), distance(drawn) @ weight


def _share_distance(counts: np.ndarray) -> np.ndarray:
    """``|share_h - share|`` of the second of two kinds; ``[..., C, 2]``."""
    n = np.maximum(counts.sum(-1), 1)
    pool = counts[..., 1].sum(-1, keepdims=True) / counts.sum((-1, -2))[..., None]
    return np.abs(counts[..., 1] / n - pool)


def _deal(sizes: np.ndarray, kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``[DRAWS, C, K]`` counts of kinds in hospitals of these sizes, when all rows are dealt at random."""
    sizes, left = np.asarray(sizes, np.int64), int(np.sum(kinds))
    drawn = np.zeros((DRAWS, len(sizes), len(kinds)), np.int64)
    room = np.broadcast_to(sizes, (DRAWS, len(sizes))).copy()  # places that no kind has taken yet
    for k, count in enumerate(kinds):
        if k == len(kinds) - 1 or left == count:
            drawn[:, :, k] = room
            break
        for b in range(DRAWS):
            drawn[b, :, k] = rng.multivariate_hypergeometric(room[b], count, method="marginals")
        room -= drawn[:, :, k]
        left -= int(count)
    return drawn


def _means(
    survey: Survey, values: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    owner, value = survey.owner[known], values[known]
    value = np.clip(value, *np.quantile(value, (0.01, 0.99)))
    C, N = len(survey.size), len(value)
    n = np.bincount(owner, minlength=C)
    used = n > 0
    sd = value.std() * np.sqrt(N / (N - 1))
    if sd <= 1e-12 * np.abs(value).max():
        return 0.0, np.zeros(DRAWS)
    weight = n[used] / N
    means = np.bincount(owner, value - value.mean(), C)[used] / n[used] / sd
    draws = rng.standard_normal((DRAWS, used.sum())) / np.sqrt(n[used])
    draws -= (draws @ weight)[:, None]  # all rows have the same mean in every draw: 1 / n_h - 1 / N is left
    return float(weight @ np.abs(means)), np.abs(draws) @ weight
