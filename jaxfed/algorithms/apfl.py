"""Adaptive personalised federated learning: a mixture of a local and the global model.

    every hospital k:  w_k <- w_k - eta g(w_k),   from x as in FedAvg
                       v_k <- v_k - eta alpha_k g(vbar_k),   vbar_k = alpha_k v_k + (1 - alpha_k) w_k
    once a round:      alpha_k <- alpha_k - eta_alpha <v_k - w_k, g(vbar_k)>, kept within [0, 1]
    server:            x <- mean of w_k;   a hospital uses alpha_k v_k + (1 - alpha_k) x

Deng, Kamani, Mahdavi 2020, "Adaptive personalized federated learning", arXiv:2003.13461. Both gradients of
a step are of the same mini-batch; alpha_k is adapted at the first step of a round. alpha = 0 is FedAvg,
alpha = 1 local training.

Batch statistics of the mixture stay in the hospital, those of w_k are averaged. Departures: alpha has a
step size of its own; the mean has weights n_k unless asked for otherwise, the paper's is uniform.

A poor choice where computation is dear: a round costs two trainings.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Server, begin
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number, Schedule
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Upload, Variables


class Personal(NamedTuple):
    """The local model v_k (with the mixture's batch statistics) and its share alpha_k."""

    variables: Variables
    alpha: Array


@pytree
@dataclasses.dataclass(frozen=True)
class APFL(Averaging):
    """Mixtures of local and global models.

    Attributes:
        alpha: share of the local model; the first one where it is adapted.
        adaptive: static; whether hospitals adapt alpha.
        alpha_rate: step size of alpha.
    """

    alpha: Number = 0.5
    adaptive: bool = dataclasses.field(default=False, metadata={"static": True})
    alpha_rate: Number = 0.1
    personal: ClassVar[bool] = True

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Server, Personal]:
        """Both models are ``variables``."""
        share = jnp.asarray(self.alpha, jnp.result_type(float))
        return begin(self.server_optimizer, variables), Personal(variables, share)

    def client_update(
        self, local: LocalTraining, server: Server, client: Personal, shard: Shard, key: Array
    ) -> tuple[Upload, Personal, Metrics]:
        """Upload w_k - x, keep v_k and alpha_k."""
        assert local.optimizer is not None, "validated by Simulation"
        transformation = local.optimizer.build()
        first = transformation.init(server.variables.params)
        client = client._replace(alpha=self._share(client))

        def step(t: Array, carry: tuple) -> tuple:
            w, v, alpha, of_w, of_v, loss = carry
            at = local.gradient(shard, key, t)
            shared = at(w)
            mixed = at(Variables(_mix(alpha, v.params, w.params), v.stats))
            if self.adaptive:
                slope = tree.dot(tree.subtract(v.params, w.params), mixed.params)
                adapted = jnp.clip(alpha - self.alpha_rate * slope, 0, 1)
                new = jnp.where(t == 0, adapted, alpha)
            else:
                new = alpha
            down, of_w = transformation.update(shared.params, of_w, w.params)
            own, of_v = transformation.update(tree.scale(alpha, mixed.params), of_v, v.params)
            w = Variables(optax.apply_updates(w.params, down), shared.stats)
            v = Variables(optax.apply_updates(v.params, own), mixed.stats)
            return w, v, new.astype(alpha.dtype), of_w, of_v, loss + mixed.loss

        start = (server.variables, *client, first, first, jnp.zeros((), jnp.result_type(float)))
        w, v, alpha, _, _, loss = local.repeat(shard, step, start)
        metrics = {"loss": local.mean_of_steps(loss, shard), "alpha": alpha}
        return Upload(tree.subtract(w, server.variables)), Personal(v, alpha), metrics

    def variables(self, server: Server, client: Personal) -> Variables:
        """The mixture with the global model of now."""
        v, alpha = client.variables, self._share(client)
        return Variables(_mix(alpha, v.params, server.variables.params), v.stats)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether alpha is a share, and changed by its schedule or by hospitals, not by both."""
        found = checks.shared("alpha", self.alpha, 0, 1) + checks.number("alpha_rate", self.alpha_rate)
        if self.adaptive and isinstance(self.alpha, Schedule):
            found.append("alpha=schedule(...): with adaptive=True hospitals change alpha; give a number")
        return found

    def _share(self, client: Personal) -> Array:
        """What the hospital has adapted, or this round's alpha."""
        return client.alpha if self.adaptive else jnp.asarray(self.alpha, client.alpha.dtype)


def _mix(alpha: Array, v: PyTree, w: PyTree) -> PyTree:
    """alpha v + (1 - alpha) w."""
    return jax.tree.map(lambda a, b: alpha * a + (1 - alpha) * b, v, w)
