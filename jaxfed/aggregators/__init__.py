"""What turns the uploads of a round into one update: rules, the mixers before them, and chains of parts."""

from jaxfed.aggregators.bucketing import Bucketing
from jaxfed.aggregators.centred_clipping import CentredClipping
from jaxfed.aggregators.chain import as_chain, chain
from jaxfed.aggregators.coordinatewise import Median, TrimmedMean
from jaxfed.aggregators.geometric_median import GeometricMedian
from jaxfed.aggregators.krum import Krum
from jaxfed.aggregators.mean import WeightedMean
from jaxfed.aggregators.nnm import NNM

__all__ = [
    "NNM",
    "Bucketing",
    "CentredClipping",
    "GeometricMedian",
    "Krum",
    "Median",
    "TrimmedMean",
    "WeightedMean",
    "as_chain",
    "chain",
]
