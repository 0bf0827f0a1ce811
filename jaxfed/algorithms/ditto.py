"""Ditto: a global model, and personal models that are held near it.

    global part:       x is trained by FedAvg, untouched by the rest
    every hospital k:  v_k <- v_k - eta (grad F_k(v_k) + lambda (v_k - x)),   x as the round begins

Li, Hu, Beirami, Smith 2021, "Ditto: fair and robust federated learning through personalization",
arXiv:2012.04221. lambda = 0 is local training; a large lambda gives the global model.

As in the authors' code both models take as many steps, on the same mini-batches. Departure: lambda is one
number (or one per hospital, ``jaxfed.per_hospital``) and not picked on validation rows.

A poor choice where computation is dear: a round costs two trainings.
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
class Ditto(Personal):
    """Personal models near the global one.

    Attributes:
        lam: lambda, the pull towards the global model.
    """

    lam: Number = 1.0

    def client_update(
        self, local: LocalTraining, server: Server, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Upload the global model's change, keep the personal one."""
        x = server.variables
        shared = local.train(x, shard, key)
        own = local.train(client, shard, key, lambda grads, v, _: tree.pull(self.lam, v, x.params, grads))
        metrics = {"loss": own.loss, "global_loss": shared.loss}
        return Upload(tree.subtract(shared.variables, x)), own.variables, metrics

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether lambda makes sense."""
        return checks.number("lam", self.lam)
