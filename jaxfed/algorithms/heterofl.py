"""HeteroFL: every hospital trains as wide a slice of one model as it can hold.

    every hospital k:  x_k <- the leading ceil(r_k d) units of every hidden layer of x
                       y_k <- local training from x_k
    server:            x_j <- mean of y_kj over those who hold coordinate j; as it was where nobody does

Diao, Ding, Tarokh 2021, "HeteroFL: computation and communication efficient federated learning for
heterogeneous clients", arXiv:2010.01264. The mean is uniform, as in the paper; ``weighting="samples"``
weights it. With all rates 1 it is FedAvg with uniform weights (for classes: without the masked loss).

Scaler: in a slice of rate r what a hidden layer gives is divided by r before normalisation and activation,
here by dividing the layer's kernel and bias (their last axis is the layer's output, as in flax) inside the
loss. Masked loss (classes only): logits of labels that a hospital has no training row of are 0 in its loss,
and it does not count for their rows of the last layer. Both as in the authors' code.

Departures: a hospital deploys its slice of the new model as it trained it, scaled and with the same logits
at 0, where the paper tests the whole model (on a hospital's own rows also with these logits at 0); statistics
of batch norm are averaged like parameters, where the paper estimates them again after training; rates are
fixed or a schedule, never drawn.

A poor choice where the small slices are too small to learn the task: their units are the ones that everybody
holds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms.partial import norms
from jaxfed.algorithms.submodel.slices import Sliced, Slices, decode, encode, held_units
from jaxfed.algorithms.submodel.widths import find_axes
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Upload, Variables, labels

Labels = Array | None  # bool [outputs]: those that a hospital has; None where they are not masked


@pytree
@dataclasses.dataclass(frozen=True)
class HeteroFL(Slices):
    """Leading slices, averaged over those who hold them.

    Attributes:
        scaler: static; whether hidden layers of a slice are divided by its rate.
        masked_loss: static; whether labels that a hospital does not have are left out of its loss.
    """

    scaler: bool = dataclasses.field(default=True, metadata={"static": True})
    masked_loss: bool = dataclasses.field(default=True, metadata={"static": True})

    def for_model(self, local: LocalTraining, x: PyTree) -> HeteroFL:
        """With the model's hidden widths; there are no labels to mask where there are no classes."""
        masked = self.masked_loss and local.problem.task.output_per_class
        return dataclasses.replace(self, axes=find_axes(local.problem, x), masked_loss=masked)

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Any, Labels]:
        """A hospital keeps which labels it has; until it takes part, all."""
        server, _ = super().init(variables, key, clients)
        assert self.axes is not None, "the engine calls for_model"
        return server, jnp.ones((self.axes.outputs,), bool) if self.masked_loss else None

    def client_update(
        self, local: LocalTraining, server: Any, client: Labels, shard: Shard, key: Array
    ) -> tuple[Upload, Labels, Metrics]:
        """Upload the change of the slice, and which coordinates it counts for."""
        assert self.axes is not None, "the engine calls for_model"
        labels = labels_of(shard, self.axes.outputs, local.problem.chunk) if self.masked_loss else None
        units = held_units(self.axes, self.rate, self.sent_window(server))
        mask = self.axes.mask(server.variables, units)
        problem = local.problem.extended(Sliced, factor=self._scaled(mask), labels=labels)
        trained = self.trained(local, server, shard, key, problem, mask)
        counted = self.axes.mask(server.variables, units, labels)
        return Upload(*encode(trained.variables, counted)), labels, trained.metrics

    def variables(self, server: Any, client: Labels) -> Variables:
        """The slice, scaled and masked as in training."""
        assert self.axes is not None, "the engine calls for_model"
        units = held_units(self.axes, self.rate, self.deployed_window(server))
        mask = self.axes.mask(server.variables, units, client)
        return decode(server.variables, self._scaled(mask))

    def sent_window(self, server: Any) -> Array | int:
        """The first unit of the slices of this round."""
        return 0

    def deployed_window(self, server: Any) -> Array | int:
        """The first unit of the slices that are in use."""
        return 0

    def _scaled(self, mask: Variables) -> Variables:
        """The mask, divided by the rate on what makes a hidden layer."""
        if not self.scaler:
            return mask
        assert self.axes is not None
        makes = jax.tree.map(lambda last, norm: last and not norm, self.axes.last(mask), norms(mask))
        return jax.tree.map(lambda m, made: (m / self.rate).astype(m.dtype) if made else m, mask, makes)


def labels_of(shard: Shard, outputs: int, chunk: int) -> Array:
    """bool ``[outputs]``: the labels that occur in a hospital's rows."""

    def add(seen: Array, x: PyTree, y: Array, mask: Array, c: Array) -> Array:
        return seen | ((labels(y)[:, None] == jnp.arange(outputs)) & mask[:, None]).any(0)

    return shard.fold(chunk, add, jnp.zeros((outputs,), bool))
