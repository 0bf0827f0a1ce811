"""Many runs as one: what came out of a sweep."""

from jaxfed.records.ranking import Best
from jaxfed.results.sweep import Sweep
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.optuna_search import tune

__all__ = ["Best", "Halving", "Sweep", "tune"]
