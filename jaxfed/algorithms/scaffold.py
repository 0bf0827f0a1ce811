"""Stochastic controlled averaging: hospitals correct their steps by what the others' gradients are.

    every hospital k:  y_k <- y_k - eta_l (g_k(y_k) - c_k + c), K_k steps from x
                       I:  c_k' = grad F_k(x), over all its rows
                       II: c_k' = c_k - c + (x - y_k) / (K_k eta_l)
    server:            x <- x + eta_g (1/m) sum_k (y_k - x);   c <- c + (1/N) sum_k (c_k' - c_k)

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh 2020, "SCAFFOLD: Stochastic controlled averaging for
federated learning", arXiv:1910.06378. m hospitals take part, N have rows; all controls start at 0, so
the first round is uniform FedAvg. eta_g is the step size of ``server_optimizer``. c is the mean of all
c_k after every round. With ``weighting="samples"``, a departure, both sums have weights n_k / n: the
objective is then that of FedAvg, and c the weighted mean. Option II divides by the steps really taken,
and by the step size of the round.

A poor choice where hospitals seldom take part (their c_k is old) or have few rows and small batches
(c_k of option II is then noise), and where they cannot keep anything between rounds.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Weighting, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class ScaffoldServer(NamedTuple):
    """The server with its control c, shaped like the parameters."""

    variables: Variables
    optimizer: optax.OptState
    control: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Scaffold(Averaging):
    """SCAFFOLD; every hospital keeps its control c_k, shaped like the parameters.

    Attributes:
        option: static; ``"II"`` reads the control off the distance, as in the paper's experiments; it
            needs plain sgd. ``"I"`` takes one more pass over the rows, and works with any optimiser.
        weighting: static; ``"uniform"``, as the sums of the paper are, or ``"samples"``.
    """

    weighting: Weighting = dataclasses.field(default="uniform", metadata={"static": True})
    option: Literal["I", "II"] = dataclasses.field(default="II", metadata={"static": True})

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Any, PyTree]:
        """Controls of 0."""
        base, _ = super().init(variables, key, clients)
        zeros = tree.zeros_like(variables.params)
        return ScaffoldServer(base.variables, base.optimizer, zeros), zeros

    def client_update(
        self, local: LocalTraining, server: Any, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """Upload y_k - x and c_k' - c_k."""
        offset = tree.subtract(server.control, client)
        trained = local.train(server.variables, shard, key, lambda grads, *_: tree.add(grads, offset))
        delta = tree.subtract(trained.variables, server.variables)
        if self.option == "I":
            control = local.problem.full_gradient(server.variables, shard, key).params
        else:
            assert local.optimizer is not None, "validated by Simulation"
            rate = local.optimizer.numbers["learning_rate"]
            length = jnp.maximum(trained.steps, 1).astype(jnp.result_type(rate, float)) * rate
            control = jax.tree.map(lambda o, d: -o - d / length.astype(d.dtype), offset, delta.params)
        return Upload((delta, tree.subtract(control, client))), control, trained.metrics

    def server_update(self, server: Any, update: tuple[Variables, PyTree], cohort: Cohort) -> Any:
        """A step, and the new c; absent hospitals count in its mean with no change."""
        delta, change = update
        moved = step(self.server_optimizer, server, delta)
        return ScaffoldServer(*moved, tree.axpy(cohort.share, change, server.control))

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """No such option, and optimisers whose distance says nothing of the gradients."""
        found = [] if self.option in ("I", "II") else [f"option={self.option!r}: give 'I' or 'II'"]
        if self.option == "II":
            remedy = ", or Scaffold(option='I'), which works with any optimiser"
            found += [said + remedy for said in checks.plain_sgd("Scaffold(option='II')", local)]
        return found
