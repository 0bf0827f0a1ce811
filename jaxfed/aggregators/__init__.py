"""Rules that turn the uploads of a round into one update."""

from jaxfed.aggregators.mean import WeightedMean
from jaxfed.aggregators.order import Median, TrimmedMean

__all__ = ["Median", "TrimmedMean", "WeightedMean"]
