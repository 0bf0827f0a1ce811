"""What turns the uploads of a round into one update: rules, the mixers before them, and chains of parts."""

from jaxfed.aggregators.bucketing import Bucketing
from jaxfed.aggregators.bulyan import Bulyan
from jaxfed.aggregators.caf import CAF
from jaxfed.aggregators.centred_clipping import CentredClipping
from jaxfed.aggregators.chain import as_chain, chain
from jaxfed.aggregators.clipping import ARC, StaticClipping
from jaxfed.aggregators.coordinatewise import Median, TrimmedMean
from jaxfed.aggregators.dnc import DnC
from jaxfed.aggregators.fltrust import FLTrust
from jaxfed.aggregators.geometric_median import GeometricMedian
from jaxfed.aggregators.krum import Krum
from jaxfed.aggregators.mda import MDA
from jaxfed.aggregators.meamed import Meamed
from jaxfed.aggregators.mean import WeightedMean
from jaxfed.aggregators.monna import MoNNA
from jaxfed.aggregators.nnm import NNM
from jaxfed.aggregators.smea import SMEA
from jaxfed.aggregators.uniform_mean import UniformMean

__all__ = [
    "ARC",
    "CAF",
    "MDA",
    "NNM",
    "SMEA",
    "Bucketing",
    "Bulyan",
    "CentredClipping",
    "DnC",
    "FLTrust",
    "GeometricMedian",
    "Krum",
    "Meamed",
    "Median",
    "MoNNA",
    "StaticClipping",
    "TrimmedMean",
    "UniformMean",
    "WeightedMean",
    "as_chain",
    "chain",
]
