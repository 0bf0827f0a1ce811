"""Normalisation layers stay in the hospital.

    w = (shared, norm_k);  every hospital trains both, the server averages what is no normalisation layer

Li, Jiang, Zhang, Kamp, Dou 2021, "FedBN: federated learning on non-IID features via local batch
normalization", arXiv:2102.07623: scale, shift and running statistics of batch normalisation are each
hospital's own.

Departure: scale and shift of layer and group normalisation stay as well, where a model has them. Other
things that a model counts (``stats``) stay too. Weights are n_k unless asked for otherwise, the paper's mean
is uniform.

A poor choice for a hospital that joins later: it has no statistics and starts from the initial ones.
"""

from __future__ import annotations

import dataclasses

import jax

from jaxfed.algorithms.partial import Partial, norms
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Variables


@pytree
@dataclasses.dataclass(frozen=True)
class FedBN(Partial):
    """FedAvg of everything but normalisation layers."""

    def mine(self, variables: Variables) -> Variables:
        """Normalisation layers, and all statistics."""
        return norms(variables)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the model has normalisation layers."""
        if any(jax.tree.leaves(self.mine(variables))):
            return []
        return ["the model has no normalisation layer; add one such as flax.linen.BatchNorm, or use FedAvg"]
