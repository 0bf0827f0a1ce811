"""Sweeps: many runs in one program, with the choice of the best settings."""

from jaxfed.records.ranking import Best
from jaxfed.results.sweep import Sweep
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.optuna_search import tune

__all__ = ["Best", "Halving", "Sweep", "tune"]
