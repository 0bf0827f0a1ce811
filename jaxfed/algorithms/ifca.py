"""Iterative federated clustering: several models, and every hospital trains the one that fits it best.

    every hospital k:  j_k <- argmin_j F_k(theta_j);   y_k <- local training from theta_{j_k}
    server:            theta_j <- theta_j + sum_{k: j_k = j} w_k (y_k - theta_j) / sum_{k: j_k = j} w_k

Ghosh, Chung, Yin, Ramchandran 2020, "An efficient framework for clustered federated learning",
arXiv:2006.04088 (model averaging); the same idea is HypCluster of Mansour, Mohri, Ro, Suresh 2020,
arXiv:2002.10619. With one cluster it is FedAvg. A cluster that nobody chose keeps its model.

The first model is the initial one and the others are perturbed from it, or all would be the same choice.
Departures: the paper draws them apart; weights are n_k unless asked for otherwise, the paper's mean is
uniform. A hospital uses the model of its last choice; one that never took part uses the first.

A poor choice where the first models are no better for one hospital than for another: the clusters then stay
as they began. Try several seeds.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.core import tree
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class IFCA(Algorithm):
    """Clusters of hospitals, each with its model.

    Attributes:
        clusters: static; k, how many models there are.
        spread: standard deviation of what is added to the parameters of the models after the first.
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``.
    """

    clusters: int = dataclasses.field(default=2, metadata={"static": True})
    spread: Number = 0.1
    weighting: Literal["samples", "uniform"] = dataclasses.field(default="samples", metadata={"static": True})
    personal: ClassVar[bool] = True
    why_averaged: ClassVar[str] = "an upload has a place for every cluster, and zeros for all but its choice"

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Variables, Array]:
        """The models ``[k, ...]``; hospitals begin in cluster 0."""
        first = jnp.arange(self.clusters) == 0

        def perturb(number: int, leaf: Array) -> Array:
            noise = jax.random.normal(
                jax.random.fold_in(key, number), (self.clusters, *leaf.shape), leaf.dtype
            )
            return jnp.where(_column(first, noise), leaf, leaf + self.spread * noise)

        leaves, structure = jax.tree.flatten(variables.params)
        params = [perturb(number, leaf) for number, leaf in enumerate(leaves)]
        stats = jax.tree.map(lambda s: jnp.broadcast_to(s, (self.clusters, *s.shape)), variables.stats)
        return Variables(jax.tree.unflatten(structure, params), stats), jnp.zeros((), jnp.int32)

    def client_update(
        self, local: LocalTraining, server: Variables, client: Array, shard: Shard, key: Array
    ) -> tuple[Upload, Array, Metrics]:
        """Upload y_k - theta_j in the place of the chosen cluster, and which one it is."""
        losses = jax.vmap(lambda model: local.problem.full_loss(model, shard))(server)
        chosen = jnp.argmin(losses).astype(jnp.int32)
        model = jax.tree.map(lambda leaf: leaf[chosen], server)
        trained = local.train(model, shard, key)
        here = (jnp.arange(self.clusters) == chosen).astype(losses.dtype)
        delta = tree.subtract(trained.variables, model)
        sums = jax.tree.map(lambda leaf: _column(here.astype(leaf.dtype), leaf[None]) * leaf, delta)
        return Upload(sums, here), chosen, {**trained.metrics, "cluster": chosen.astype(losses.dtype)}

    def server_update(self, server: Variables, update: PyTree, cohort: Cohort) -> Variables:
        """Each model moves by the mean of its own hospitals."""
        share = jnp.where(cohort.aux > 0, cohort.aux, 1)
        return jax.tree.map(lambda m, s: m + s / _column(share.astype(s.dtype), s), server, update)

    def variables(self, server: Variables, client: Array) -> Variables:
        """The model of the hospital's last choice."""
        return jax.tree.map(lambda leaf: leaf[client], server)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the clusters can become different."""
        found = checks.count("clusters", self.clusters) + checks.shared("spread", self.spread)
        if not found and self.clusters > 1 and isinstance(self.spread, (int, float)) and not self.spread:
            found.append("spread=0: all models would be the same, the first is everyone's choice; give 0.1")
        return found


def _column(values: Array, like: Array) -> Array:
    """``[k]`` as ``[k, 1, ...]``, to go with ``[k, ...]``."""
    return values.reshape(values.shape + (1,) * (like.ndim - 1))
