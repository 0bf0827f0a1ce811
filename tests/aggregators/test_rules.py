"""Every rule and mixer is the formula of its paper, whoever is absent, on 1, 2 and 4 devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roads
from roads import aggregate

from jaxfed.aggregators import (
    NNM,
    Bucketing,
    CentredClipping,
    GeometricMedian,
    Krum,
    Median,
    TrimmedMean,
)
from jaxfed.core.uploads import Uploads

WEIGHTS = {
    "all": np.ones(9),
    "samples": np.array([5, 1, 2, 8, 3, 1, 1, 4, 2.0]),
    "two absent": np.array([5, 0, 2, 8, 3, 1, 0, 4, 2.0]),
}
DEVICES = pytest.mark.parametrize("devices", [1, 2, 4])
WHO = pytest.mark.parametrize("who", WEIGHTS)


def updates(seed=0, clients=9, size=7):
    return np.random.default_rng(seed).normal(size=(clients, size)).astype(np.float32)


def present(who):
    x, weights = updates(), WEIGHTS[who]
    return x, weights, x[weights > 0].astype(np.float64), weights[weights > 0]


@DEVICES
@WHO
def test_coordinatewise(who, devices):
    x, weights, used, _ = present(who)
    extras = updates(1, size=2)
    found = aggregate(x, Median(), weights=weights, aux=extras, devices=devices)
    np.testing.assert_allclose(found.update, np.median(used, axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.aux, np.median(extras[weights > 0], axis=0), rtol=1e-6)
    found = aggregate(x, TrimmedMean(0.3), weights=weights, aux=extras, devices=devices)
    np.testing.assert_allclose(found.update, roads.trimmed_mean(used, 0.3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.aux, roads.trimmed_mean(extras[weights > 0], 0.3), rtol=1e-5, atol=1e-6)


@DEVICES
@WHO
@pytest.mark.parametrize(("f", "select"), [(0, 1), (2, 1), (2, 3), (1, 5)])
def test_krum(f, select, who, devices):
    x, weights, used, _ = present(who)
    extras = updates(1, size=2)
    best = roads.krum_order(used, f)[:select]
    found = aggregate(x, Krum(f, select=select), weights=weights, aux=extras, devices=devices)
    np.testing.assert_allclose(found.update, used[best].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.aux, extras[weights > 0][best].mean(0), rtol=1e-5, atol=1e-6)
    assert set(np.flatnonzero(found.metrics["selected"])) == set(np.flatnonzero(weights)[best])


@DEVICES
@WHO
def test_geometric_median(who, devices):
    x, weights, used, used_weights = present(who)
    expected = roads.geometric_median(used, used_weights)
    found = aggregate(x, GeometricMedian(), weights=weights, aux=x[:, :2], devices=devices)
    np.testing.assert_allclose(found.update, expected, atol=1e-4)
    np.testing.assert_allclose(found.aux, found.update[:2], atol=1e-6)
    np.testing.assert_allclose(found.metrics["weight"].sum(), 1, rtol=1e-6)


@DEVICES
@WHO
@pytest.mark.parametrize(("tau", "steps"), [(0.5, 1), (2.0, 1), (1.0, 4), (100.0, 1)])
def test_centred_clipping_remembers(tau, steps, who, devices):
    x, weights, used, _ = present(who)
    expected, state = np.zeros(7), None
    for moved in (0.0, 1.0, 1.5):
        expected = roads.centred_clipping(used + moved, expected, tau, steps)
        found = aggregate(
            x + moved, CentredClipping(tau, steps=steps), weights=weights, state=state, devices=devices
        )
        state = found.state
        np.testing.assert_allclose(found.update, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(state, found.update)
        assert (found.metrics["factor"] > 0).tolist() == (weights > 0).tolist()


@WHO
@pytest.mark.parametrize("f", [0, 1, 3])
def test_nnm(f, who):
    x, weights, used, _ = present(who)
    found = roads.mixed(x, NNM(f), weights=weights)
    np.testing.assert_array_equal(found.weights, weights.astype(np.float32))
    np.testing.assert_allclose(found.update[weights > 0], roads.nearest_means(used, f), rtol=1e-5, atol=1e-6)
    assert not np.any(found.update[weights == 0])


@WHO
@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_bucketing_deals_out_those_present(size, who):
    weights = WEIGHTS[who]
    count = int((weights > 0).sum())
    found = roads.mixed(np.eye(9), Bucketing(size), weights=weights)  # the update is the matrix
    matrix, buckets = np.asarray(found.update), -(-count // size)
    full = [size] * (count // size) + ([count % size] if count % size else [])
    assert len(found) == -(-9 // size) == Bucketing(size).left(9)
    np.testing.assert_array_equal(found.weights, full + [0] * (len(found) - buckets))
    np.testing.assert_array_equal((matrix > 0).sum(1), found.weights)
    np.testing.assert_array_equal((matrix > 0).sum(0), weights > 0)
    np.testing.assert_allclose(matrix.sum(1), found.weights > 0, rtol=1e-6)
    other = roads.mixed(np.eye(9), Bucketing(size), weights=weights, seed=1)
    assert size == 9 or np.any(other.update != found.update)


def test_bucketing_is_uniform():
    """Every pair shares a bucket equally often: with 5 uploads in buckets of 2, with probability 2/4 2/5."""
    keys = jax.random.split(jax.random.key(0), 4000)
    uploads = Uploads(jnp.eye(5), jnp.zeros((5, 0)), jnp.ones(5))
    matrices = jax.vmap(lambda key: Bucketing(2).apply(uploads, key).update)(keys) > 0
    together = jnp.einsum("rbi,rbj->ij", matrices.astype(float), matrices.astype(float)) / len(keys)
    np.testing.assert_allclose(together, np.where(np.eye(5), 1, 0.2), atol=0.03)


@pytest.mark.parametrize(("who", "devices"), [("samples", 1), ("two absent", 1), ("two absent", 4)])
@pytest.mark.parametrize(
    "rule", [Krum(1), Krum(0, select=2), GeometricMedian(), Median(), CentredClipping(1.0, steps=2)], ids=repr
)
def test_mixers_compose_as_matrices(rule, who, devices):
    """NNM and Bucketing note small matrices; the same with every mixture written out."""
    x, weights, _, _ = present(who)
    mixers = (NNM(2), Bucketing(2))
    found = aggregate(x, *mixers, rule, weights=weights, aux=x[:, :2], devices=devices)
    written = roads.mixed(x, mixers[0], weights=weights)
    written = Uploads(written.update, jnp.zeros((9, 0)), written.weights)
    written = mixers[1].apply(written, jax.random.fold_in(jax.random.key(0), 1))
    expected = aggregate(written.update, rule, weights=written.weights)
    np.testing.assert_allclose(found.update, expected.update, rtol=1e-4, atol=1e-5)
    if not isinstance(rule, Median | CentredClipping):
        np.testing.assert_allclose(found.aux, found.update[:2], rtol=1e-4, atol=1e-5)


def test_ties_go_to_the_first_hospital():
    x = np.array([[0.0], [9], [1], [3], [2], [2], [3]], np.float32)[:, [0, 0, 0]]
    selected = aggregate(x, Krum(2)).metrics["selected"]
    assert selected.argmax() == roads.krum_order(x, 2)[0] == 3
    pairs = np.random.default_rng(0).normal(size=(4, 500))  # each has one neighbour, and the nearest two tie
    near = roads.squared_distances(pairs)
    first = np.argwhere(near == near[near > 0].min())[0][0]
    assert aggregate(pairs, Krum(1)).metrics["selected"].argmax() == first
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)  # corners are alike
    found = roads.mixed(square, NNM(1))
    np.testing.assert_allclose(found.update, roads.nearest_means(square, 1), rtol=1e-6)


@pytest.mark.parametrize("devices", [1, 4])
def test_nearly_equal_long_updates(devices):
    """Norms of 1e4 and differences of 1e-2: raw inner products in float32 would leave nothing of them."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=403)
    base *= 1e4 / np.linalg.norm(base)
    difference = rng.normal(size=(9, 403)) * np.linspace(1, 2, 9)[rng.permutation(9), None]
    x = (base + 1e-2 * difference / np.sqrt(403)).astype(np.float32)
    for attacked in (x, np.concatenate([x[:7], -10 * x[7:]])):  # far attackers do not blur the others
        found = aggregate(attacked, Krum(2), devices=devices)
        best = roads.krum_order(attacked, 2)[0]
        assert found.metrics["selected"].argmax() == best
        np.testing.assert_allclose(found.update, attacked[best], rtol=1e-6)
        expected = roads.nearest_means(attacked, 2)
        np.testing.assert_allclose(roads.mixed(attacked, NNM(2)).update[:7], expected[:7], rtol=1e-6)
    median = aggregate(x, GeometricMedian(floor=1e-9), devices=devices).update
    expected = roads.geometric_median(x, np.ones(9))
    assert np.linalg.norm(median - expected) < 3e-3
    v = x[3] + 1e-2
    found = aggregate(x, CentredClipping(0.05), state=v, devices=devices).update
    assert np.linalg.norm(found - roads.centred_clipping(x, v, 0.05, 1)) < 3e-3


def test_inner_products():
    x, weights, *_ = present("two absent")
    zeroed = np.where(weights[:, None] > 0, x, 0).astype(np.float64)
    plain = roads.mixed(x, weights=weights)
    point = updates(3)[0]
    for uploads in (plain, plain.mix(jnp.asarray(updates(2, 4, 9)), jnp.array([1.0, 2, 0, 1]))):
        y = zeroed if uploads is plain else updates(2, 4, 9).astype(np.float64) @ zeroed
        on = np.asarray(uploads.present)
        np.testing.assert_allclose(uploads.update, y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(uploads.gram(), y @ y.T, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(uploads.squared_norms(), (y**2).sum(1), rtol=1e-4)
        np.testing.assert_allclose(uploads.dot(jnp.asarray(point)), y @ point, rtol=1e-4, atol=1e-4)
        far = ((y - point) ** 2).sum(1)
        np.testing.assert_allclose(uploads.squared_distances_to(jnp.asarray(point)), far, rtol=1e-4)
        expected = np.where(on[:, None] & on, roads.squared_distances(y), np.inf)
        np.testing.assert_allclose(uploads.squared_distances(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", [2, 4, 256])
def test_products_by_parts(monkeypatch, block):
    """Some columns at a time, with and without a rest, and blocks of rows."""
    monkeypatch.setattr("jaxfed.core.products._CHUNK", 9 * 64)
    monkeypatch.setattr("jaxfed.core.products._NARROWEST", 64)
    monkeypatch.setattr("jaxfed.core.products._BLOCK", block)
    for size in (63, 128, 200):
        x = updates(size, size=size)
        expected = roads.squared_distances(x)
        np.testing.assert_allclose(roads.mixed(x).squared_distances(), expected, rtol=1e-4, atol=1e-4)
        gram = x.astype(np.float64) @ x.T
        np.testing.assert_allclose(roads.mixed(x).gram(), gram, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("present", "answers"), [(6, False), (7, True)])
def test_krum_has_no_answer_without_an_honest_majority(present, answers):
    """Three of six uploads may be malicious: enough neighbours (f + 3), and no majority."""
    x = np.random.default_rng(0).normal(size=(9, 4))
    found = aggregate(x, Krum(3), weights=[1] * present + [0] * (9 - present))
    assert np.isfinite(found.update).all() == answers
