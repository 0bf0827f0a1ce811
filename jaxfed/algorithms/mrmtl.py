"""Mean-regularised multi-task learning.

    every hospital k:  w_k <- local training of F_k(w) + lambda/2 ||w - wbar||^2 from w_k
    server:            wbar <- mean of the w_k of the round

Liu, Hu, Wu, Smith 2022, "On privacy and personalization in cross-silo federated learning",
arXiv:2206.07902. Every hospital has a model of its own; only their mean is shared. lambda = 0 is local
training. In the paper the hospitals' gradients are private; here they are what the local training says.

Departures: with ``server_optimizer`` the mean may be followed with another step than 1; the mean has weights
n_k unless asked for otherwise, the paper's is uniform.

A poor choice where hospitals seldom take part: the mean is over those present, and the others go on from
models that have not seen it for long.
"""

from __future__ import annotations

import dataclasses

from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Personal, Server
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class MRMTL(Personal):
    """Personal models held near their mean.

    Attributes:
        lam: lambda, the pull towards the mean.
    """

    lam: Number = 1.0

    def client_update(
        self, local: LocalTraining, server: Server, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Upload w_k - wbar, keep w_k."""
        mean = server.variables
        own = local.train(client, shard, key, lambda grads, w, _: tree.pull(self.lam, w, mean.params, grads))
        return Upload(tree.subtract(own.variables, mean)), own.variables, own.metrics

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether lambda makes sense."""
        return checks.number("lam", self.lam)
