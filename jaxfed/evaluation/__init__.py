"""Metrics of every hospital, masked and under jit; tasks, and what users add to either."""

from jaxfed.core.metrics.auroc import auroc_by_segment
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.task import Task
from jaxfed.core.tasks import BINARY, MULTICLASS, REGRESSION, multilabel, quantiles

__all__ = [
    "BINARY",
    "MULTICLASS",
    "REGRESSION",
    "Metric",
    "Task",
    "auroc_by_segment",
    "multilabel",
    "quantiles",
]
