"""Metrics of every hospital, masked and under jit; tasks, and what users add to either."""

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
)
from jaxfed.evaluation.baseline import BaselineHazard, baseline_hazard
from jaxfed.evaluation.life_table import LifeTable, LogRank, count_life_table, life_table
from jaxfed.evaluation.survival import (
    brier_score,
    dynamic_auc,
    harrell_concordance,
    integrated_brier_score,
    uno_concordance,
)

__all__ = [
    "BINARY",
    "MULTICLASS",
    "REGRESSION",
    "SURVIVAL",
    "SURVIVAL_EFRON",
    "BaselineHazard",
    "LifeTable",
    "LogRank",
    "Metric",
    "Task",
    "auroc_by_segment",
    "baseline_hazard",
    "brier_score",
    "cindex_by_segment",
    "count_life_table",
    "discrete_hazard",
    "dynamic_auc",
    "harrell_concordance",
    "integrated_brier_score",
    "life_table",
    "uno_concordance",
]
