"""Metrics of every hospital, masked and under jit; tasks, and what users add to either."""

from jaxfed.core.metrics.auroc import auroc_by_segment
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.task import Task
from jaxfed.core.tasks import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    SURVIVAL,
    SURVIVAL_EFRON,
    discrete_hazard,
)

__all__ = [
    "BINARY",
    "MULTICLASS",
    "REGRESSION",
    "SURVIVAL",
    "SURVIVAL_EFRON",
    "Metric",
    "Task",
    "auroc_by_segment",
    "discrete_hazard",
]
