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

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import influence, order_statistics
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Median(Rule):
    """The median of every coordinate; of an even number of uploads the mean of the two in the middle.

    Weights n_k are ignored: whoever takes part has one voice. 0 where nobody does.
    """

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The medians over the uploads with a weight above 0; metrics ``influence``, ``[K]``."""
        present = uploads.present
        aggregate = _by_coordinate(lambda x: order_statistics.median(x, present), uploads)
        return aggregate, state, _seen(uploads, (present.sum(dtype=jnp.int32) - 1) // 2)


@pytree
@dataclasses.dataclass(frozen=True)
class TrimmedMean(Rule):
    """The mean of every coordinate without its largest and smallest numbers.

    Weights n_k are ignored: whoever takes part has one voice. 0 where nobody does.

    Attributes:
        trim: share of the uploads left out at each end, in [0, 0.5), rounded down to whole uploads; the
            paper's beta. May be traced.
    """

    trim: Number = 0.1

    def __post_init__(self) -> None:
        problems = Problems("TrimmedMean")
        problems.extend(checks.shared("trim", self.trim, 0, 0.5, below=True))
        problems.raise_if_any()

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The trimmed means over the uploads with a weight above 0; metrics ``influence``, ``[K]``."""

        def rule(x: Array) -> Array:
            return order_statistics.trimmed_mean(x, uploads.present, self.trim)

        out = order_statistics.trimmed(uploads.present.sum(dtype=jnp.int32), self.trim)
        return _by_coordinate(rule, uploads), state, _seen(uploads, out)


def _by_coordinate(rule: Callable[[Array], Array], uploads: Uploads) -> Aggregate:
    return Aggregate(rule(uploads.update), rule(uploads.aux))


def _seen(uploads: Uploads, out: Array) -> Metrics:
    """Whose numbers are left if ``out`` are left out at each end."""
    present = uploads.present

    def used(x: Array) -> Array:
        low = order_statistics.element(x, present, out)
        return (x >= low) & (x <= order_statistics.element(x, present, present.sum() - 1 - out))

    return {"influence": influence.by_coordinate(uploads, used)}
