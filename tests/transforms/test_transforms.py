"""Clipping, momentum, sparsification with error feedback, and noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfed.core.aggregation import Sender
from jaxfed.core.types import Upload
from jaxfed.transforms import Clip, Momentum, Noise, TopK

SENDER = Sender(jax.random.key(0), jnp.zeros((), jnp.int32), jnp.ones(()))


def tree(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = {"bias": (3,), "kernel": (4, 3), "none": (0,)}
    return {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def flat(update):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(update)])


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e4, 1e15])
def test_clip(scale):
    upload = Upload(tree(scale=scale), {"loss": jnp.full((), 100.0)})
    found, state = jax.jit(lambda bound: Clip(bound).apply(upload, (), SENDER))(2.5)
    whole = flat(upload.update).astype(np.float64)
    norm = np.linalg.norm(whole)
    np.testing.assert_allclose(flat(found.update), whole * min(1, 2.5 / norm), rtol=1e-5)
    assert np.linalg.norm(flat(found.update).astype(np.float64)) <= 2.5 * (1 + 1e-6)
    assert found.aux["loss"] == 100
    assert state == ()


def test_clip_sends_nothing_of_a_norm_that_overflows():
    found, _ = jax.jit(lambda update: Clip(2.5).apply(Upload(update), (), SENDER))(tree(scale=1e25))
    assert not flat(found.update).any()


def test_clip_leaves_what_is_not_finite_and_what_is_zero():
    zero = Upload(jax.tree.map(np.zeros_like, tree()))
    found, _ = Clip(1.0).apply(zero, (), SENDER)
    assert not flat(found.update).any()
    for bad in (np.nan, np.inf):
        update = tree()
        update["bias"][1] = bad
        found, _ = Clip(1.0).apply(Upload(update), (), SENDER)
        assert not np.isfinite(flat(found.update)).all()  # so that it is refused


def test_momentum():
    """m_T = (1 - beta) sum_t beta^(T - t) u_t; extras are those of the round."""
    part, rounds = Momentum(0.8), 12
    apply = jax.jit(lambda upload, state: part.apply(upload, state, SENDER))
    state = part.init(Upload(tree()))
    for round in range(rounds):
        sent, state = apply(Upload(tree(round), {"loss": jnp.full((), round)}), state)
    weights = 0.2 * 0.8 ** np.arange(rounds)[::-1]
    expected = weights @ np.stack([flat(tree(round)) for round in range(rounds)]).astype(np.float64)
    np.testing.assert_allclose(flat(sent.update), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(flat(state), flat(sent.update))
    assert sent.aux["loss"] == rounds - 1


def test_momentum_of_nothing_sends_the_update():
    sent, _ = Momentum(0.0).apply(Upload(tree()), Momentum(0.0).init(Upload(tree())), SENDER)
    np.testing.assert_array_equal(flat(sent.update), flat(tree()))


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.2, 3), (0.34, 5), (1.0, 15)])
def test_top_k_is_of_the_whole_update(share, count):
    part, update = TopK(share), tree()
    found, owed = part.apply(Upload(update, (jnp.ones(()),)), part.init(Upload(update)), SENDER)
    sent, whole = flat(found.update), flat(update)
    largest = np.sort(np.argsort(-np.abs(whole), kind="stable")[:count])
    np.testing.assert_array_equal(np.flatnonzero(sent), largest)
    np.testing.assert_array_equal(sent[largest], whole[largest])
    np.testing.assert_array_equal(sent + np.asarray(owed), whole)
    assert jax.tree.structure(found.update) == jax.tree.structure(update)


def test_of_equal_numbers_the_first_are_sent():
    part = TopK(0.5)
    found, _ = part.apply(Upload(np.array([1.0, -1, 1, 1], np.float32)), jnp.zeros(4), SENDER)
    np.testing.assert_array_equal(found.update, [1, -1, 0, 0])


def test_what_is_owed_is_sent_later():
    """Error feedback telescopes: all that was sent and what is owed are all updates."""
    part = TopK(0.2)
    apply = jax.jit(lambda update, owed: part.apply(Upload(update), owed, SENDER))
    state, sent, updates = part.init(Upload(tree())), 0, 0
    for round in range(20):
        update = tree(round)
        found, state = apply(update, state)
        assert np.count_nonzero(flat(found.update)) == 3
        sent, updates = sent + flat(found.update), updates + flat(update)
    np.testing.assert_allclose(sent + np.asarray(state), updates, atol=1e-4)
    # one that sends nothing else in the end sends everything
    for _ in range(5):
        found, state = apply(jax.tree.map(np.zeros_like, tree()), state)
    assert not np.any(state)


def test_bytes_on_the_wire():
    upload = jax.eval_shape(lambda: Upload(tree(), (jnp.zeros(()),)))
    assert TopK(0.2).wire_bytes(upload, 15 * 4 + 4) == 3 * (4 + 4) + 4
    assert Clip(1.0).wire_bytes(upload, 64) == 64


def test_noise():
    update = {"a": jnp.full((100, 100), 3.0), "b": jnp.full(10_000, -1.0)}
    part = Noise(2.0, 0.5, 4.0)
    first, state = jax.jit(lambda part, key: part.apply(update, (), key))(part, jax.random.key(0))
    noise = np.concatenate([np.ravel(first["a"]) - 3, first["b"] + 1])
    assert state == ()
    assert abs(noise.mean()) < 4 * 0.25 / np.sqrt(noise.size)
    assert abs(noise.std() / 0.25 - 1) < 0.02
    assert abs((noise**4).mean() / noise.var() ** 2 - 3) < 0.2
    assert abs(np.corrcoef(noise[:10_000], noise[10_000:])[0, 1]) < 0.05
    again, _ = part.apply(update, (), jax.random.key(0))
    other, _ = part.apply(update, (), jax.random.key(1))
    np.testing.assert_allclose(again["b"], first["b"], rtol=1e-5)
    assert np.all(np.asarray(other["b"]) != np.asarray(first["b"]))
    none, _ = Noise(0.0, 0.5, 4.0).apply(update, (), jax.random.key(0))
    np.testing.assert_array_equal(none["a"], update["a"])
