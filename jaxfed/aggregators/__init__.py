"""Rules that turn the uploads of a round into one update."""

from jaxfed.aggregators.coordinatewise import Median, TrimmedMean
from jaxfed.aggregators.mean import WeightedMean

__all__ = ["Median", "TrimmedMean", "WeightedMean"]
