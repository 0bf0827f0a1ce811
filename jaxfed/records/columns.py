"""Columns of the tables of runs and sweeps: what a metric is over hospitals, and what training did."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxfed.core.metrics.metric import Scoring

MINIMUM = 5  # events, and non-events, of a hospital that can be the worst


def across_hospitals(
    name: str, values: np.ndarray, weight: np.ndarray, scoring: Scoring, rarer: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Summarise a metric ``[..., C]`` in a few numbers ``[...]``; hospitals without it are only counted.

    Args:
        name: the metric's name; ``scoring`` knows from it which end is the bad one.
        values: ``[..., C]``, NaN where undefined.
        weight: rows of the hospitals, broadcast against ``values``; hospitals with 0 are left out.
        rarer: rows of the rarer of two classes, broadcast likewise; hospitals with fewer than
            :data:`MINIMUM` are not in the ends, unless none has as many. None if all are.
    """
    known = ~np.isnan(values) & (weight > 0)
    count = known.sum(-1)
    weight = np.where(known, weight, 0)
    share = weight / np.maximum(weight.sum(-1, keepdims=True), 1)
    values = np.where(known, values, 0).astype(np.float64)
    mean = values.sum(-1) / np.maximum(count, 1)
    with np.errstate(invalid="ignore"):  # an infinite metric has no spread
        square = np.where(known, values - mean[..., None], 0) ** 2
    enough = known if rarer is None else known & (rarer >= MINIMUM)
    enough = np.where(enough.any(-1, keepdims=True), enough, known)
    ordered = np.sort(np.where(enough, values, np.nan), axis=-1)  # NaN goes last
    better, inside = scoring.higher_is_better(name), enough.sum(-1)
    low, high = (_quantile(ordered, inside, q) for q in (0.0, 1.0))
    summary = {
        name: mean,
        f"{name}_weighted": (share * values).sum(-1),
        f"{name}_sd": np.sqrt(square.sum(-1) / np.maximum(count, 1)),
        f"{name}_worst": low if better else high,
        f"{name}_worst_decile": _quantile(ordered, inside, 0.1 if better else 0.9),
        f"{name}_best": high if better else low,
    }
    defined = {column: np.where(count > 0, number, np.nan)[()] for column, number in summary.items()}
    return {**defined, f"{name}_undefined": np.asarray(values.shape[-1] - count)[()]}


def _quantile(ordered: np.ndarray, count: np.ndarray, q: float) -> np.ndarray:
    """Quantile of the first ``count`` of each row of ``ordered [..., C]``, interpolated linearly."""
    place = q * np.maximum(count - 1, 0)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (np.take_along_axis(ordered, i[..., None], -1)[..., 0] for i in (below, above))
    with np.errstate(invalid="ignore"):
        return np.where(place == below, low, low + (place - below) * (high - low))


def training_between(
    training: Mapping[str, np.ndarray], refused: np.ndarray, before: int, done: int
) -> dict[str, float]:
    """Summarise the rounds of training after ``before`` rounds, up to ``done``; empty without any training.

    Args:
        training, refused: ``name: [R, C]`` and ``[R]``, see :class:`jaxfed.records.history.History`.
    """
    if not training:
        return {}
    spent = {}
    if "epsilon" in training:
        epsilon = training["epsilon"][done - 1] if done else np.zeros(1)
        spent = {"epsilon": float(epsilon.max()), "epsilon_mean": float(epsilon.mean())}
    part = {name: values[before:done] for name, values in training.items()}
    rounds = max(done - before, 1)
    return {
        "train_loss": mean_of_known(part["loss"]) if "loss" in part else np.nan,
        "present_per_round": float(part["present"].sum() / rounds),
        "rejected_uploads": int(part["rejected"].sum()),
        "rejected_rounds": int(refused[before:done].sum()),
        "empty_rounds": int((~part["present"].any(axis=1)).sum()),
        **spent,
    }


def mean_of_known(values: np.ndarray) -> float:
    """The mean of all entries that are not NaN; NaN if there is none."""
    values = values[~np.isnan(values)]
    return float(np.mean(values)) if values.size else float("nan")
