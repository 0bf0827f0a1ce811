"""Federated averaging with a spring that ties hospitals to the model of the round.

    every hospital k:  y_k <- local training on F_k(y) + mu/2 ||y - x||^2 from x,
                       that is y <- y - eta (g(y) + mu (y - x))
    server:            x <- x + eta_g sum_k w_k (y_k - x) / sum_k w_k

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, "Federated optimization in heterogeneous networks",
arXiv:1812.06127. The paper draws hospitals with probability n_k / n and takes the plain mean; here the
mean has weights n_k and who takes part is up to the participation. With client momentum the spring's
force is part of what gets momentum. Steps are stable for eta mu < 1.

:class:`AdaptiveFedProx` changes mu as the paper's appendix does: + 0.1 when the loss rises, - 0.1 after
it fell five rounds in a row. The loss is sum_k w_k F_k(x) / sum_k w_k over who is present, so with small
cohorts it also rises and falls by who they are.

A poor choice where hospitals should go far in a round: a large mu is like a short step.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Server, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining, Trained
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


def tied(local: LocalTraining, x: Variables, mu: Any, shard: Shard, key: Array) -> Trained:
    """Local training from ``x`` with a proximal term of strength ``mu``."""

    def proximal(grads: PyTree, y: PyTree, gradient: Any) -> PyTree:
        return tree.pull(mu, y, x.params, grads)  # + mu (y - x)

    return local.train(x, shard, key, proximal)


@pytree
@dataclasses.dataclass(frozen=True)
class FedProx(Averaging):
    """Federated averaging with a proximal term.

    Attributes:
        mu: strength of the proximal term; the paper tries 0.001, 0.01, 0.1 and 1. 0 is FedAvg.
    """

    mu: float = 0.1

    def client_update(
        self, local: LocalTraining, server: Server, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x."""
        trained = tied(local, server.variables, self.mu, shard, key)
        return Upload(tree.subtract(trained.variables, server.variables)), client, trained.metrics

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """A spring that pushes."""
        return checks.number("mu", self.mu)


class ProxServer(NamedTuple):
    """The server with mu, the loss of the last round, and for how many rounds it fell (-1: no loss yet)."""

    variables: Variables
    optimizer: optax.OptState
    mu: Array
    loss: Array
    fell: Array


@pytree
@dataclasses.dataclass(frozen=True)
class AdaptiveFedProx(FedProx):
    """FedProx whose server turns mu up and down.

    Attributes:
        mu: where to start.
        change: how much mu rises and falls; it never falls below 0.
        patience: static; rounds in a row that the loss must fall before mu does.
    """

    change: float = 0.1
    patience: int = dataclasses.field(default=5, metadata={"static": True})

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[ProxServer, tuple[()]]:
        """No loss is known."""
        base, client = super().init(variables, key, clients)
        zero = jnp.zeros((), jnp.result_type(float))
        return ProxServer(
            base.variables, base.optimizer, zero + self.mu, zero, jnp.full((), -1, jnp.int32)
        ), client

    def client_update(
        self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x and F_k(x)."""
        loss = local.problem.full_loss(server.variables, shard)
        trained = tied(local, server.variables, server.mu, shard, key)
        delta = tree.subtract(trained.variables, server.variables)
        return Upload(delta, loss), client, trained.metrics

    def server_update(self, server: ProxServer, update: Variables, cohort: Cohort) -> Any:
        """A step, and the mu of the next round."""
        loss = cohort.aux
        known = server.fell >= 0
        rose = known & (loss > server.loss)
        fell = jnp.where(known & (loss < server.loss), server.fell + 1, 0)
        loosen = fell >= self.patience
        mu = server.mu + jnp.where(rose, self.change, jnp.where(loosen, -self.change, 0.0))
        moved = step(self.server_optimizer, server, update)
        return ProxServer(*moved, jnp.maximum(mu, 0), loss, jnp.where(loosen, 0, fell))

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Numbers out of range, or of hospitals instead of the server."""
        return [
            *checks.shared("mu", self.mu),
            *checks.shared("change", self.change),
            *checks.count("patience", self.patience),
        ]
