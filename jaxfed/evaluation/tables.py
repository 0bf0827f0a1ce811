"""What each task reports of a hospital: its metrics with intervals, and what their names mean.

A new task has its row in ``TABLES``. A task of jaxfed's without one is reported by the metrics that training
evaluates, with bootstrap intervals, and a user's task by users' metrics.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.meaning import Meaning
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.task import Measure, Task
from jaxfed.core.tasks import BINARY, MULTICLASS, REGRESSION
from jaxfed.core.tasks.named import task_named
from jaxfed.evaluation.binary import binary_estimates
from jaxfed.evaluation.bootstrap import OfMetrics, Statistic, bootstrap, percentile_interval
from jaxfed.evaluation.intervals import Estimate
from jaxfed.evaluation.multiclass import multiclass_estimates
from jaxfed.evaluation.regression import regression_estimates

Estimates = dict[str, Estimate]
Marks = dict[str, Any]
REPLICATES = 400  # of a bootstrap


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
        trained: metrics without intervals of their own, which are bootstrapped.
    """

    estimates: Callable[..., tuple[Estimates, Marks]] | None
    labels: Mapping[str, str]
    higher: frozenset[str]
    scales: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ideal: Mapping[str, float] = dataclasses.field(default_factory=dict)
    two_classes: bool = False
    trained: Statistic | None = None

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


def table_of(name: str, meaning: Meaning) -> Table:
    """What is reported for the task of this name, whose outputs have this meaning.

    A task of jaxfed's without a row in ``TABLES`` has the metrics of its training; a user's task has none.
    """
    task = task_named(name, meaning)
    if name in TABLES or task is None:
        return TABLES.get(name, OTHER)
    scoring = task.scoring
    first = {scoring.first: scoring.label(scoring.first)}
    return Table(None, first | dict(scoring.labels), frozenset(scoring.higher), trained=statistic_of(task))


@functools.cache
def statistic_of(task: Task) -> Statistic:
    """The metrics that training evaluates."""

    def statistic(outputs: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
        measure = Measure(task)
        return measure(outputs, task.losses(outputs, y, None), y, segment, segments)

    return statistic


def estimates_of(
    table: Table,
    users: Mapping[str, Metric],
    outputs: np.ndarray,
    y: np.ndarray,
    owner: np.ndarray,
    hospitals: int,
    *,
    threshold: float = 0.5,
    level: float = 0.95,
) -> tuple[Estimates, Marks]:
    """Every metric of each hospital and, last, of all rows together: arrays ``[hospitals + 1]``.

    Rows with other owners are left out. The rows stand twice in one call, once as the hospitals' and once as
    everyone's: one compiled program.

    Args:
        table: of the task.
        users: users' metrics.
        outputs, y: ``[N, ...]``.
        owner: ``[N]``.
        hospitals: their number.
        threshold: a probability, of tasks with two classes.
        level: of the intervals.
    """
    inside = (owner >= 0) & (owner < hospitals)
    everyone = np.where(inside, hospitals, -1)
    if table.estimates is None:
        broken = inside & np.isnan(outputs.reshape(len(y), -1)).any(1)
        marks = {"broken": np.append(np.bincount(owner[broken], minlength=hospitals) > 0, broken.any())}
        values = {}
    else:
        twice = (jnp.asarray(np.concatenate([rows, rows])) for rows in (outputs, y))
        segment = np.concatenate([owner, everyone]).astype(np.int32)
        given, marks = table.estimates(*twice, segment, hospitals + 1, threshold, level)
        values = {
            name: Estimate(*(np.asarray(x, np.float64) for x in given[name]))
            for name in table.labels
            if name in given
        }
    rows = outputs[inside], y[inside], owner[inside], hospitals
    if table.trained is not None:
        drawn = bootstrapped(table.trained, *rows, level=level)
        values |= {name: drawn[name] for name in (*table.labels, *drawn) if name in drawn}
    if users:
        most = int(np.bincount(owner[inside], minlength=1).max())
        values |= bootstrapped(OfMetrics(dict(users), most), *rows, level=level)
    return values, {name: np.asarray(mark) for name, mark in marks.items()}


def bootstrapped(
    statistic: Statistic,
    outputs: np.ndarray,
    y: np.ndarray,
    owner: np.ndarray,
    hospitals: int,
    *,
    level: float = 0.95,
    replicates: int = REPLICATES,
) -> Estimates:
    """Metrics of each hospital and, last, of all rows: percentile intervals of a bootstrap of their rows."""
    point, drawn = bootstrap(
        statistic, outputs, y, owner, hospitals, replicates=replicates, draw_hospitals=False
    )
    result = {}
    for name in (name for name in point if f"{name}_pooled" in point):
        value = np.append(point[name], point[f"{name}_pooled"]).astype(np.float64)
        draws = np.concatenate([drawn[name], drawn[f"{name}_pooled"][:, None]], axis=1)
        low, high = percentile_interval(draws, level)
        spread = np.std(np.where(np.isfinite(draws), draws, value), axis=0)
        se = np.where(np.isfinite(low) & (spread > 0), spread, np.nan)
        result[name] = Estimate(value, low, high, value, se)
    return result
