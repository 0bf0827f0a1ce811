"""What robust rules promise: symmetries, what attackers can do, and the exact cases of the literature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roads
from roads import aggregate

from jaxfed import aggregators
from jaxfed.aggregators import (
    NNM,
    Bucketing,
    CentredClipping,
    GeometricMedian,
    Krum,
    Median,
    TrimmedMean,
)
from jaxfed.core.aggregation import Rule
from jaxfed.core.uploads import Uploads

RULES = {
    "median": (Median(),),
    "trimmed mean": (TrimmedMean(0.25),),
    "Krum": (Krum(2),),
    "multi-Krum": (Krum(2, select=3),),
    "geometric median": (GeometricMedian(),),
    "NNM and Krum": (NNM(2), Krum(2)),
    "NNM and trimmed mean": (NNM(2), TrimmedMean(0.25)),
    "NNM and geometric median": (NNM(2), GeometricMedian()),
}
NAMES = pytest.mark.parametrize("name", RULES)
EVERY = pytest.mark.parametrize("parts", [*RULES.values(), (CentredClipping(3.0),)], ids=[*RULES, "clipping"])


def updates(seed=0, clients=9, size=7):
    return np.random.default_rng(seed).normal(size=(clients, size)).astype(np.float32)


def test_every_rule_and_mixer_side_by_side():
    """As trials of a sweep: under vmap each answers as alone."""
    classes = [getattr(aggregators, name) for name in aggregators.__all__]
    parts = {
        c.__name__: c(**{"Bulyan": {"f": 1}}.get(c.__name__, {})) for c in classes if isinstance(c, type)
    }
    chains = {name: aggregators.as_chain(part) for name, part in parts.items()}
    chains = {name: chain for name, chain in chains.items() if chain.stores}
    assert len(chains) > 15

    @jax.jit
    def answers(x, key):
        found = {}
        for name, chain in chains.items():
            uploads = Uploads(x, x[:, :0], jnp.ones(len(x)), x.shape[1], None)
            for mixer in chain.mixers:
                uploads = mixer.apply(uploads, key)
            if isinstance(chain.rule, Rule):
                found[name] = chain.rule.reduce(uploads, chain.rule.init(x[0]), key)[0].update
            else:
                found[name] = uploads.update
        return found

    x, keys = jnp.stack([updates(0), updates(1)]), jax.random.split(jax.random.key(0))
    together = jax.jit(jax.vmap(answers))(x, keys)
    for i in range(2):
        for name, alone in answers(x[i], keys[i]).items():
            np.testing.assert_allclose(together[name][i], alone, rtol=1e-4, atol=1e-5, err_msg=name)


@EVERY
def test_the_order_of_hospitals_does_not_matter(parts):
    x = updates()
    order = np.random.default_rng(1).permutation(9)
    found = aggregate(x[order], *parts).update
    np.testing.assert_allclose(found, aggregate(x, *parts).update, rtol=1e-4, atol=1e-5)


@NAMES
def test_translation_and_scale(name):
    x, moved = updates(), updates(5)[0]
    found = aggregate(4 * x + moved, *RULES[name]).update
    np.testing.assert_allclose(found, 4 * aggregate(x, *RULES[name]).update + moved, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["Krum", "multi-Krum", "geometric median", "NNM and Krum"])
def test_rotation(name):
    x = updates()
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0].astype(np.float32)
    found = aggregate(x @ rotation, *RULES[name]).update
    np.testing.assert_allclose(found, aggregate(x, *RULES[name]).update @ rotation, rtol=1e-4, atol=1e-4)


@EVERY
def test_identical_updates_are_the_answer(parts):
    x = np.repeat(updates()[:1], 9, axis=0)
    assert np.linalg.norm(x[0]) < 3
    for weights in (np.ones(9), np.array([1, 2, 0, 1, 1, 3, 1, 1, 1])):
        np.testing.assert_allclose(aggregate(x, *parts, weights=weights).update, x[0], rtol=1e-5)


@pytest.mark.parametrize(
    "parts",
    [
        (TrimmedMean(0.0),),
        (CentredClipping(1e6),),
        (Krum(0, select=9),),
        (NNM(0), Krum(1)),
        (Bucketing(9), Median()),
        (GeometricMedian(floor=1e6),),
    ],
    ids=lambda parts: " ".join(type(part).__name__ for part in parts),
)
def test_what_is_the_mean_without_attackers(parts):
    x = updates()
    np.testing.assert_allclose(aggregate(x, *parts).update, x.mean(0), rtol=1e-4, atol=1e-5)


@NAMES
@pytest.mark.parametrize("size", [1e6, 1e12, 1e20, 1e30])
@pytest.mark.parametrize("pattern", ["together", "apart", "first"])
def test_a_minority_cannot_move_it_far(name, size, pattern):
    """Of 9 uploads 2 are as large as they like; the answer stays among the honest ones."""
    x = updates()
    who = [0, 1] if pattern == "first" else [7, 8]
    x[who] = size
    if pattern == "apart":
        x[8] = -size
        x[7, ::2] = -size
    honest = np.delete(x, who, axis=0)
    for devices in (1, 2):
        found = aggregate(x, *RULES[name], devices=devices).update
        radius = np.linalg.norm(honest - honest.mean(0), axis=1).max()
        assert np.linalg.norm(found - honest.mean(0)) <= 1.5 * radius


@pytest.mark.parametrize("size", [1e6, 1e12, 1e30])
def test_an_upload_moves_centred_clipping_by_its_share_of_tau(size):
    x = updates()
    expected = roads.centred_clipping(x, np.zeros(7), 2.0, 1)
    x[4] = size
    found = aggregate(x, CentredClipping(2.0)).update
    assert np.linalg.norm(found - expected) <= 2 * 2.0 / 9 + 1e-5
    for mixer in (NNM(1), Bucketing(2)):
        assert np.linalg.norm(aggregate(x, mixer, CentredClipping(2.0)).update) <= 2.0


@pytest.mark.parametrize(
    ("parts", "fewest"), [((Krum(2),), 5), ((Krum(0),), 3), ((NNM(2), Median()), 5), ((NNM(1), Krum(0)), 3)]
)
def test_no_answer_where_too_few_are_left(parts, fewest):
    x = updates()
    for left, answer in ((fewest, True), (fewest - 1, False)):
        found = aggregate(x, *parts, weights=np.arange(9) < left)
        assert np.isfinite(found.update).all() == answer


def test_clipping_keeps_its_memory_where_there_is_no_answer():
    x, v = updates(), updates(1)[0]
    found = aggregate(x, NNM(2), CentredClipping(1.0), weights=np.arange(9) < 4, state=v)
    assert not np.isfinite(found.update).any()
    np.testing.assert_array_equal(found.state, v)
    found = aggregate(x, CentredClipping(1.0), weights=np.zeros(9), state=v)
    assert not found.update.any()
    np.testing.assert_array_equal(found.state, v)


@pytest.mark.parametrize("parts", [(Median(),), (TrimmedMean(0.2),), (GeometricMedian(),)], ids=str)
def test_nobody(parts):
    assert not aggregate(updates(), *parts, weights=np.zeros(9)).update.any()


@pytest.mark.parametrize("k", [2, 5])
def test_the_counter_example_of_bucketing(k):
    """k uploads +1 and k + 1 uploads -1 (arXiv:2006.09365, section 3): no attacker, the mean is near 0."""
    x = np.array([[1.0]] * k + [[-1.0]] * (k + 1), np.float32)
    for rule in (Median(), GeometricMedian(), Krum(k - 1)):
        np.testing.assert_allclose(aggregate(x, rule).update, [-1], atol=1e-3)
    answers = [float(aggregate(x, Bucketing(2), Median(), seed=seed).update[0]) for seed in range(20)]
    assert len(set(answers)) > 1
    assert abs(np.mean(answers) + 1 / (2 * k + 1)) < 0.35
    assert np.mean(answers) > -0.7


@pytest.mark.parametrize(("n", "f"), [(10, 2), (11, 3), (25, 5)])
def test_the_least_kappa(n, f):
    """||F - mean_S||^2 <= kappa var_S has kappa >= f / (n - 2 f), of zeros and f ones (arXiv:2302.01772)."""
    x = np.array([[0.0]] * (n - f) + [[1.0]] * f, np.float32)
    honest = x[f:]  # those ones may be honest, and f of the zeros malicious
    variance = ((honest - honest.mean(0)) ** 2).sum(1).mean()
    for parts in ((Median(),), (TrimmedMean((f + 0.1) / n),), (Krum(f),), (NNM(f), Median())):
        found = aggregate(x, *parts).update
        kappa = ((found - honest.mean(0)) ** 2).sum() / variance
        np.testing.assert_allclose(kappa, f / (n - 2 * f), rtol=1e-4)


def test_kappa_of_every_honest_subset():
    """The constants of arXiv:2302.01772 for trimmed mean, Krum, geometric median and median."""
    n, f, x = 9, 2, updates(3)
    x[7:] *= 20
    ratio = f / (n - 2 * f)
    constants = {
        "trimmed mean": 6 * ratio * (1 + ratio),
        "Krum": 6 * (1 + ratio),
        "geometric median": 4 * (1 + ratio) ** 2,
        "median": 4 * (1 + ratio) ** 2,
        "NNM and trimmed mean": 8 * f / (n - f) * (1 + 6 * ratio * (1 + ratio)),
        "NNM and Krum": 8 * f / (n - f) * (1 + 6 * (1 + ratio)),
    }
    for name, kappa in constants.items():
        found = aggregate(x, *RULES[name]).update
        for honest in itertools.combinations(range(n), n - f):
            some = x[list(honest)].astype(np.float64)
            variance = ((some - some.mean(0)) ** 2).sum(1).mean()
            assert ((found - some.mean(0)) ** 2).sum() <= kappa * variance


@pytest.mark.parametrize(("b", "least"), [(0.5, 0.445), (1.0, 0.333), (2.0, 0.167)])
def test_the_share_of_attackers_that_no_rule_survives(b, least):
    """From 1 / (2 + B^2) on (arXiv:2309.13591) the trimmed mean of gradients c_i theta is no descent."""
    n = 1200
    for f, descends in ((int(least * n) - 12, True), (int(least * n) + 12, False)):
        q = f / (n - f)
        rest = n - 2 * f
        high, low = 1 + b * np.sqrt((1 - q) / q), 1 - b * np.sqrt(q / (1 - q))
        x = np.array([high] * f + [low] * rest + [-1e30] * f, np.float32)[:, None]
        found = aggregate(x, TrimmedMean((f + 0.1) / n)).update
        assert (found[0] > 0) == descends


def test_directions_of_a_thousand_uploads_on_two_devices():
    """LAPACK's eigenvectors ended the process here."""
    assert np.isfinite(aggregate(updates(clients=1000, size=64), aggregators.DnC(10), devices=2).update).all()
