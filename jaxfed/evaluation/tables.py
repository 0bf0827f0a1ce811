"""What each task reports of a hospital: its metrics with intervals, and what their names mean.

A new task has its row in ``TABLES``; a task without one is reported by users' metrics alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxfed.core.metrics.metric import Metric
from jaxfed.core.tasks import BINARY, MULTICLASS, REGRESSION
from jaxfed.evaluation.binary import binary_estimates
from jaxfed.evaluation.bootstrap import OfMetrics, bootstrap, percentile_interval
from jaxfed.evaluation.intervals import Estimate
from jaxfed.evaluation.multiclass import multiclass_estimates
from jaxfed.evaluation.regression import regression_estimates

Estimates = dict[str, Estimate]
Marks = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """The metrics of a task.

    Attributes:
        estimates: ``(outputs [N, ...], y [N, ...], segment [N], segments, threshold, level) -> ({metric:
            Estimate}, {mark: [segments] bool})``, in jax. Marks are ``"broken"``, outputs that are NaN, and
            ``"separated"``; a task may lack the second.
        labels: ``{metric: its label}`` in the order of the columns; the first is the task's first metric.
        higher: the metrics of which more is better.
        scales: the scale of ``Estimate.centre`` of metrics that are not pooled as they are.
        ideal: the best value of metrics for which it is neither the largest nor the smallest.
        two_classes: whether hospitals have events, and models a threshold.
    """

    estimates: Callable[..., tuple[Estimates, Marks]] | None
    labels: Mapping[str, str]
    higher: frozenset[str]
    scales: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ideal: Mapping[str, float] = dataclasses.field(default_factory=dict)
    two_classes: bool = False

    def extended(self, metrics: Mapping[str, Metric]) -> Table:
        """A copy with users' metrics added."""
        labels = {name: metric.label or name for name, metric in metrics.items()}
        better = frozenset(name for name, metric in metrics.items() if metric.higher_is_better)
        return dataclasses.replace(self, labels={**self.labels, **labels}, higher=self.higher | better)


DECISIONS = ("sensitivity", "specificity", "ppv", "npv", "f1")
TABLES = {
    BINARY.name: Table(
        binary_estimates,
        {
            "auroc": "AUROC",
            "auprc": "AUPRC",
            "brier": "Brier score",
            "brier_scaled": "scaled Brier score",
            BINARY.loss: "log loss",
            "calibration_intercept": "calibration intercept",
            "calibration_slope": "calibration slope",
            "oe": "O:E ratio",
            "ece": "ECE",
            "sensitivity": "sensitivity",
            "specificity": "specificity",
            "ppv": "PPV",
            "npv": "NPV",
            "f1": "F1",
            "net_benefit": "net benefit",
        },
        frozenset({"auroc", "auprc", "brier_scaled", "net_benefit", *DECISIONS}),
        {"oe": "log", **dict.fromkeys(("auroc", "auprc", *DECISIONS), "logit")},
        {"calibration_intercept": 0.0, "calibration_slope": 1.0, "oe": 1.0},
        two_classes=True,
    ),
    MULTICLASS.name: Table(
        multiclass_estimates,
        {
            "accuracy": "accuracy",
            "balanced_accuracy": "balanced accuracy",
            "auroc": "AUROC",
            MULTICLASS.loss: "log loss",
            "brier": "Brier score",
        },
        frozenset({"accuracy", "balanced_accuracy", "auroc"}),
        {"accuracy": "logit", "auroc": "logit"},
    ),
    REGRESSION.name: Table(
        regression_estimates,
        {"r2": "R²", "rmse": "RMSE", "mae": "MAE"},
        frozenset({"r2"}),
        {"rmse": "log"},
    ),
}
OTHER = Table(None, {}, frozenset())  # a task of the user


def estimates_of(
    table: Table,
    outputs: np.ndarray,
    y: np.ndarray,
    owner: np.ndarray,
    hospitals: int,
    *,
    threshold: float = 0.5,
    level: float = 0.95,
) -> tuple[Estimates, Marks]:
    """Every metric of each hospital and, last, of all rows together: arrays ``[hospitals + 1]``.

    The rows stand twice in one call, once as the hospitals' and once as everyone's: one compiled program.
    """
    if table.estimates is None:
        return {}, {"broken": np.zeros(hospitals + 1, bool)}
    twice = (np.concatenate([values, values]) for values in (outputs, y))
    segment = np.concatenate([owner, np.full(len(owner), hospitals)]).astype(np.int32)
    values, marks = table.estimates(*map(jnp.asarray, twice), segment, hospitals + 1, threshold, level)
    arrays = {
        name: Estimate(*(np.asarray(x, np.float64) for x in values[name]))
        for name in table.labels
        if name in values
    }
    return arrays, {name: np.asarray(mark) for name, mark in marks.items()}


def users_estimates(
    metrics: Mapping[str, Metric],
    outputs: np.ndarray,
    y: np.ndarray,
    owner: np.ndarray,
    hospitals: int,
    *,
    level: float = 0.95,
    replicates: int = 400,
) -> Estimates:
    """Users' metrics of each hospital and, last, of all rows: percentile intervals of a bootstrap of rows."""
    if not metrics or not len(owner):
        return {name: Estimate(*np.full((5, hospitals + 1), np.nan)) for name in metrics}
    statistic = OfMetrics(dict(metrics), int(np.bincount(owner).max()))
    point, drawn = bootstrap(
        statistic, outputs, y, owner, hospitals, replicates=replicates, draw_hospitals=False
    )
    result = {}
    for name in metrics:
        value = np.append(point[name], point[f"{name}_pooled"]).astype(np.float64)
        draws = np.concatenate([drawn[name], drawn[f"{name}_pooled"][:, None]], axis=1)
        low, high = percentile_interval(draws, level)
        spread = np.std(np.where(np.isfinite(draws), draws, value), axis=0)
        se = np.where(np.isfinite(low) & (spread > 0), spread, np.nan)
        result[name] = Estimate(value, low, high, value, se)
    return result
