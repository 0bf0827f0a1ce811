"""Chains put parts in order, refuse what cannot work, and say so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfed.aggregators import (
    NNM,
    Bucketing,
    CentredClipping,
    GeometricMedian,
    Krum,
    Median,
    TrimmedMean,
    WeightedMean,
    as_chain,
    chain,
)
from jaxfed.core.errors import InvalidInput
from jaxfed.core.hyperparameters import per_hospital, schedule
from jaxfed.core.types import Upload
from jaxfed.transforms import Clip, Momentum, Noise, TopK


def test_parts_are_sorted_into_their_places():
    parts = (Clip(1.0), TopK(0.1), NNM(1), Bucketing(2), Krum(1), Noise(1.0, 1.0, 5))
    made = chain(*parts)
    assert made.transforms == parts[:2]
    assert made.mixers == parts[2:4]
    assert made.rule is parts[4]
    assert made.posts == parts[5:]
    assert made.parts == parts
    assert repr(made).startswith("chain(Clip(bound=1.0), TopK(share=0.1), NNM(f=1), Bucketing(size=2), Krum(")
    assert made.stores


def test_without_a_rule_it_is_the_mean():
    assert chain() == chain(WeightedMean())
    assert chain(Clip(2.0), Noise(1.0, 2.0, 5)).rule == WeightedMean()
    assert not chain(Clip(2.0)).stores
    assert chain(NNM(1)).stores
    assert as_chain(Median()) == chain(Median())
    made = chain(Median())
    assert as_chain(made) is made


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((Median(), Clip(1.0)), "Clip is a transform and belongs before Median, a rule"),
        ((Median(), NNM(1)), "NNM is a mixer and belongs before Median, a rule"),
        ((Noise(1.0, 1.0, 5), Median()), "Median is a rule and belongs before Noise, a post"),
        ((NNM(1), Clip(1.0), Median()), "Clip is a transform and belongs before NNM, a mixer"),
        ((Median(), Krum(1)), "Median and Krum are 2 rules; give one"),
        ((Median,), r"Median is a class; write Median\(...\)"),
        (("median",), "'median', a str, is no part of it; give transforms, then mixers, then one rule"),
        ((chain(Median()), Noise(1.0, 1.0, 5)), "is a chain itself; give its parts"),
    ],
)
def test_other_orders_are_refused(parts, message):
    with pytest.raises(InvalidInput, match=message):
        chain(*parts)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrimmedMean(np.float32(0.7)), "trim=.*0.7.*: give a number >= 0 and < 0.5"),
        (lambda: TrimmedMean(float("nan")), "trim=nan"),
        (lambda: TrimmedMean(per_hospital([0.1, 0.2])), "trim=per_hospital"),
        (lambda: Krum(-1), "f=-1: give a whole number >= 0"),
        (lambda: Krum(1.5), "f=1.5: give a whole number"),
        (lambda: Krum(np.float32(1.5), select=0), "2 problems"),
        (lambda: NNM("one"), "f='one'"),
        (lambda: GeometricMedian(steps=0), "steps=0"),
        (lambda: GeometricMedian(floor=0.0), "floor=0.0"),
        (lambda: CentredClipping(0.0), "tau=0.0"),
        (lambda: CentredClipping(1.0, steps=1.5), "steps=1.5"),
        (lambda: Bucketing(0), "size=0"),
        (lambda: WeightedMean(expected=0), "expected=0"),
        (lambda: Clip(-1.0), "bound=-1.0"),
        (lambda: Clip(per_hospital([1.0, -1.0])), "bound="),
        (lambda: Momentum(1.0), "beta=1.0: give a number >= 0 and < 1"),
        (lambda: TopK(0.0), "share=0.0: give a number > 0 and <= 1"),
        (lambda: TopK(1.5), "share=1.5"),
        (lambda: Noise(-1.0, 1.0, 5), "multiplier=-1.0"),
        (lambda: Noise(1.0, np.inf, 5), "bound=inf"),
    ],
)
def test_numbers_are_checked_when_built(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_numbers_that_only_the_run_knows_pass():
    later = schedule(lambda round: 1 + round)
    parts = chain(Clip(later), NNM(later), Krum(later), Noise(later, later, later))
    assert jax.tree.leaves(chain(Clip(per_hospital([1.0, 2.0])))) != []
    assert jax.jit(lambda f: Krum(f).f + NNM(f).f)(2) == 4
    assert jax.jit(jax.vmap(lambda trim: TrimmedMean(trim).trim))(np.array([0.1, 0.9])).shape == (2,)
    assert not parts.problems(3)  # nothing is known yet
    shapes = jax.eval_shape(lambda part: part, chain(Clip(1.0), Krum(1)))
    assert jax.tree.leaves(shapes)[0].shape == ()
    assert jax.tree.map(lambda leaf: 2 * leaf, chain(Clip(1.0), Krum(1))) == chain(Clip(2.0), Krum(2))


@pytest.mark.parametrize(
    ("parts", "clients", "message"),
    [
        ((Krum(2),), 6, "Krum: f=2 needs at least 7 uploads, and there are 6: give f <= 1"),
        ((Krum(0),), 2, "Krum: f=0 needs at least 3 uploads, and there are 2: take another rule"),
        ((Krum(1, select=9),), 9, "select=9 of 9 uploads with f=1: give at most 8"),
        ((NNM(3), Median()), 6, "NNM: f=3 is not less than half of 6 uploads: give f <= 2"),
        ((Bucketing(2), Krum(2)), 10, "Krum: f=2 needs at least 7 uploads, and there are 5: give f <= 1"),
    ],
)
def test_problems_of_too_few_clients(parts, clients, message):
    (problem,) = chain(*parts).problems(clients)
    assert message in problem
    assert not chain(*parts).problems(20)


def test_the_weighted_mean():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(5, 3)).astype(np.float32), np.array([1, 2, 0, 4, 3], np.float32)
    total = Upload(weights @ x, {"loss": weights @ x[:, 0]})
    mean, state, metrics = WeightedMean().lower(total, weights.sum(), (), jax.random.key(0))
    np.testing.assert_allclose(mean.update, np.average(x, axis=0, weights=weights), rtol=1e-6)
    np.testing.assert_allclose(mean.aux["loss"], mean.update[0], rtol=1e-6)
    assert (state, metrics) == ((), {})
    mean, _, _ = WeightedMean(expected=20).lower(total, weights.sum(), (), jax.random.key(0))
    np.testing.assert_allclose(mean.update, weights @ x / 20, rtol=1e-6)
    for rule in (WeightedMean(), WeightedMean(20)):
        nobody, _, _ = rule.lower(Upload(jnp.zeros(3)), jnp.zeros(()), (), jax.random.key(0))
        assert not nobody.update.any()


def test_totals_are_float32_at_least(x64):
    upload = Upload((jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float64)))
    lifted = WeightedMean().lift(upload, ())
    assert [leaf.dtype.itemsize for leaf in lifted.update] == [4, 4, 8]
