"""Client-level momentum: hospitals follow the last round's mean direction beside their own gradient.

    every hospital k:  y_k <- y_k - eta_l (alpha g_k(y_k) + (1 - alpha) d), K_k steps from x
    server:            d <- -sum_k w_k (y_k - x) / (K_k eta_l) / sum_k w_k
                       x <- x + eta_g sum_k w_k (y_k - x) / sum_k w_k

Xu, Wang, Wang, Yao 2021, "FedCM: Federated learning with client-level momentum", arXiv:2106.10874. d
starts at 0, so the first steps are short by alpha; alpha = 1 is FedAvg. Nothing is kept in hospitals.
Departures: weights are n_k unless asked for otherwise, and each hospital's direction is divided by its
own number of steps, where the paper's is one number for all.

A poor choice where rounds are few: the direction takes some 1 / alpha rounds to build up.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class MomentumServer(NamedTuple):
    """The server with the direction d, shaped like the parameters."""

    variables: Variables
    optimizer: optax.OptState
    direction: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class FedCM(Averaging):
    """Client-level momentum.

    Attributes:
        alpha: share of the hospital's own gradient in a step.
    """

    alpha: float = 0.1

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[MomentumServer, tuple[()]]:
        """No direction."""
        base, client = super().init(variables, key, clients)
        return MomentumServer(base.variables, base.optimizer, tree.zeros_like(variables.params)), client

    def client_update(
        self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x and the mean of the hospital's steps."""

        def mixed(grads: PyTree, params: PyTree, gradient: Any) -> PyTree:
            return jax.tree.map(lambda g, d: self.alpha * g + (1 - self.alpha) * d, grads, server.direction)

        trained = local.train(server.variables, shard, key, mixed)
        delta = tree.subtract(trained.variables, server.variables)
        assert local.optimizer is not None, "validated by Simulation"
        rate = local.optimizer.numbers["learning_rate"]
        length = jnp.maximum(trained.steps, 1).astype(jnp.result_type(rate, float)) * rate
        direction = jax.tree.map(lambda d: -d / length.astype(d.dtype), delta.params)
        return Upload(delta, direction), client, trained.metrics

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> Any:
        """A step, and the direction of the next round."""
        return MomentumServer(*step(self.server_optimizer, server, update), cohort.aux)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """A share out of range, and optimisers whose distance says nothing of the gradients."""
        return [
            *(checks.number("alpha", self.alpha, above=True) or checks.number("alpha", self.alpha, 0, 1)),
            *checks.plain_sgd("FedCM", local),
        ]
