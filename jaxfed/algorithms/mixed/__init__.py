"""Algorithms for hospitals with different models, one file each."""

from jaxfed.algorithms.mixed.by_group import ByGroup
from jaxfed.algorithms.mixed.fedmd import FedMD

__all__ = ["ByGroup", "FedMD"]
