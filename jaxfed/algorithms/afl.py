"""Agnostic federated learning: a model that is good for every mixture of hospitals, the worst one too.

    min over x, max over lambda in the simplex, of sum_k lambda_k F_k(x)

    every hospital k:  F_k(x), over all its rows;   y_k <- local training from x
    server:            x <- x + eta_g sum_k lambda_k (y_k - x) / sum_k lambda_k
                       lambda <- projection of lambda + gamma F(x) on the simplex

Mohri, Sivek, Suresh 2019, "Agnostic federated learning", arXiv:1902.00146, with local steps in place of
one gradient as in Ro, Chen, Yan, Shah, Suresh 2021, arXiv:2104.02748. lambda starts uniform. The server
sees every hospital's loss. Departures: the paper returns the mean of all iterates, here it is the last one;
who is absent keeps its lambda, and the others are projected on what is left of the simplex, where the
paper draws gradients that are right on average (so a cohort of one does not move lambda).

A poor choice where a hospital's loss is high because its labels are noisy: nobody can help it, and it gets
all the weight.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import MEAN, Stepping, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, Shard, Upload, Variables


class AgnosticServer(NamedTuple):
    """The server with lambda, ``[C]``."""

    variables: Variables
    optimizer: optax.OptState
    mixture: Array


def project(v: Array, members: Array, mass: Array) -> Array:
    """The point nearest to ``v`` with entries >= 0 that add up to ``mass``, 0 outside ``members``.

    (Held, Wolfe, Crowder 1974: subtract one number from all entries and cut at 0.)
    """
    least = jnp.where(members, v, -jnp.inf).max() - mass - 1  # too low to stay
    ordered = jnp.sort(jnp.where(members, v, least))[::-1]
    excess = (jnp.cumsum(ordered) - mass) / jnp.arange(1, len(v) + 1, dtype=v.dtype)
    level = excess[jnp.maximum((ordered > excess).sum() - 1, 0)]
    return jnp.where(members, jnp.maximum(v - level, 0), 0)


@pytree
@dataclasses.dataclass(frozen=True)
class AFL(Stepping):
    """Agnostic federated learning.

    Attributes:
        gamma: step size of lambda.
        server_optimizer: takes the step of x.
    """

    gamma: float = 0.1
    server_optimizer: Optimizer = MEAN
    weighting = "uniform"  # lambda starts there; `weights` has what it is
    why_averaged: ClassVar[str] = "the weights of the mean are the mixture that it learns"

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[AgnosticServer, tuple[()]]:
        """Equal lambdas; the first round makes those of hospitals with rows add up to 1."""
        base, client = super().init(variables, key, clients)
        equal = jnp.ones((clients,), jnp.result_type(float))
        return AgnosticServer(base.variables, base.optimizer, equal), client

    def weights(self, server: AgnosticServer, sizes: Array) -> Array:
        """Lambda."""
        return jnp.where(sizes > 0, server.mixture, 0)

    def client_update(
        self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x for the mean, and F_k(x) for the server to see, with a 1 for being there."""
        loss = local.problem.full_loss(server.variables, shard)
        trained = local.train(server.variables, shard, key)
        delta = tree.subtract(trained.variables, server.variables)
        return Upload(delta, each=(loss, jnp.ones(()))), client, trained.metrics

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> AgnosticServer:
        """A step of x and one of lambda."""
        losses, there = cohort.each
        here = there > 0
        mixture = self.weights(server, cohort.sizes)
        mixture = mixture / mixture.sum()
        mass = jnp.where(here, mixture, 0).sum()
        present = project(mixture + self.gamma * losses, here, mass)
        mixture = jnp.where(here, present, mixture).astype(server.mixture.dtype)
        return AgnosticServer(*step(self.server_optimizer, server, update), mixture)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """A step of lambda that goes backwards."""
        return checks.shared("gamma", self.gamma)
