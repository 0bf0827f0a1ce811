"""The nouns of jaxfed, with the names of the literature (McMahan 2017, Reddi 2021, Kairouz 2021).

Plural has a client axis, singular has none: an algorithm is written for one client, and the engine
stacks, blocks and places the clients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.pytree import pytree

PyTree = Any
Metrics = dict[str, Array]  # for the observer; never fed to the server


class Variables(NamedTuple):
    """A model's arrays: ``params`` are trained, ``stats`` are not (batch statistics; often ``{}``)."""

    params: PyTree
    stats: PyTree


class Upload(NamedTuple):
    """Exactly what leaves a hospital in a round, and in which form the server gets it.

    Attributes:
        update: any tree; the server sees only the aggregate of all hospitals. It is what has a norm: what is
            clipped, compressed, compared and attacked.
        aux: small extras that are aggregated with it (a loss, a count) and no transform changes.
        each: any tree; the server sees every hospital's own. ``()`` for most algorithms.
    """

    update: PyTree
    aux: PyTree = ()
    each: PyTree = ()


class Cohort(NamedTuple):
    """What the server learns in a round besides the aggregated update.

    Arrays ``[C]`` are in the order of the data set, over all of its hospitals.

    Attributes:
        round: int32, from 0.
        present: int32, hospitals whose upload was used.
        hospitals: int32, hospitals with training rows, present or not.
        weights: ``[C]`` the weight that each upload was used with; 0 for who is absent.
        everyone: ``[C]`` the weight that each hospital has when it takes part; 0 for those without rows.
        sizes: ``[C]`` training rows.
        aux: the aggregate of the uploads' ``aux``.
        each: ``[C, ...]`` the uploads' ``each``; 0 for who is absent.
    """

    round: Array
    present: Array
    hospitals: Array
    weights: Array
    everyone: Array
    sizes: Array
    aux: PyTree
    each: PyTree

    @property
    def share(self) -> Array:
        """The weight of who took part over that of all: m / N where weights are uniform."""
        total = self.everyone.sum()
        return self.weights.sum() / jnp.where(total > 0, total, 1)


class State(NamedTuple):
    """Everything that survives a round; a checkpoint is this tree.

    Attributes:
        round: int32, rounds done.
        key: the run's key; keys of a round are derived from it and the round, it never changes.
        server: what the algorithm keeps on the server.
        clients: what the algorithm and the transforms keep in each hospital, of each group of models
            ``[devices * slots, ...]``.
        aggregator: what the rest of the road keeps on the server.
        participation: what participation keeps.
    """

    round: Array
    key: Array
    server: PyTree
    clients: PyTree
    aggregator: PyTree
    participation: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Shard:
    """One hospital's training rows, with no client axis in sight.

    Attributes:
        x, y: the rows of all hospitals, ``[N, ...]``.
        start, size: int32; this hospital owns rows ``start : start + size``.
        block: static; name of the axis over which hospitals run side by side, or None for one at a time.
        hospital: int32; this hospital's number in the arrays of :class:`Cohort`.
    """

    x: PyTree
    y: Array
    start: Array
    size: Array
    block: str | None = dataclasses.field(default=None, metadata={"static": True})
    hospital: Array | int = 0

    def take(self, index: Array) -> tuple[PyTree, Array]:
        """Rows ``index`` (``[B]``, 0 is this hospital's first row) of ``x`` and ``y``."""
        rows = self.start + index
        return jax.tree.map(lambda leaf: leaf[rows], self.x), self.y[rows]

    def loop(self, steps: Array, body: Callable[[Array, PyTree], PyTree], start: PyTree) -> PyTree:
        """``carry <- body(t, carry)`` for ``t`` from 0 to ``steps``, which may differ between hospitals.

        Hospitals of a block share one loop: it runs as long as the longest needs, and the others keep their
        carry. Its bound has no batch axis under ``vmap``, so that it stays a plain loop.
        """
        if self.block is None:
            return jax.lax.fori_loop(0, steps, body, start)

        def masked(t: Array, carry: PyTree) -> PyTree:
            return jax.tree.map(lambda a, b: jnp.where(t < steps, a, b), body(t, carry), carry)

        return jax.lax.fori_loop(0, jax.lax.pmax(steps, self.block), masked, start)

    def fold(self, chunk: int, add: Callable[..., PyTree], start: PyTree) -> PyTree:
        """``total <- add(total, x, y, mask, c)`` over this hospital's rows, ``chunk`` at a time.

        ``x`` and ``y`` are rows ``[chunk, ...]``, ``mask [chunk]`` is False for what pads the last chunk
        (which
        may hold anything), ``c`` is the number of the chunk.
        """

        def part(c: Array, total: PyTree) -> PyTree:
            index = c * chunk + jnp.arange(chunk)
            mask = index < self.size
            x, y = self.take(jnp.where(mask, index, 0))
            return add(total, x, y, mask, c)

        return self.loop(-(-self.size // chunk), part, start)
