"""A super-network of which every hospital holds a slice by width.

    encode:     a hospital's update, and 1 for each coordinate that it holds
    aggregate:  sum_k w_k held_k update_k / sum_k w_k held_k, coordinate by coordinate
    decode:     the slice of the server's model, zeros elsewhere

Hidden widths are found in the model (:mod:`jaxfed.algorithms.submodel.widths`); input and output are whole. A
slice of rate r has max(1, ceil(r d)) of d units. In the program it is a model of full size with zeros
outside, so that hospitals of all rates run side by side; what leaves a hospital is the slice
(:mod:`jaxfed.spec.costs`).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Weighting
from jaxfed.algorithms.submodel.widths import Axes, find_axes
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining, Trained
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, PyTree, Shard, Variables


class Held(NamedTuple):
    """The common form: an update, and who holds each coordinate (1 or 0; after a mean, what share does)."""

    update: Variables
    held: Variables


def encode(update: Variables, mask: Variables) -> Held:
    """The common form of one hospital's update."""
    return Held(tree.multiply(mask, update), mask)


def aggregate(mean: Held) -> Variables:
    """The mean over those who hold a coordinate, from the mean over all; 0 where nobody does."""

    def over_holders(update: Array, held: Array) -> Array:
        return jnp.where(held > 0, update / jnp.where(held > 0, held, 1), 0)

    return jax.tree.map(over_holders, mean.update, mean.held)


def decode(variables: Variables, mask: Variables) -> Variables:
    """A hospital's slice of the common model."""
    return tree.multiply(mask, variables)


def held_units(axes: Axes, rate: Array | float, offset: Array | int = 0) -> list[Array]:
    """For each hidden width d, bool ``[d]``: max(1, ceil(rate d)) units from ``offset`` on, modulo d."""
    held = []
    for d in axes.widths:
        # a thousandth less, so that .1 of 10 units is 1 unit in any precision
        count = jnp.maximum(jnp.ceil(rate * d - 1e-3), 1)
        held.append((jnp.arange(d) - offset) % d < count.astype(jnp.int32))
    return held


@pytree
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sliced(Problem):
    """A problem for a slice.

    Attributes:
        factor: what the model's arrays are multiplied with: 0 outside of the slice.
        labels: bool ``[outputs]``, the outputs that count; None for all.
    """

    factor: Variables
    labels: Array | None = None

    def row_losses(self, variables: Variables, batch: Batch) -> tuple[Array, PyTree]:
        """The loss of each row, with the logits of labels that are not here at zero."""
        sliced = tree.multiply(self.factor, variables)
        outputs, stats = self.model.apply(sliced, batch.x, train=True, key=batch.key, mask=batch.mask)
        if self.labels is not None:
            outputs = jnp.where(self.labels, outputs, 0)
        # a unit that is not there has nothing to count
        keep = (self.factor.stats, stats, variables.stats)
        stats = jax.tree.map(lambda here, new, old: jnp.where(here != 0, new, old), *keep)
        return self.losses(outputs, batch.y, batch.mask), stats


@pytree
@dataclasses.dataclass(frozen=True)
class Slices(Averaging):
    """Every hospital trains its slice, and the server averages each coordinate over those who hold it.

    Abstract: how a slice is trained is left open.

    Attributes:
        weighting: static; ``"uniform"`` or ``"samples"`` (n_k), over those who hold a coordinate.
        rate: share of each hidden width that a hospital holds, above 0 and up to 1.
        axes: static; the model's hidden widths, found by :meth:`for_model`.
    """

    weighting: Weighting = dataclasses.field(default="uniform", metadata={"static": True})
    rate: Number = 1.0
    axes: Axes | None = dataclasses.field(default=None, repr=False, metadata={"static": True}, kw_only=True)
    personal: ClassVar[bool] = True
    why_averaged: ClassVar[str] = "coordinates outside of a hospital's slice are zeros that mean nothing"

    def for_model(self, local: LocalTraining, x: PyTree) -> Slices:
        """With the model's hidden widths."""
        return dataclasses.replace(self, axes=find_axes(local.problem, x))

    def mask(self, variables: Variables, offset: Array | int = 0) -> Variables:
        """1 on this hospital's slice, 0 elsewhere."""
        assert self.axes is not None, "the engine calls for_model"
        return self.axes.mask(variables, held_units(self.axes, self.rate, offset))

    def trained(
        self, local: LocalTraining, server: Any, shard: Shard, key: Array, problem: Problem, mask: Variables
    ) -> Trained:
        """Local training of the slice ``mask`` on ``problem``; its variables are the change."""
        start = decode(server.variables, mask)
        trained = dataclasses.replace(local, problem=problem).train(start, shard, key)
        return trained._replace(variables=tree.subtract(trained.variables, start))

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> Any:
        """A step along the mean over holders; coordinates that nobody holds have a step of 0."""
        return super().server_update(server, aggregate(Held(update, cohort.aux)), cohort)

    def travels(self, variables: Variables) -> Variables:
        """The slice."""
        return self.mask(variables)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """A model without hidden widths; a rate that is none."""
        found = checks.number("rate", self.rate, 0, 1, above=True)
        return found + list(self.axes.problems if self.axes is not None else ())
