"""A random permutation of ``0 .. n-1`` that is evaluated index by index, without a sort.

Swap-or-not (Hoang, Morris, Rogaway 2012, "An enciphering scheme based on a card shuffle",
arXiv:1208.1176): in each round ``r`` index ``i`` has the partner ``K_r - i mod n``, and a hash of the
larger of the two decides whether they swap places. Both partners see the same hash, so each round, and
hence the whole, is a bijection for any ``n``, also a traced one.

Departures from the paper: the round function and the expansion of the key into rounds are 32-bit integer
mixers and not ciphers, and there are 16 rounds. That is enough, because batches have to look uniform to a
statistical test only, not to an attacker.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

ROUNDS = 16  # two indices stay at a fixed distance with probability 2**-16


@jax.jit  # so that a program that calls it several times traces it once
def permute(key: Array, index: Array, n: Array | int, draw: Array | int = 0) -> Array:
    """The images of ``index`` under a permutation of ``0 .. n-1``.

    Args:
        key: a random key; derived once for many draws, because random bits cost more than the permutation.
        index: int32 of any shape, values in ``0 .. n-1``; other values come back as garbage in range.
        n: number of elements, at least 1; may be traced. The permutation depends on ``key``, ``draw`` and
            ``n`` only, never on the shape of ``index``.
        draw: which of the permutations of this key, such as the epoch; may be traced.

    >>> import jax, jax.numpy as jnp
    >>> sorted(permute(jax.random.key(0), jnp.arange(5), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    n = jnp.maximum(jnp.asarray(n).astype(jnp.uint32), 1)
    words = _words(key, draw)
    offsets, salts = words[0] % n, words[1]
    place = jnp.minimum(jnp.asarray(index).astype(jnp.uint32), n - 1)
    for r in range(ROUNDS):
        partner = jnp.where(place <= offsets[r], offsets[r] - place, offsets[r] + n - place)
        swap = _mix(jnp.maximum(place, partner) ^ salts[r]) >> 31
        place = jnp.where(swap == 1, partner, place)
    return place.astype(jnp.int32)


def _words(key: Array, draw: Array | int) -> Array:
    """Two uint32 for each round, ``[2, ROUNDS]``: a hash of the key and a counter."""
    first = jnp.asarray(draw).astype(jnp.uint32) * jnp.uint32(2 * ROUNDS)
    words = (first + jnp.arange(2 * ROUNDS, dtype=jnp.uint32)) * jnp.uint32(0x9E3779B9)
    for part in jax.random.key_data(key):
        words = _mix(words + part)
        words ^= words >> 16
    return words.reshape(2, ROUNDS)


def _mix(word: Array) -> Array:
    """An integer mixer: every input bit reaches the top bit (Steele and Vigna style constants)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    return (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
