import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core import keys


def drawn(names, round=3, seed=7):
    """A number of each hospital in one round."""
    key = keys.at_round(keys.run_key(seed), keys.CLIENT, round)
    own = jax.vmap(lambda words: keys.client_key(key, words))(keys.client_ids(names))
    numbers = np.asarray(jax.vmap(jax.random.uniform)(own))
    return dict(zip(names, numbers.tolist(), strict=True))


def test_words_of_a_name_are_known():
    """They are part of what makes a stored result reproducible, so they never change."""
    words = keys.client_ids(["north", "va", "São Paulo"])
    assert words.dtype == np.uint32
    assert words.tolist() == [
        [125766356, 1435248966],
        [629116546, 3279334770],
        [787084016, 136560156],
    ]


def test_draws_follow_the_hospital():
    before = drawn(["north", "south", "east"])
    after = drawn(["east", "new", "north", "south"])
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 4


def test_rounds_seeds_and_purposes_have_their_own_streams():
    names = ["north", "south"]
    tables = [drawn(names), drawn(names, round=4), drawn(names, seed=8)]
    numbers = [value for table in tables for value in table.values()]
    assert len(set(numbers)) == 6
    purposes = [keys.INIT, keys.COHORT, keys.CLIENT, keys.EPOCH, keys.STEP]
    assert len(set(purposes)) == 5
    data = {tuple(jax.random.key_data(keys.purpose(jax.random.key(0), p)).tolist()) for p in purposes}
    assert len(data) == 5


def test_a_traced_seed_gives_the_same_key():
    assert jax.jit(keys.run_key)(11) == keys.run_key(11)


def test_the_first_in_a_random_order_are_those_of_a_sort():
    """For every count, without the hospitals that have no rows."""
    own = jax.random.split(jax.random.key(4), 50)
    sizes = jnp.arange(50) % 7
    bits = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (2,)))(own)).astype(np.uint64)
    value = np.where(sizes > 0, bits[:, 0] << np.uint64(32) | bits[:, 1], np.uint64(2**64 - 1))
    found = jax.jit(jax.vmap(keys.first, in_axes=(None, None, 0)))(own, sizes, jnp.arange(43))
    for count, mask in enumerate(np.asarray(found)):
        assert sorted(np.flatnonzero(mask)) == sorted(np.argsort(value)[:count])


def test_ties_of_the_first_word_are_decided_by_the_second(monkeypatch):
    words = np.array([[5, 9], [5, 2**32 - 1], [5, 2**31], [3, 4], [5, 0], [7, 1]], np.uint32)
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.asarray(words)[key])
    ranks = np.lexsort((words[:, 1], words[:, 0]))
    for count in range(7):
        found = np.asarray(keys.first(jnp.arange(6), jnp.ones(6), count))
        assert sorted(np.flatnonzero(found)) == sorted(ranks[:count])


def test_cohorts_are_the_same_with_64_bit_types():
    own = jax.vmap(lambda words: keys.client_key(jax.random.key(3), words))(
        keys.client_ids([f"hospital {c}" for c in range(9)])
    )
    found = keys.first(own, jnp.ones(9), 4)
    with jax.enable_x64(True):
        wide = keys.first(own, jnp.ones(9), 4)
    assert int(found.sum()) == 4
    assert found.tolist() == wide.tolist()
