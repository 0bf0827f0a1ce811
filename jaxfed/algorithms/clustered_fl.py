"""Clustered federated learning: one model that is split wherever hospitals pull in opposite directions.

    every hospital k of cluster c:  Delta_k <- local training from theta_c, minus theta_c
    server, for every cluster c:    where ||mean Delta_k|| < eps1 and max ||Delta_k|| > eps2, bipartition it;
                                    theta_c <- theta_c + mean of Delta_k over the hospitals of c

Sattler, Mueller, Samek 2019, "Clustered federated learning: model-agnostic distributed multi-task
optimization under privacy constraints", arXiv:1910.01991. A cluster that has converged (small mean) while
its hospitals have not (large own updates) is cut in two so that the largest cosine similarity of updates
across the cut is as small as can be. The best cut takes the weakest link out of the maximum spanning tree
of the similarities, which is what the paper's greedy merging finds; the authors' code merges by complete
linkage instead. eps1 = 0.4 and eps2 = 1.6 are those of the authors' example: norms depend on the model
and the step size, so look at yours.

Departures: at most ``clusters`` clusters; a cluster is split only in a round in which all its hospitals
take part; the bound that the paper puts on the similarity across the cut is left out. The larger part keeps
the cluster's number.

A poor choice with partial participation (it never splits), and where hospitals differ by degrees and not by
kind. The server sees every hospital's update and averages them itself; the aggregator is not used.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.core import tree
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.products import multiply, weighted_sum
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class Clusters(NamedTuple):
    """Models ``[k, ...]``, the cluster of each hospital ``[C]``, and how many clusters there are."""

    models: Variables
    member: Array
    used: Array


@pytree
@dataclasses.dataclass(frozen=True)
class ClusteredFL(Algorithm):
    """Clusters that split.

    Attributes:
        clusters: static; the most there can be.
        eps1: a cluster is only split where its mean update is smaller than this.
        eps2: and where some hospital's update is larger than this.
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``.
    """

    clusters: int = dataclasses.field(default=4, metadata={"static": True})
    eps1: Number = 0.4
    eps2: Number = 1.6
    weighting: Literal["samples", "uniform"] = dataclasses.field(default="samples", metadata={"static": True})
    personal: ClassVar[bool] = True
    why_untransformed: ClassVar[str] = "its server sees every hospital's update as it is"
    why_averaged: ClassVar[str] = "its server averages the updates of each cluster itself"

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Clusters, Array]:
        """One cluster. A hospital keeps its number, -1 until it takes part."""
        models = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.clusters, *leaf.shape)), variables)
        server = Clusters(models, jnp.zeros(clients, jnp.int32), jnp.ones((), jnp.int32))
        return server, jnp.full((), -1, jnp.int32)

    def client_update(
        self, local: LocalTraining, server: Clusters, client: Array, shard: Shard, key: Array
    ) -> tuple[Upload, Array, Metrics]:
        """Upload Delta_k, seen by the server as it is."""
        hospital = jnp.asarray(shard.hospital, jnp.int32)
        model = self.variables(server, hospital)
        trained = local.train(model, shard, key)
        cluster = server.member[hospital].astype(trained.loss.dtype)
        delta = tree.subtract(trained.variables, model)
        return Upload((), each=delta), hospital, {**trained.metrics, "cluster": cluster}

    def server_update(self, server: Clusters, update: PyTree, cohort: Cohort) -> Clusters:
        """Split what is to be split, then average inside the clusters."""
        updates = jnp.concatenate([u.reshape(len(u), -1) for u in jax.tree.leaves(cohort.each.params)], 1)
        norms = jnp.linalg.norm(updates, axis=1)

        def consider(c: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            member, count, parent = carry
            inside = (server.member == c) & (cohort.sizes > 0)
            mean = jnp.linalg.norm(_means(jnp.where(inside, cohort.weights, 0), updates))
            stuck = (mean < self.eps1) & (jnp.max(norms, initial=0, where=inside) > self.eps2)
            complete = jnp.all((cohort.weights > 0) | ~inside) & (inside.sum() > 1)
            split = stuck & complete & (count < self.clusters)
            part = jax.lax.cond(split, _cut, lambda *_: jnp.zeros_like(inside), updates, inside, cohort.sizes)
            return (
                jnp.where(part, count, member),
                count + split.astype(count.dtype),
                jnp.where(split, parent.at[count].set(c), parent),
            )

        start = (server.member, server.used, jnp.arange(self.clusters))
        member, count, parent = jax.lax.fori_loop(0, self.clusters, consider, start)
        weights = jnp.where(member == jnp.arange(self.clusters)[:, None], cohort.weights, 0)  # [k, C]
        models = jax.tree.map(lambda m, d: m[parent] + _means(weights, d), server.models, cohort.each)
        return Clusters(models, member, count)

    def variables(self, server: Clusters, client: Array) -> Variables:
        """The model of the hospital's cluster; the first one where it never took part."""
        cluster = jnp.where(client < 0, 0, server.member[client])
        return jax.tree.map(lambda leaf: leaf[cluster], server.models)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the numbers make sense."""
        found = checks.count("clusters", self.clusters)
        return found + checks.shared("eps1", self.eps1) + checks.shared("eps2", self.eps2)


def _means(weights: Array, values: Array) -> Array:
    """Means over hospitals of ``values [C, ...]`` with weights ``[..., C]``; 0 without weight."""
    total = weights.sum(-1, keepdims=True)
    share = weights / jnp.where(total > 0, total, 1)
    return weighted_sum(share.astype(values.dtype), values)


def _cut(updates: Array, inside: Array, sizes: Array) -> Array:
    """``[C]`` bool: the smaller part of ``inside`` when the least similar hospitals are kept apart."""
    norms = jnp.linalg.norm(updates, axis=1, keepdims=True)
    unit = updates / jnp.where(norms > 0, norms, 1)
    part = bipartition(multiply(unit, unit.T), inside)
    rest = inside & ~part
    in_part, in_rest = (jnp.where(members, sizes, 0).sum() for members in (part, rest))
    return jnp.where(in_part > in_rest, rest, part)


def bipartition(similarity: Array, inside: Array) -> Array:
    """One of the two parts of ``inside`` between which the largest similarity is smallest.

    The tree that joins all with the largest similarities (Prim 1957) without its weakest link.

    Args:
        similarity: ``[n, n]``, symmetric.
        inside: ``[n]`` bool; two or more.
    """
    n = len(inside)
    root = jnp.argmax(inside)

    def join(_: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        joined, best, parent, link = carry
        waiting = inside & ~joined
        new = jnp.argmax(jnp.where(waiting, best, -jnp.inf))
        some = waiting.any()
        link = jnp.where(some, link.at[new].set(best[new]), link)
        joined = jnp.where(some, joined.at[new].set(True), joined)
        closer = (similarity[new] > best) & inside & ~joined & some
        return joined, jnp.where(closer, similarity[new], best), jnp.where(closer, new, parent), link

    nodes = jnp.arange(n)
    parent = jnp.where(inside, root, nodes)
    start = (nodes == root, similarity[root], parent, jnp.full(n, jnp.inf, similarity.dtype))
    _, _, parent, link = jax.lax.fori_loop(0, n - 1, join, start)
    part = nodes == jnp.argmin(link)
    for _ in range(n.bit_length()):  # everything below the weakest link, twice as far up each time
        part, parent = part | part[parent], parent[parent]
    return part
