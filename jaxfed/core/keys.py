"""All derivations of random keys.

Every key is a function of (seed, round, hospital, purpose) and of nothing else: not of the hospital's
slot, block or device, nor of the number of hospitals. So a run can be interrupted and resumed at any round,
and the layout changes no random draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Purposes. No number is used twice, so no two streams share a key.
INIT, COHORT, CLIENT, EPOCH, STEP, ASK, ADAPT, ALGORITHM, DECODE, SERVER, TRANSFORM, ROAD = range(12)
SAMPLE, NOISE = 12, 13  # of a private step


def run_key(seed: int | Array) -> Array:
    """The key of a run; ``seed`` may be traced."""
    return jax.random.key(seed)


def purpose(key: Array, number: int) -> Array:
    """The stream of ``key`` for one purpose (a constant of this module)."""
    return jax.random.fold_in(key, number)


def at_round(key: Array, stream: int, round: Array) -> Array:
    """The key of one purpose in one round."""
    return jax.random.fold_in(purpose(key, stream), round)


def client_key(key: Array, client_id: Array) -> Array:
    """The key of the hospital whose name has the hash ``client_id`` (``[2]`` uint32)."""
    return jax.random.fold_in(jax.random.fold_in(key, client_id[0]), client_id[1])


def round_keys(keys: Array, round: Array) -> Array:
    """``[C]`` the keys of this round, from the hospitals' keys ``[C]``."""
    return jax.vmap(lambda key: jax.random.fold_in(key, round))(keys)


def first(keys: Array, sizes: Array, count: Array | int) -> Array:
    """``[C]`` bool: the first ``count`` hospitals in a random order of those that have rows.

    Every hospital draws 64 bits from its own key, so ties, which its position would break, do not occur.
    Bisection of the value that bounds the least ``count`` draws selects them: a sort costs 40 times as much.
    ``count`` may be traced; the order depends on the keys only, not on the count.
    """
    bits = jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys)  # also with 64-bit types
    high, low, able = bits[:, 0], bits[:, 1], sizes > 0
    bound = _least(high, able, count)
    below, tied = able & (high < bound), able & (high == bound)
    return below | (tied & (low <= _least(low, tied, count - below.sum())) & (count > 0))


def _least(values: Array, among: Array, count: Array | int) -> Array:
    """The ``count``-th least of those uint32 ``values`` that are ``among``: bit by bit from the highest."""

    def bit(i: Array, bound: Array) -> Array:
        higher = bound | (jnp.uint32(1) << jnp.asarray(31 - i, jnp.uint32))
        return jnp.where((among & (values < higher)).sum() < count, higher, bound)

    return jax.lax.fori_loop(0, 32, bit, jnp.zeros((), jnp.uint32))


def client_ids(hospitals: Sequence[str]) -> np.ndarray:
    """``[C, 2]`` uint32: 64 bits of BLAKE2b of each name.

    Two numbers, because ``fold_in`` takes 32 bits and silently truncates wider integers.
    """
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in hospitals]
    return np.frombuffer(b"".join(digests), dtype="<u4").reshape(-1, 2).astype(np.uint32)
