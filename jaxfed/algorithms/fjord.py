"""FjORD: ordered dropout, so that every narrower slice of a hospital's slice is a model too.

    every hospital k, every step:  p drawn uniformly from the widths that are not above r_k;
                                   a step of the leading ceil(p d) units of every hidden layer
    with ``distil``:               the loss is  l(f_r, y) + l(f_p, f_r),  f_r constant in the second term
    server:                        as HeteroFL, with weights n_k

Horvath, Laskaridis, Almeida, Leontiadis, Venieris, Lane 2021, "FjORD: fair and accurate federated learning
under heterogeneous targets with ordered dropout", arXiv:2102.13451. Distillation has temperature 1 and only
soft targets, as in the Flower baseline by two of the authors; for regression it is the squared distance.
A hospital deploys its widest slice.

Departures: one batch norm for all widths, where the paper has one for each; momentum or weight decay of the
hospitals' optimiser move the units that are dropped as well.

A poor choice where only one width is ever used: HeteroFL trains it in every step.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Weighting
from jaxfed.algorithms.submodel.slices import Sliced, Slices, decode, encode, held_units
from jaxfed.algorithms.submodel.widths import Axes
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number, PerHospital
from jaxfed.core.local import LocalTraining
from jaxfed.core.problem import Batch, Gradient, Problem
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Upload, Variables

DRAW = 1  # folded into a step's key for its width, so that dropout has other bits


@pytree
@dataclasses.dataclass(frozen=True, kw_only=True)
class Distilled(Sliced):
    """A slice that learns from a wider one while that learns from the labels.

    Attributes:
        widest: 1 on the wider slice.
    """

    widest: Variables

    def row_losses(self, variables: Variables, batch: Batch) -> tuple[Array, PyTree]:
        """l(f_r, y) + l(f_p, f_r)."""
        models = (tree.multiply(mask, variables) for mask in (self.widest, self.factor))
        (teacher, stats), (student, _) = (
            self.model.apply(model, batch.x, train=True, key=batch.key, mask=batch.mask) for model in models
        )
        soft = self.task.soft(student, jax.lax.stop_gradient(teacher))
        return self.losses(teacher, batch.y, batch.mask) + soft, stats


@pytree
@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordered(Problem):
    """A problem whose every step is that of a slice of random width.

    Attributes:
        rate: the widest.
        widths: to draw from.
        axes: static; the model's hidden widths.
        distil: static; whether the slice learns from the widest.
    """

    rate: Number
    widths: tuple[Number, ...]
    axes: Axes = dataclasses.field(metadata={"static": True})
    distil: bool = dataclasses.field(metadata={"static": True})

    def gradient(self, variables: Variables, batch: Batch) -> Gradient:
        """That of a slice."""
        return self.draw(variables, batch.key).gradient(variables, batch)

    def full_gradient(self, variables: Variables, shard: Shard, key: Array) -> Gradient:
        """That of a slice, the same for all rows."""
        return self.draw(variables, key).full_gradient(variables, shard, key)

    def draw(self, variables: Variables, key: Array) -> Sliced:
        """The problem of a slice whose width this key draws, up to :attr:`rate`."""
        widths = jnp.asarray(self.widths)
        draws = jax.random.uniform(jax.random.fold_in(key, DRAW), widths.shape)
        width = widths[jnp.argmax(jnp.where(widths <= self.rate + 1e-6, draws, -1))]
        factor = self.axes.mask(variables, held_units(self.axes, width))
        if not self.distil:
            return self.extended(Sliced, factor=factor)
        widest = self.axes.mask(variables, held_units(self.axes, self.rate))
        return self.extended(Distilled, factor=factor, widest=widest)


@pytree
@dataclasses.dataclass(frozen=True)
class FjORD(Slices):
    """Ordered dropout.

    Attributes:
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``, over those who hold a coordinate.
        widths: shares of the hidden widths that are drawn from.
        distil: static; whether each width learns from the hospital's widest.
    """

    weighting: Weighting = dataclasses.field(default="samples", metadata={"static": True})
    widths: tuple[Number, ...] = (0.25, 0.5, 0.75, 1.0)
    distil: bool = dataclasses.field(default=False, metadata={"static": True})

    def client_update(
        self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload the change of the slice."""
        assert self.axes is not None, "the engine calls for_model"
        mask = self.mask(server.variables)
        problem = local.problem.extended(
            Ordered, rate=self.rate, widths=self.widths, axes=self.axes, distil=self.distil
        )
        trained = self.trained(local, server, shard, key, problem, mask)
        return Upload(*encode(trained.variables, mask)), client, trained.metrics

    def variables(self, server: Any, client: tuple[()]) -> Variables:
        """The widest slice that this hospital holds."""
        return decode(server.variables, self.mask(server.variables))

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Widths that are none, or all above a hospital's rate."""
        found = [
            text
            for i, w in enumerate(self.widths)
            for text in checks.shared(f"widths[{i}]", w, 0, 1, above=True)
        ]
        rates = self.rate.values if isinstance(self.rate, PerHospital) else self.rate
        if (
            not found
            and isinstance(rates, (float, int, np.ndarray))
            and np.min(rates) < min(self.widths, default=2)
        ):
            found.append(
                f"rate={self.rate!r}: widths={self.widths} are all above it; add a width that is not"
            )
        return found + super().problems(local, variables)
