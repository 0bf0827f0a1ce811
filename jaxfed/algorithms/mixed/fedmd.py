"""FedMD: hospitals agree on the scores of public rows, and each learns them with a model of its own.

    every hospital k:  digest:       y_k <- training on |f(y_k; d) - f~(d)| for public rows d
                       revisit:      y_k <- local training on its own rows
                       communicate:  f(y_k; d) for public rows d of the next round
    server:            f~(d) = 1/m sum_k f(y_k; d)

f are scores before any softmax (logits; predictions in regression), so any task and any loss will do. Li,
Wang 2019, "FedMD: heterogenous federated learning via model distillation", arXiv:1910.03581. The mean
absolute error, one digest epoch of batches of 256 and uniform weights are those of the authors' code, which
draws 5000 public rows for every round.

Departures: a round begins with digest and ends with communicate (theirs begins with communicate; the
sequence is the same, and in both the model is used after revisit). Nothing is trained on labels of the public
rows beforehand: they need none, and the first round is private training.

A poor choice where the public rows are unlike the hospitals' own: their scores are then guesses.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms.mixed.distilling import Distilling
from jaxfed.core.pytree import pytree


@pytree
@dataclasses.dataclass(frozen=True)
class FedMD(Distilling):
    """Agree on scores of public rows, and learn them by absolute error."""

    @staticmethod
    def distance(outputs: Array, targets: Array) -> Array:
        """Mean absolute error of the scores."""
        return jnp.abs(outputs - targets).reshape(len(outputs), -1).mean(-1)
