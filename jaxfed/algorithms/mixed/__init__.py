"""Algorithms for hospitals with different models, one file each."""

from jaxfed.algorithms.mixed.dsfl import DSFL
from jaxfed.algorithms.mixed.feddf import FedDF
from jaxfed.algorithms.mixed.fedmd import FedMD
from jaxfed.algorithms.mixed.fedproto import FedProto
from jaxfed.algorithms.mixed.fml import FML
from jaxfed.core.group_algorithm import ByGroup

__all__ = ["DSFL", "FML", "ByGroup", "FedDF", "FedMD", "FedProto"]
