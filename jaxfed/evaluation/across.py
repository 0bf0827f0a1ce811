"""A metric over hospitals: mean, weighted mean, spread, the worst, and its random-effects mean.

A hospital counts in the spread, the worst, the 10th percentile, the range and the random-effects mean if it
has enough rows of each class: the worst of many tiny hospitals says who is tiny. The mean is over all
hospitals that have the metric; its interval is Student's over hospitals, which contains the chance of both
hospitals and patients, as a cluster bootstrap does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.evaluation.intervals import Estimate, student_quantile
from jaxfed.evaluation.pooling import RandomEffects, random_effects

NONE = float("nan")
INFINITE = float("inf")
# from the scale of pooling to the metric, and the metric's bounds
SCALES: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "identity": (np.positive, -INFINITE, INFINITE),
    "logit": (lambda x: 1 / (1 + np.exp(-x)), 0.0, 1.0),
    "log": (np.exp, 0.0, INFINITE),
}


def across(
    estimate: Estimate,
    rows: np.ndarray,
    counted: np.ndarray,
    names: Sequence[str],
    *,
    higher: bool,
    ideal: float | None = None,
    scale: str = "identity",
    pooled: RandomEffects | None = None,
    level: float = 0.95,
) -> dict[str, float | int | str]:
    """The columns of one metric.

    Args:
        estimate: arrays ``[C]``.
        rows: ``[C]`` weights of the weighted mean.
        counted: ``[C]`` bool, the hospitals with enough rows of each class.
        names: of the hospitals.
        higher: whether more is better.
        ideal: the best value where it is neither the largest nor the smallest: the worst is then the
            farthest from it.
        scale: of ``estimate.centre``: ``"identity"``, ``"logit"`` or ``"log"``.
        pooled: hospitals pooled on that scale; None to pool ``centre`` and ``se``.
        level: of the intervals.
    """
    value = np.asarray(estimate.value, np.float64)
    known = np.isfinite(value)
    inside = known & counted
    used, k = value[inside], int(inside.sum())
    count = int(known.sum())
    macro = float(value[known].mean()) if count else NONE
    half = NONE
    if count > 1:
        half = float(
            student_quantile(level, jnp.asarray(count - 1)) * value[known].std(ddof=1) / np.sqrt(count)
        )
    weight = np.where(known, rows, 0).astype(float)
    badness = _badness(value, higher, ideal)
    worst = int(np.nanargmax(np.where(inside, badness, np.nan))) if k else -1
    decile = NONE
    if k:
        decile = float(np.quantile(used, 0.1 if higher else 0.9) if ideal is None else _farthest(used, ideal))
    pooled = pool(estimate, inside, level) if pooled is None else pooled
    back, least, most = SCALES[scale]
    return {
        "hospitals": k,
        "pooled": int(pooled.hospitals),
        "left_out": count - k,
        "undefined": len(value) - count,
        "macro": macro,
        "macro_low": max(macro - half, least),
        "macro_high": min(macro + half, most),
        "macro_counted": float(used.mean()) if k else NONE,
        "weighted": float(np.where(known, value, 0) @ weight / weight.sum()) if weight.sum() else NONE,
        "sd": float(used.std(ddof=1)) if k > 1 else NONE,
        "worst": float(value[worst]) if k else NONE,
        "worst_hospital": str(names[worst]) if k else "",
        "worst_decile": decile,
        "lowest": float(used.min()) if k else NONE,
        "highest": float(used.max()) if k else NONE,
        "mean": float(back(pooled.mean)),
        "mean_low": float(back(pooled.low)),
        "mean_high": float(back(pooled.high)),
        "tau": float(pooled.tau),
        "i2": float(pooled.i2),
        "prediction_low": float(back(pooled.prediction_low)),
        "prediction_high": float(back(pooled.prediction_high)),
        "scale": scale,
    }


def pool(estimate: Estimate, inside: np.ndarray, level: float) -> RandomEffects:
    """The random-effects mean of the hospitals that count."""
    with jax.enable_x64(True):
        centre = jnp.where(jnp.asarray(inside), jnp.asarray(estimate.centre, jnp.float64), jnp.nan)
        se = jnp.asarray(estimate.se, jnp.float64)
        return RandomEffects(*(np.asarray(x) for x in random_effects(centre, se, level=level)))


def _badness(value: np.ndarray, higher: bool, ideal: float | None) -> np.ndarray:
    if ideal is not None:
        return np.abs(value - ideal)
    return -value if higher else value


def _farthest(used: np.ndarray, ideal: float) -> float:
    """The value whose distance from the ideal is the 90th percentile of the distances."""
    distance = np.abs(used - ideal)
    return float(used[np.argsort(distance, kind="stable")[int(np.ceil(0.9 * (len(used) - 1)))]])
