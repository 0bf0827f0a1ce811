"""Personalised models by Moreau envelopes.

    every hospital k, from w_k = x, in each of its R steps (one mini-batch each):
        theta_k <- theta_k - eta_p (g(theta_k) + lambda (theta_k - w_k)),   K times on that mini-batch
        w_k     <- w_k - eta lambda (w_k - theta_k)
    server: x <- (1 - beta) x + beta mean of w_k;   a hospital uses its last theta_k

Dinh, Tran, Nguyen 2020, "Personalized federated learning with Moreau envelopes", arXiv:2006.08848:
lambda = 15, K = 5. R is the number of local steps, eta the hospitals' step size (0.005 in the paper; any
optimiser), beta the step size of ``server_optimizer`` (1 or 2 in the paper), and the mean has equal weights.

As in the authors' code theta_k starts from x in every round and goes on from one step to the next.

A poor choice where eta lambda or eta_p lambda comes near 1 (it then jumps), and for few local steps.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax
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
class PFedMe(Personal):
    """Personal models from Moreau envelopes.

    Attributes:
        lam: lambda, the pull between personal and local model.
        inner_steps: K, steps on the personal model for each mini-batch.
        personal_rate: eta_p, their step size.
    """

    weighting: Literal["samples", "uniform"] = dataclasses.field(default="uniform", metadata={"static": True})
    lam: Number = 15.0
    inner_steps: Number = 5
    personal_rate: Number = 0.01

    def client_update(
        self, local: LocalTraining, server: Server, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Upload w_k - x, keep theta_k."""
        assert local.optimizer is not None, "validated by Simulation"
        transformation = local.optimizer.build()
        x = server.variables
        nothing = jnp.zeros((), jnp.result_type(float))

        def step(t: Array, carry: tuple) -> tuple:
            w, theta, optimizer, total = carry
            at = local.gradient(shard, key, t)

            def inner(_: Array, carry: tuple[Variables, Array]) -> tuple[Variables, Array]:
                theta, _ = carry
                loss, grads, stats = at(theta)
                grads = tree.pull(self.lam, theta.params, w, grads)
                return Variables(tree.axpy(-self.personal_rate, grads, theta.params), stats), loss

            theta, loss = jax.lax.fori_loop(0, self.inner_steps, inner, (theta, nothing))
            grads = tree.scale(self.lam, tree.subtract(w, theta.params))
            updates, optimizer = transformation.update(grads, optimizer, w)
            return optax.apply_updates(w, updates), theta, optimizer, total + loss

        start = (x.params, x, transformation.init(x.params), nothing)
        w, theta, _, total = local.repeat(shard, step, start)
        metrics = {"loss": local.mean_of_steps(total, shard)}
        return Upload(tree.subtract(Variables(w, theta.stats), x)), theta, metrics

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the numbers make sense."""
        found = checks.number("lam", self.lam) + checks.number("personal_rate", self.personal_rate)
        return found + checks.count("inner_steps", self.inner_steps)
