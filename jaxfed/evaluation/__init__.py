"""Metrics of hospitals with intervals, masked and under jit; hospitals pooled; survival; tasks."""

from jaxfed.core.metrics.auroc import auroc_by_segment
from jaxfed.core.metrics.concordance import cindex_by_segment
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.task import Task
from jaxfed.core.tasks import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    SURVIVAL,
    SURVIVAL_EFRON,
    discrete_hazard,
    multilabel,
    quantiles,
)
from jaxfed.evaluation.across import across
from jaxfed.evaluation.auroc import auroc, auroc_difference
from jaxfed.evaluation.baseline import BaselineHazard, baseline_hazard
from jaxfed.evaluation.binary import average_precision, binary_estimates
from jaxfed.evaluation.bootstrap import bootstrap
from jaxfed.evaluation.calibration_curve import calibration_bins, calibration_curve
from jaxfed.evaluation.decision_curve import decision_curve
from jaxfed.evaluation.intervals import Estimate
from jaxfed.evaluation.life_table import LifeTable, LogRank, count_life_table, life_table
from jaxfed.evaluation.multiclass import multiclass_estimates
from jaxfed.evaluation.pooling import RandomEffects, pool_auroc, random_effects
from jaxfed.evaluation.regression import regression_estimates
from jaxfed.evaluation.survival import (
    brier_score,
    dynamic_auc,
    harrell_concordance,
    integrated_brier_score,
    uno_concordance,
)
from jaxfed.evaluation.thresholds import choose_threshold, histogram
from jaxfed.evaluation.variance import variance_components

__all__ = [
    "BINARY", "MULTICLASS", "REGRESSION", "SURVIVAL", "SURVIVAL_EFRON", "BaselineHazard", "Estimate",
    "LifeTable", "LogRank", "Metric", "RandomEffects", "Task", "across", "auroc", "auroc_by_segment",
    "auroc_difference", "average_precision", "baseline_hazard", "binary_estimates", "bootstrap",
    "brier_score", "calibration_bins", "calibration_curve", "choose_threshold", "cindex_by_segment",
    "count_life_table", "decision_curve", "discrete_hazard", "dynamic_auc", "harrell_concordance",
    "histogram", "integrated_brier_score", "life_table", "multiclass_estimates", "multilabel",
    "pool_auroc", "quantiles", "random_effects", "regression_estimates", "uno_concordance",
    "variance_components",
]  # fmt: skip
