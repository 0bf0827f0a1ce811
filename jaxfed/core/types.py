"""The basic types of jaxfed, with the names of the literature (McMahan 2017, Reddi 2021, Kairouz 2021).

A plural name has a client axis and a singular name has none: an algorithm is written for one client, and the
engine stacks clients, groups them in blocks and places them on devices.
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
    """A model's arrays: ``params`` are trained, ``stats`` (batch statistics, often ``{}``) are not."""

    params: PyTree
    stats: PyTree


class Weighted(NamedTuple):
    """Labels ``y [B, ...]`` with a weight ``[B]`` for the loss of each row."""

    y: Array
    weight: Array


def labels(y: Array | Weighted) -> Array:
    """The labels alone."""
    return y.y if isinstance(y, Weighted) else y


class Upload(NamedTuple):
    """All data that leave a hospital in a round, in the form in which the server gets them.

    Attributes:
        update: any tree; the server sees only the aggregate of all hospitals. Norms, clipping, compression,
            distances and attacks concern this part.
        aux: small extras that are aggregated with it (a loss, a count) and that no transform changes.
        each: any tree; the server sees it separately for every hospital. ``()`` for most algorithms.
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
        weights: ``[C]`` the weight with which each upload was used; 0 for absent hospitals.
        everyone: ``[C]`` the weight that each hospital has when it takes part; 0 for those without rows.
        sizes: ``[C]`` training rows.
        aux: the aggregate of the uploads' ``aux``.
        each: ``[C, ...]`` the uploads' ``each``; 0 for absent hospitals.
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
        """The total weight of the hospitals that took part over that of all; m / N with uniform weights."""
        total = self.everyone.sum()
        return self.weights.sum() / jnp.where(total > 0, total, 1)


class State(NamedTuple):
    """The whole state of a run between rounds; a checkpoint contains this tree.

    Attributes:
        round: int32, rounds done.
        key: the run's key, which never changes; keys of a round are derived from it and the round.
        server: the algorithm's state on the server.
        clients: the state of the algorithm and of the transforms in each hospital,
            ``[devices * slots, ...]`` for each group of models.
        aggregator: the state of the other parts of the road, on the server.
        participation: the state of participation.
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
    """One hospital's training rows, without a client axis.

    Attributes:
        x, y: the rows of all hospitals, ``[N, ...]``; ``y`` may be :class:`Weighted`.
        start, size: int32; this hospital owns rows ``start : start + size``.
        block: static; name of the axis over which hospitals run side by side, None if they run one by one.
        hospital: int32; this hospital's number in the arrays of :class:`Cohort`.
    """

    x: PyTree
    y: Array | Weighted
    start: Array
    size: Array
    block: str | None = dataclasses.field(default=None, metadata={"static": True})
    hospital: Array | int = 0

    def take(self, index: Array) -> tuple[PyTree, Array | Weighted]:
        """Rows ``index`` (``[B]``, 0 is this hospital's first row) of ``x`` and ``y``."""
        rows = self.start + index
        x, y = jax.tree.map(lambda leaf: leaf[rows], (self.x, self.y))
        return x, y

    def loop(self, steps: Array, body: Callable[[Array, PyTree], PyTree], start: PyTree) -> PyTree:
        """Repeat ``carry <- body(t, carry)`` ``steps`` times, which may differ between hospitals.

        Hospitals of a block share a loop: it runs until the hospital with the most steps is done, and the
        carry of the others stays as it is. Its bound has no batch axis under ``vmap``, so that it remains a
        simple loop.
        """
        if self.block is None:
            return jax.lax.fori_loop(0, steps, body, start)

        def masked(t: Array, carry: PyTree) -> PyTree:
            return jax.tree.map(lambda a, b: jnp.where(t < steps, a, b), body(t, carry), carry)

        return jax.lax.fori_loop(0, jax.lax.pmax(steps, self.block), masked, start)

    def fold(self, chunk: int, add: Callable[..., PyTree], start: PyTree) -> PyTree:
        """``total <- add(total, x, y, mask, c)`` over this hospital's rows, ``chunk`` at a time.

        ``x`` and ``y`` are rows ``[chunk, ...]``, ``mask [chunk]`` is False for padding rows of the last
        chunk (whose values are arbitrary), ``c`` is the number of the chunk.
        """

        def part(c: Array, total: PyTree) -> PyTree:
            index = c * chunk + jnp.arange(chunk)
            mask = index < self.size
            x, y = self.take(jnp.where(mask, index, 0))
            return add(total, x, y, mask, c)

        return self.loop(-(-self.size // chunk), part, start)
