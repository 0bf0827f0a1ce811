"""Metrics of every hospital with intervals, under jit; hospitals pooled; tasks, and users' metrics."""

from jaxfed.core.metrics.auroc import auroc_by_segment
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.task import Task
from jaxfed.core.tasks import BINARY, MULTICLASS, REGRESSION
from jaxfed.evaluation.across import across
from jaxfed.evaluation.auroc import auroc, auroc_difference
from jaxfed.evaluation.binary import average_precision, binary_estimates
from jaxfed.evaluation.bootstrap import bootstrap
from jaxfed.evaluation.calibration_curve import calibration_bins, calibration_curve
from jaxfed.evaluation.decision_curve import decision_curve
from jaxfed.evaluation.intervals import Estimate
from jaxfed.evaluation.multiclass import multiclass_estimates
from jaxfed.evaluation.pooling import RandomEffects, pool_auroc, random_effects
from jaxfed.evaluation.regression import regression_estimates
from jaxfed.evaluation.thresholds import choose_threshold, histogram
from jaxfed.evaluation.variance import variance_components

__all__ = [
    "BINARY",
    "MULTICLASS",
    "REGRESSION",
    "Estimate",
    "Metric",
    "RandomEffects",
    "Task",
    "across",
    "auroc",
    "auroc_by_segment",
    "auroc_difference",
    "average_precision",
    "binary_estimates",
    "bootstrap",
    "calibration_bins",
    "calibration_curve",
    "choose_threshold",
    "decision_curve",
    "histogram",
    "multiclass_estimates",
    "pool_auroc",
    "random_effects",
    "regression_estimates",
    "variance_components",
]
