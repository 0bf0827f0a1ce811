from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from jaxfed.core.permutation import permute

order = jax.jit(permute)
orders = jax.jit(jax.vmap(permute, in_axes=(0, None, None)))


def test_bijection_for_small_n():
    indices = jnp.arange(70)
    for n in range(1, 71):  # one program: n is traced, and longer indices change nothing
        images = np.asarray(order(jax.random.key(n), indices, n))[:n]
        assert sorted(images) == list(range(n))


@pytest.mark.parametrize("n", [1000, 65_537, 2**20 + 7])
def test_bijection_for_large_n(n):
    images = np.asarray(order(jax.random.key(3), jnp.arange(n), n))
    assert np.array_equal(np.sort(images), np.arange(n))
    assert abs(np.corrcoef(np.arange(n), images)[0, 1]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_all_permutations_are_equally_likely(n):
    draws = 40_000
    images = np.asarray(orders(jax.random.split(jax.random.key(n), draws), jnp.arange(n), n))
    code = images @ n ** np.arange(n)
    counts = [np.count_nonzero(code == np.dot(p, n ** np.arange(n))) for p in permutations(range(n))]
    expected = draws / len(counts)
    statistic = np.square(np.array(counts) - expected).sum() / expected
    assert chi2.sf(statistic, len(counts) - 1) > 1e-4


def test_distance_of_neighbours_is_uniform():
    """Where rows 0 and 1 land, as a difference modulo n, is uniform over 1 .. n - 1."""
    n, draws = 37, 40_000
    images = np.asarray(orders(jax.random.split(jax.random.key(1), draws), jnp.arange(2), n))
    counts = np.bincount((images[:, 1] - images[:, 0]) % n, minlength=n)
    assert counts[0] == 0
    expected = draws / (n - 1)
    statistic = np.square(counts[1:] - expected).sum() / expected
    assert chi2.sf(statistic, n - 2) > 1e-4


def test_independent_of_how_many_indices_are_asked():
    key, n = jax.random.key(5), 13
    whole = np.asarray(permute(key, jnp.arange(n), n))
    assert np.array_equal(permute(key, jnp.arange(40), n)[:n], whole)
    assert np.array_equal(permute(key, jnp.arange(12).reshape(3, 4), n).reshape(-1), whole[:12])
    assert [int(permute(key, jnp.array(i), n)) for i in (0, 7, 12)] == [whole[i] for i in (0, 7, 12)]
    assert np.array_equal(order(key, jnp.arange(n), jnp.int32(n)), whole)


@pytest.mark.parametrize("given", ["one key, many draws", "many keys"])
def test_draws_and_keys_are_independent(given):
    """Where row 0 lands in two draws that follow each other is uniform over all pairs of places."""
    n, draws = 6, 40_000
    keys, draw = jax.random.split(jax.random.key(7), draws), jnp.zeros(draws, jnp.int32)
    if given == "one key, many draws":
        keys, draw = jnp.broadcast_to(keys[0], (draws,)), jnp.arange(draws)
    images = np.asarray(jax.jit(jax.vmap(permute, in_axes=(0, None, None, 0)))(keys, jnp.array(0), n, draw))
    counts = np.bincount(images[:-1:2] * n + images[1::2], minlength=n * n)
    expected = draws / 2 / n**2
    assert chi2.sf(np.square(counts - expected).sum() / expected, n**2 - 1) > 1e-4


def test_indices_out_of_range_stay_in_range():
    images = np.asarray(permute(jax.random.key(0), jnp.array([5, 9, 1000, -1]), 5))
    assert ((images >= 0) & (images < 5)).all()
