"""Median and trimmed mean, coordinate by coordinate.

    median:        update_j = median of {upload_kj : k takes part}
    trimmed mean:  update_j = mean of the same without the share ``trim`` of the largest and of the smallest

(Yin, Chen, Ramchandran, Bartlett 2018, arXiv:1803.01498, Definitions 1 and 2.) Less than half of the
hospitals, or at most the share ``trim``, can send what they like and move the update only within what the
others sent.

Departure from the paper: hospitals differ in size, and these rules give each the same voice, whatever its
number of rows; otherwise a hospital that claims many rows would be trusted more. All uploads are stored, so
memory grows with the number of hospitals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import order_statistics as selection
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Median:
    """The median of every coordinate; of an even number of uploads the mean of the two in the middle."""

    def aggregate(self, uploads: PyTree, weights: Array) -> PyTree:
        """The medians of ``[K, ...]`` over the uploads with a weight above 0."""
        return _by_coordinate(lambda x: selection.median(x, weights > 0), uploads)


@pytree
@dataclasses.dataclass(frozen=True)
class TrimmedMean:
    """The mean of every coordinate without its largest and smallest numbers.

    Attributes:
        trim: share of the uploads left out at each end, in [0, 0.5), rounded down to whole uploads; the
            paper's beta. May be traced.
    """

    trim: Number = 0.1

    def __post_init__(self) -> None:
        problems = Problems("TrimmedMean")
        if isinstance(self.trim, int | float):
            problems.check(
                0 <= self.trim < 0.5, f"trim={self.trim}: give a share of at least 0 and below 0.5"
            )
        problems.raise_if_any()

    def aggregate(self, uploads: PyTree, weights: Array) -> PyTree:
        """The trimmed means of ``[K, ...]`` over the uploads with a weight above 0."""
        return _by_coordinate(lambda x: selection.trimmed_mean(x, weights > 0, self.trim), uploads)


def _by_coordinate(rule: Callable[[Array], Array], uploads: PyTree) -> PyTree:
    def one(leaf: Array) -> Array:
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        return rule(wide.reshape(len(leaf), -1)).reshape(leaf.shape[1:])

    return jax.tree.map(one, uploads)
