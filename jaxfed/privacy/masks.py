"""Pairwise masks that cancel in the sum, as a server of secure aggregation meets them.

    hospital i sends  y_i = x_i + b_i + sum_{j > i} m_ij - sum_{j < i} m_ij    (mod 2^R)
    server:           sum_i x_i = sum_{i arrived} (y_i - b_i) - sum_{i arrived, j lost} +-m_ij

m_ij is a mask that i and its neighbour j share, and b_i one of its own. Of a hospital whose upload is lost
the others reveal the masks m_ij, and of one that arrived the mask b_i; never both of the same hospital.
Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving machine learning",
doi:10.1145/3133956.3133982. With fewer neighbours than all others: Bell, Bonawitz, Gascon, Lepoint, Raykova
2020, doi:10.1145/3372297.3417885 (a random circulant graph).

This is the arithmetic and no cryptography: the masks come from the seed of the run, and protect nobody.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Draw = Callable[[Array], Array]  # a mask [n] of whole numbers from a key


def links(agreed: Array, neighbours: int | None, key: Array) -> Array:
    """``[K, K]`` bool, symmetric: which hospitals share a mask.

    Args:
        agreed: ``[K]`` bool, who takes part in the round.
        neighbours: static; None for all others, else an even number: so many on a circle in random order.
        key: of the order.
    """
    count = len(agreed)
    both = agreed[:, None] & agreed[None, :] & ~jnp.eye(count, dtype=bool)
    if neighbours is None:
        return both
    draws = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(key, k)))(jnp.arange(count))
    place = jnp.argsort(jnp.argsort(jnp.where(agreed, draws, 2.0)))  # those that agreed come first
    around = jnp.maximum(agreed.sum(), 1)
    apart = jnp.abs(place[:, None] - place[None, :])
    return both & (jnp.minimum(apart, around - apart) <= neighbours // 2)


def masked(summands: Array, linked: Array, key: Array, draw: Draw) -> Array:
    """``[K, n]``: what each hospital sends; ``summands [K, n]`` are unsigned whole numbers."""

    def send(number: Array) -> Array:
        own = summands[number] + draw(jax.random.fold_in(key, number))
        return own + _shared(number, linked[number], key, draw, summands.dtype)

    return jax.lax.map(send, jnp.arange(len(summands)))


def unmasked_sum(sent: Array, linked: Array, arrived: Array, key: Array, draw: Draw) -> Array:
    """``[n]``: the sum over the hospitals that arrived, from what they sent and what is revealed."""

    def add(number: Array, total: Array) -> Array:
        own = draw(jax.random.fold_in(key, number))
        lost = _shared(number, linked[number] & ~arrived, key, draw, sent.dtype)
        return total + jnp.where(arrived[number], sent[number] - own - lost, 0).astype(sent.dtype)

    nothing = jnp.zeros(sent.shape[1:], sent.dtype)
    return jax.lax.fori_loop(0, len(sent), add, nothing)  # masks of two that arrived cancel in it


def _shared(number: Array, others: Array, key: Array, draw: Draw, dtype: jnp.dtype) -> Array:
    """The sum of the masks that a hospital shares with ``others [K]`` (bool), with its signs."""

    def add(other: Array, total: Array) -> Array:
        low, high = jnp.minimum(number, other), jnp.maximum(number, other)
        pair = jax.random.fold_in(jax.random.fold_in(key, low), len(others) + high)

        def more() -> Array:
            mask = draw(pair)
            return jnp.where(other > number, total + mask, total - mask)

        return jax.lax.cond(others[other], more, lambda: total)

    nothing = jnp.zeros(jax.eval_shape(draw, key).shape, dtype)
    return jax.lax.fori_loop(0, len(others), add, nothing)
