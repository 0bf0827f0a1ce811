"""Model-contrastive learning: a hospital's features stay close to the global model's.

    every hospital k:  y_k <- local training from x on loss + mu l, with, for each row,
                       l = -log( e^(cos(z, z_glob)/tau) / (e^(cos(z, z_glob)/tau) + e^(cos(z, z_prev)/tau)) )
    server:            x <- x + eta_g sum_k w_k (y_k - x) / sum_k w_k

z are the features of the row by y, by x and by the model that this hospital had after its last round; the
last two are constants. Li, He, Song 2021, "Model-contrastive federated learning", arXiv:2103.16257.
A hospital that takes part for the first time contrasts with the initial model, also in a later round: in the
authors' code a hospital that never took part has the model that it began with. In the first round that is
the global model, and l = log 2 pulls nowhere. Departures: in the authors' code every hospital begins with a
model of its own and has no contrast in the first round; features are those of evaluation mode (no dropout,
running batch statistics), of y as well.

A poor choice for shallow models: features that are the rows themselves cannot move.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Server
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Upload, Variables


def cosine(a: Array, b: Array) -> Array:
    """Cosine of the angle between rows of ``a`` and ``b``, ``[B, d]``; 0 where one of them is 0."""
    lengths = jnp.sum(a * a, -1) * jnp.sum(b * b, -1)
    return jnp.sum(a * b, -1) * jax.lax.rsqrt(jnp.maximum(lengths, 1e-16))


@pytree
@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive(Problem):
    """A problem with the contrastive loss added to every row's.

    Attributes:
        towards, away: the global and the previous model.
        mu, tau: weight and temperature.
    """

    towards: Variables
    away: Variables
    mu: float
    tau: float

    def row_losses(self, variables: Variables, batch: Batch) -> tuple[Array, PyTree]:
        """Loss + mu l of each row."""
        losses, stats = super().row_losses(variables, batch)
        models = (variables, self.towards, self.away)
        own, glob, previous = (self.features(v, batch.x).reshape(len(losses), -1) for v in models)
        contrast = jax.nn.softplus((cosine(own, previous) - cosine(own, glob)) / self.tau)
        return losses + self.mu * contrast, stats


@pytree
@dataclasses.dataclass(frozen=True)
class MOON(Averaging):
    """Model-contrastive learning; every hospital keeps its last model.

    The model needs a method ``features(x)`` that gives what goes into its last layer.

    Attributes:
        mu: weight of the contrastive loss; the paper tries 0.1, 1, 5 and 10. 0 is FedAvg.
        tau: temperature.
    """

    mu: float = 1.0
    tau: float = 0.5

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Server, Variables]:
        """Every hospital's last model is the first one."""
        return super().init(variables, key, clients)[0], variables

    def client_update(
        self, local: LocalTraining, server: Server, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Upload y_k - x and keep y_k."""
        contrastive = local.problem.extended(
            Contrastive, towards=server.variables, away=client, mu=self.mu, tau=self.tau
        )
        pulled = dataclasses.replace(local, problem=contrastive)
        trained = pulled.train(server.variables, shard, key)
        delta = tree.subtract(trained.variables, server.variables)
        return Upload(delta), trained.variables, trained.metrics

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """A model without features; numbers out of range."""
        found = checks.number("mu", self.mu) + checks.number("tau", self.tau, above=True)
        if not local.problem.model.has_features:
            found.append(
                "MOON compares features, and the model has no method `features(x)`; write one that gives "
                "what goes into its last layer (jaxfed's own models have it)"
            )
        return found
