"""The noise of a binary tree over rounds, with restarts: DP-FTRL.

Kairouz et al. 2021, arXiv:2103.00039, after Dwork et al. 2010 (doi:10.1145/1806689.1806787) and Chan, Shi,
Song 2011 (doi:10.1145/2043621.2043626): each node of the tree has the noisy sum of its rounds, and the sum of
the first t updates is that of at most log2 t nodes. The node that ends with round t has lowbit(t) rounds, and
the noise of the release is that of sums, one from the next:

    z'_t = sqrt(L) (z_t - sum_{l < log2 lowbit(t)} z of the last node with 2^l rounds)

where L is the number of nodes that a round is in. After ``restart`` rounds a new tree begins. The paper's
estimate of Honaker, which uses the other nodes too, and its completion of trees are left out.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree
from jaxfed.privacy import arguments
from jaxfed.privacy.correlation import Correlation


class Nodes(NamedTuple):
    """The noise of the last node of each level ``[L - 1, ...]``, the root's left out; and the round."""

    noise: PyTree
    round: Array


@pytree
@dataclasses.dataclass(frozen=True)
class Tree(Correlation):
    """The noise of a binary tree: sums over t rounds have that of log2(t) nodes.

    For hospitals that take turns: ``HospitalDP(..., correlation=Tree())`` with ``Cyclic(size)``.
    :class:`BandMF` has less error at the same epsilon; this is what it is compared with.

    Attributes:
        restart: static; the rounds of a tree. None for the largest power of 2 in which no hospital has two
            turns. More are accounted: turns in the same node add up.
    """

    restart: int | None = dataclasses.field(default=None, metadata={"static": True})

    def for_cycle(self, cycle: int) -> Self:
        """With the largest power of 2 that is at most a cycle."""
        whole = 2 ** (cycle.bit_length() - 1)
        return self if self.restart is not None else dataclasses.replace(self, restart=whole)

    def problems(self) -> list[str]:
        """A number that is no whole number."""
        return [] if self.restart is None else arguments.whole("restart", self.restart)

    @property
    def levels(self) -> int:
        """L, the nodes that the first round of a tree is in."""
        assert self.restart is not None
        return int(self.restart).bit_length()

    def init(self, update: PyTree) -> PyTree:
        """No noise yet."""

        def zeros(leaf: Array) -> Array:
            return jnp.zeros((self.levels - 1, *leaf.shape), jnp.promote_types(leaf.dtype, jnp.float32))

        return Nodes(jax.tree.map(zeros, update), jnp.zeros((), jnp.int32)) if self.levels > 1 else ()

    def apply(self, fresh: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        """The noise of a sum of updates, less that of the sum before."""
        scale = self.levels**0.5
        if self.levels == 1:
            return fresh, state
        end = state.round % self.restart + 1  # in its tree
        level = jax.lax.population_count((end & -end) - 1)
        levels = jnp.arange(self.levels - 1)

        def row(z: Array, nodes: Array) -> Array:
            smaller = jnp.tensordot((levels < level).astype(nodes.dtype), nodes, axes=1, precision="highest")
            return scale * (z - smaller)

        def put(z: Array, nodes: Array) -> Array:
            return nodes.at[level].set(z.astype(nodes.dtype), mode="drop")

        noise = jax.tree.map(row, fresh, state.noise)
        return noise, Nodes(jax.tree.map(put, fresh, state.noise), state.round + 1)

    def charges(self, present: np.ndarray) -> np.ndarray:
        """By the number of a hospital's turns in each node, squared."""
        assert self.restart is not None
        here = np.asarray(present, int)
        rounds = np.arange(len(here))
        turns = np.cumsum(here, axis=0)
        offset = rounds % self.restart
        total = np.zeros_like(here)
        for level in range(self.levels):
            node = offset >> level
            used = (node % 2 == 0) & ((node + 1) << level <= self.restart)
            begin = rounds - offset + (node << level)
            inside = turns - (turns - here)[begin]  # in this node, with this round
            total += here * used[:, None] * (2 * inside - 1)
        return np.cumsum(total, axis=0) / self.levels

    def variances(self, rounds: int) -> np.ndarray:
        """Of as many nodes as a number of rounds has ones in binary."""
        assert self.restart is not None
        trees, inside = np.divmod(np.arange(1, rounds + 1), self.restart)
        return float(self.levels) * (trees * int(self.restart).bit_count() + np.bitwise_count(inside))

    def __str__(self) -> str:
        if self.restart == 1:
            return "independent noise in every round"
        return f"a binary tree that restarts after {self.restart} rounds"
