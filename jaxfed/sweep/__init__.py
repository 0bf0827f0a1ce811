"""Many runs as one: what came out of a sweep."""

from jaxfed.sweep.choice import Best
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.result import Sweep
from jaxfed.sweep.tuning import tune

__all__ = ["Best", "Halving", "Sweep", "tune"]
