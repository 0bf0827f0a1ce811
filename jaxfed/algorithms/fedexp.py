"""Federated averaging with an extrapolated server step.

    every hospital k:  D_k = y_k - x after local training from x
    server:            D = sum_k p_k D_k
                       eta_g = max(1, sum_k p_k ||D_k||^2 / (2 (||D||^2 + eps)));   x <- x + eta_g D

Jhunjhunwala, Wang, Joshi 2023, "FedExP: Speeding up federated averaging via extrapolation",
arXiv:2301.09604. The norms are over all parameters together. p_k = 1/m in the paper and n_k / sum n in
the authors' code; both are here. The model to deploy is the mean of the last two iterates, as in the paper,
while training goes on from the last one. Departure: eps is a constant, where the authors' code has m eps and
lets it fall with the rounds (a schedule does that here).

eps is compared with the squared norm of the mean update, on its absolute scale: once ||D||^2 has fallen well
below eps the step is the plain one and nothing is sped up any more. Near a solution, with small step sizes or
small models, give an eps well below the ||D||^2 that is of interest.

A poor choice where hospitals' batches are small: noise in the D_k is taken for disagreement, and the step
is then too long.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Server, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class ExpServer(NamedTuple):
    """The server with the model before the last one, and eta_g of the last round."""

    variables: Variables
    optimizer: optax.OptState
    previous: Variables
    extrapolation: Array


@pytree
@dataclasses.dataclass(frozen=True)
class FedExP(Averaging):
    """Federated averaging with an extrapolated server step.

    Attributes:
        eps: keeps the step finite near a solution, in units of ||D||^2; the paper tries 1e-3 and 0.1.
        average_last_two: static; deploy (x_t + x_{t-1}) / 2, not x_t.
    """

    eps: float = 1e-3
    why_untransformed: ClassVar[str] = "its step compares the norms of updates with that of their mean"
    why_averaged: ClassVar[str] = "its step compares the mean update with the mean of squared norms"
    average_last_two: bool = dataclasses.field(default=True, metadata={"static": True})

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[ExpServer, tuple[()]]:
        """The model before the first one is the first one."""
        base, client = super().init(variables, key, clients)
        return ExpServer(
            base.variables, base.optimizer, variables, jnp.ones((), jnp.result_type(float))
        ), client

    def client_update(
        self, local: LocalTraining, server: Server, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload D_k and the square of its norm."""
        trained = local.train(server.variables, shard, key)
        delta = tree.subtract(trained.variables, server.variables)
        return Upload(delta, tree.squared_norm(delta.params)), client, trained.metrics

    def server_update(self, server: ExpServer, update: Variables, cohort: Cohort) -> Any:
        """A step of eta_g."""
        delta, stats = update
        eta = jnp.maximum(1.0, cohort.aux / (2 * (tree.squared_norm(delta) + self.eps)))
        eta = eta.astype(server.extrapolation.dtype)
        moved = step(self.server_optimizer, server, Variables(tree.scale(eta, delta), stats))
        return ExpServer(*moved, server.variables, eta)

    def variables(self, server: ExpServer, client: PyTree) -> Variables:
        """The mean of the last two models, or the last one."""
        if not self.average_last_two:
            return server.variables
        return jax.tree.map(lambda x, y: ((x + y) / 2).astype(x.dtype), server.variables, server.previous)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """An eps that lets the step grow without bound."""
        return checks.shared("eps", self.eps, above=True)
