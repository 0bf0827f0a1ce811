"""Normalised averaging: hospitals that take more steps do not pull harder.

    every hospital k:  y_k <- tau_k local steps from x;   d_k = (y_k - x) / ||a_k||_1
    server:            x <- x + (sum_k p_k ||a_k||_1) (sum_k p_k d_k),   p_k = n_k / sum_k n_k

Wang, Liu, Liang, Joshi, Poor 2020, "Tackling the objective inconsistency problem in heterogeneous
federated optimization", arXiv:2007.07481. y_k - x = -eta sum_t a_{k,t} g_t, with ||a_k||_1 = tau_k for
plain sgd. In general, with momentum rho and proximal strength mu, the coefficients from the last gradient
back to the first are what is left of a unit step after 0, 1, ... steps,

    m = a = 1;   m <- rho m - eta mu a;   a <- a + m;   ||a_k||_1 = sum of |a| over tau_k steps,

whose signs alternate where eta mu > 1.

With equal ||a_k||_1 this is FedAvg. Departures from the authors' code: for mu > 0 it takes
sum_k p_k tau_k as the first factor; with both momentum and a proximal term it chains two recursions that
are right one at a time, where this one is the sum of the coefficients. Their server momentum is
``server_optimizer``.

A poor choice where hospitals with more steps *should* pull harder, and with adaptive client optimisers,
which it refuses.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.fedprox import tied
from jaxfed.algorithms.server import Averaging, Server, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, Shard, Upload, Variables


def unit_distance(steps: Array, rate: Any, momentum: Any, mu: Any, shard: Shard) -> Array:
    """``||a||_1`` of ``steps`` steps of sgd with momentum and a proximal term."""

    def body(t: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        m, a, total = carry
        total = total + jnp.abs(a)
        m = momentum * m - rate * mu * a
        return m, a + m, total

    zero = jnp.zeros((), jnp.result_type(float))
    return shard.loop(steps, body, (zero + 1, zero + 1, zero))[2]


@pytree
@dataclasses.dataclass(frozen=True)
class FedNova(Averaging):
    """Normalised averaging.

    Attributes:
        mu: strength of a proximal term as in FedProx; 0 for none.
    """

    mu: float = 0.0

    def client_update(
        self, local: LocalTraining, server: Server, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload the normalised direction and its norm."""
        trained = tied(local, server.variables, self.mu, shard, key)
        delta = tree.subtract(trained.variables, server.variables)
        assert local.optimizer is not None, "validated by Simulation"
        numbers = local.optimizer.numbers
        rate, momentum = numbers["learning_rate"], numbers.get("momentum", 0.0)
        norm = unit_distance(trained.steps, rate, momentum, self.mu, shard)
        direction = tree.scale(1 / jnp.maximum(norm, 1), delta.params)
        return Upload(Variables(direction, delta.stats), norm), client, trained.metrics

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> Any:
        """A step along the mean direction, as long as the mean hospital's."""
        direction = tree.scale(cohort.aux, update.params)
        return step(self.server_optimizer, server, Variables(direction, update.stats))

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Optimisers whose distance says nothing of the gradients."""
        return [*checks.number("mu", self.mu), *checks.plain_sgd("FedNova", local, momentum=True)]
