"""Hospital-level privacy: clipping of whole uploads, denominator, noise, adaptive bounds, neighbours."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import Lab, hospitals, recipe, same
from scipy import stats

from jaxfed import Poisson
from jaxfed.aggregators import chain
from jaxfed.algorithms import FedAdam, FedAvg, FedProx, FedSGD, Scaffold
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.types import Upload
from jaxfed.participation import Everyone
from jaxfed.privacy import AdaptiveClip, HospitalDP
from jaxfed.privacy.budget import Budgeted
from jaxfed.privacy.hospital import PrivateMean, clip, split_noise

UNIFORM = {
    "FedAvg": FedAvg(weighting="uniform"),
    "FedSGD": FedSGD(weighting="uniform"),
    "FedProx": FedProx(weighting="uniform"),
    "FedAdam": FedAdam(weighting="uniform"),
    "Scaffold": Scaffold(),
}


def road(noise=0.0, expected=5.0, **settings):
    return chain(*HospitalDP(noise_multiplier=noise, **settings).parts(noise, expected))


def test_clipping_is_of_the_whole_tree_and_what_is_not_finite_is_zero():
    update = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    clipped, norm = clip(update, 1.0)
    assert float(norm) == pytest.approx(5.0)
    same(clipped, {"a": np.array([0.6, 0.0]), "b": np.array([[0.8]])}, rtol=1e-6)
    same(clip(update, 7.0)[0], update)
    same(clip(update, jnp.inf)[0], update)
    zero, norm = clip({"a": jnp.array([jnp.nan, 1.0]), "b": jnp.array([[1.0]])}, 1.0)
    assert np.isinf(norm)
    same(zero, {"a": np.zeros(2), "b": np.zeros((1, 1))})


def test_the_mean_has_a_fixed_denominator_and_the_stated_noise():
    upload = Upload(({"a": jnp.zeros((300, 10)), "b": jnp.zeros(500)}, ()))
    mean = PrivateMean(0.5, 1.5, 8.0)
    keys = jax.random.split(jax.random.key(0), 2)
    first, other = (mean.lower(upload, jnp.zeros(()), (), key)[0].update for key in keys)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(first)])
    assert flat.std() == pytest.approx(1.5 * 0.5 / 8, rel=0.05)
    assert stats.kstest(flat / flat.std(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(np.ravel(first["a"])[:500], first["b"])[0, 1]) < 0.2
    assert abs(np.corrcoef(np.ravel(first["a"]), np.ravel(other["a"]))[0, 1]) < 0.1
    ones = Upload(({"a": jnp.ones((300, 10)), "b": jnp.ones(500)}, ()))
    same(
        PrivateMean(9.0, 0.0, 8.0).lower(ones, jnp.ones(()), (), keys[0])[0].update["b"], np.full(500, 0.125)
    )


def test_the_bound_follows_the_quantile():
    """Against the formula, and to the median of norms."""
    adaptive = AdaptiveClip(quantile=0.5, learning_rate=0.3, count_noise=2.0)
    mean = PrivateMean(1.0, 0.0, 10.0, adaptive)
    norms = jnp.linspace(1, 10, 10)
    state = mean.init(Upload(jnp.zeros(1)))

    @jax.jit
    def next_bound(state):
        lifted = jax.vmap(lambda norm: mean.lift(Upload(norm[None]), state))(norms)
        total = jax.tree.map(lambda leaf: leaf.sum(0), lifted)
        return mean.lower(total, jnp.asarray(10.0), state, jax.random.key(0))[1]

    for _ in range(60):
        below = sum(norm <= float(state.clip) for norm in np.asarray(norms))
        expected = float(state.clip) * np.exp(-0.3 * (below / 10 - 0.5))
        state = next_bound(state)
        assert float(state.clip) == pytest.approx(expected, rel=1e-5)
    assert 5 <= float(state.clip) <= 6.1


def test_the_count_of_uploads_below_the_bound_gets_its_noise():
    noisy = PrivateMean(1.0, 1.0, 400.0, AdaptiveClip(learning_rate=1.0, count_noise=20.0))
    empty = Upload((jnp.zeros(2000), jnp.asarray(200.0)))

    @jax.jit
    @jax.vmap
    def release(key):
        update, new, _ = noisy.lower(empty, jnp.asarray(400.0), noisy.init(Upload(jnp.zeros(1))), key)
        return update.update.std(), jnp.log(new.clip)

    updates, bounds = release(jax.random.split(jax.random.key(1), 200))
    assert np.mean(updates) == pytest.approx(split_noise(1.0, 20.0) / 400, rel=0.01)
    assert np.std(bounds) == pytest.approx(20 / 400, rel=0.2)


@pytest.mark.parametrize("name", UNIFORM)
def test_one_hospital_moves_the_released_sum_by_at_most_the_clip(name):
    """A hospital with wild rows, and the same federation without it: the whole upload is bounded."""
    data = hospitals((6, 4, 7))
    x = data.x.copy()
    x[-7:] *= 40
    data = dataclasses.replace(data, x=x)
    bound, sums, parts = 0.3, [], road(clip=0.3, expected=1.0)
    for last in (1, 0):  # whether the last hospital is there
        there = Budgeted(Everyone(), PerHospital(np.array([1, 1, last])))
        lab = Lab(recipe(data, algorithm=UNIFORM[name], aggregator=parts, participation=there), data)
        before = lab.start()
        after, _ = lab.advance(before, 1)
        old, new = (jax.tree.map(np.asarray, s.server.group[0]) for s in (before, after))
        delta = jax.tree.map(np.subtract, new.variables.params, old.variables.params)
        if name == "FedAdam":  # m = (1 - beta1) D
            delta = jax.tree.map(lambda m: m / 0.1, new.optimizer.first)
            delta = jax.tree.map(np.negative, delta)
        if name == "FedSGD":
            delta = jax.tree.map(lambda d: d / 0.1, delta)
        control = (
            [] if name != "Scaffold" else jax.tree.leaves(jax.tree.map(np.subtract, new.control, old.control))
        )
        if name == "Scaffold":  # its mean over all N, of which the server knows the expected share
            control = [3 * leaf for leaf in control]
        sums.append(np.concatenate([np.ravel(leaf) for leaf in (*jax.tree.leaves(delta), *control)]))
    moved = np.linalg.norm(sums[0] - sums[1])
    assert 0.5 * bound < moved <= bound * (1 + 1e-4)


def test_without_noise_and_clipping_it_is_the_plain_mean():
    data = hospitals((6, 4, 7))
    plain, private = (
        Lab(recipe(data, algorithm=UNIFORM["Scaffold"], aggregator=part), data).rounds(2)[:2]
        for part in (None, road(clip=1e6, expected=3.0))
    )
    same(plain, private, rtol=1e-6, atol=1e-7)


def test_a_round_without_hospitals_gets_noise_too():
    data = hospitals((6, 4, 7))
    nobody = Poisson(1e-7)
    for noise in (0.0, 1.0):
        lab = Lab(
            recipe(
                data, algorithm=UNIFORM["FedAvg"], aggregator=road(noise, expected=2.0), participation=nobody
            ),
            data,
        )
        before = lab.start()
        after, seen = lab.advance(before, 1)
        assert not np.asarray(seen.present)[0].any()
        old, new = (jax.tree.leaves(s.server.group[0].variables) for s in (before, after))
        moved = [np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(old, new, strict=True)]
        assert (max(moved) > 0) == (noise > 0)


def test_local_noise_differs_between_hospitals_and_devices_change_nothing():
    data = hospitals((6, 4, 7))
    results = []
    for devices, block in ((1, 1), (4, 2)):
        parts = road(0.8, expected=3.0, where="local")
        lab = Lab(recipe(data, algorithm=UNIFORM["FedAvg"], aggregator=parts), data, devices, block)
        results.append(jax.tree.leaves(lab.rounds(1)[0].variables))
        same(results[-1], results[0], rtol=1e-5, atol=1e-6)
    central = []
    for devices, block in ((1, 1), (2, 2)):
        lab = Lab(
            recipe(data, algorithm=UNIFORM["FedAvg"], aggregator=road(0.8, expected=3.0)),
            data,
            devices,
            block,
        )
        central.append(jax.tree.leaves(lab.rounds(1)[0].variables))
    same(central[0], central[1], rtol=1e-5, atol=1e-6)


def test_hospitals_stop_when_their_rounds_are_spent():
    limit = Budgeted(Everyone(), PerHospital(np.array([2, 0, 3, 5])))
    sizes = jnp.array([3, 3, 0, 4])
    state, keys = limit.init(sizes), jax.random.split(jax.random.key(0), 4)
    seen = []
    for r in range(4):
        present, state = limit.draw(state, keys, jnp.int32(r), sizes)
        seen.append(np.asarray(present).tolist())
    assert seen == [[1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
