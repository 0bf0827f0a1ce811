"""A tournament's numbers are those of NumPy and of each rule alone, and its uploads those of the engine."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import hospitals
from matplotlib.figure import Figure
from roads import FULL, aggregate, precisions

import jaxfed
from jaxfed import InvalidInput
from jaxfed.aggregators import (
    NNM,
    SMEA,
    Krum,
    Median,
    TrimmedMean,
    UniformMean,
    WeightedMean,
    as_chain,
    chain,
)
from jaxfed.aggregators.order_statistics import trimmed
from jaxfed.algorithms import FedSGD
from jaxfed.bench import RULES, catalogue, honest_uploads, tournament
from jaxfed.bench.matches import program_of
from jaxfed.bench.tournament import heterogeneity
from jaxfed.models import logistic
from jaxfed.transforms import Clip


def far(updates, malicious, key):
    return jnp.full_like(updates, 1e6)


def endless(updates, malicious, key):
    return jnp.full_like(updates, jnp.inf)


def informed(updates, malicious, key, aggregate):
    """The one of two shifts that moves the rule in use further."""
    shifts = jnp.array([0.1, 1.0])
    sent = [jnp.where(malicious[:, None], updates + shift, updates) for shift in shifts]
    off = jnp.stack([jnp.abs(aggregate(some) - updates.mean(0)).sum() for some in sent])
    return updates + shifts[jnp.argmax(off)]


def updates(rounds=2, n=7, size=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rounds, n, size)).astype(np.float32)


SOME = {
    "mean": lambda n, f: UniformMean(),
    "median": lambda n, f: Median(),
    "Krum": lambda n, f: Krum(f),
    "SMEA": lambda n, f: SMEA(f),
    "NNM": lambda n, f: chain(NNM(f), TrimmedMean((f + 0.1) / n)),
}


@pytest.fixture(scope="module")
def result():
    """The malicious hospitals are the same in every trial: all but five are honest for sure."""
    x = updates(1)
    attacks = {"far": far, "endless": endless, "informed": informed}
    return x, tournament(x, attacks, SOME, f=(0, 1, 2, 3), draws=1, honest=(0, 1, 2, 4))


def test_errors_are_those_of_numpy(result):
    """With f = 3 hospitals 3, 5 and 6 attack."""
    x, found = result
    honest = x[0][[0, 1, 2, 4]]
    variance = np.square(honest - honest.mean(0)).sum(1).mean()
    for attack, sent in (("none", x[0]), ("far", np.full_like(x[0], 1e6))):
        attacked = x[0].copy()
        attacked[[3, 5, 6]] = sent[[3, 5, 6]]
        for name in ("mean", "median", "SMEA", "NNM"):
            road = as_chain(SOME[name](7, 3))
            answer = aggregate(attacked, *road.mixers, road.rule).update
            error = np.square(answer.astype(float) - honest.mean(0)).sum() / variance
            assert found.errors(3).loc[name, attack] == pytest.approx(error, rel=1e-3), (name, attack)


def test_an_attack_knows_the_rule_in_use(result):
    """The median and the mean are moved further by the larger shift, in the honest direction of each."""
    x, found = result
    honest = x[0][[0, 1, 2, 4]]
    variance = np.square(honest - honest.mean(0)).sum(1).mean()
    for name in ("mean", "median"):
        off = []
        for shift in (0.1, 1.0):
            attacked = x[0].copy()
            attacked[[3, 5, 6]] += np.float32(shift)
            answer = aggregate(attacked, SOME[name](7, 3)).update
            off.append(
                (np.abs(answer - x[0].mean(0)).sum(), np.square(answer - honest.mean(0)).sum() / variance)
            )
        assert found.errors(3).loc[name, "informed"] == pytest.approx(max(off)[1], rel=1e-3)


def test_breakdown_and_impossible_numbers(result):
    _, found = result
    assert (found.breakdown.loc["mean", ["none", "far"]] == [3, 0]).all()
    assert found.breakdown.loc["median", "far"] >= 2
    assert found.breakdown.loc["Krum", "far"] == 2
    assert "f=3 needs at least 9 uploads, and there are 7" in found.impossible["Krum", 3]
    assert [number for _, number in found.impossible] == [3]
    table = found.table.set_index(["rule", "attack", "f"])
    assert table.loc[("Krum", "none", 3)].isna().all()
    assert found.breakdown.loc["mean", "endless"] == 3  # uploads that are not finite are left out
    assert np.isinf(found.heterogeneity.bound(7, 7))
    assert "7 hospitals, 5 rules, 4 attacks" in repr(found)
    assert isinstance(found.plot(), Figure)
    with pytest.raises(InvalidInput, match="f=9 was not tried; give one of"):
        found.errors(9)


def test_equal_uploads_are_survived_whatever_rounding_makes_of_them():
    """And numbers of malicious hospitals that are given twice, or in any order, count once."""
    x = np.tile(np.random.default_rng(0).normal(size=5), (9, 1))
    rules = {"mean": UniformMean, "median": Median}
    found = tournament(
        x, {"far": far}, {name: lambda n, f, r=r: r() for name, r in rules.items()}, f=[2, 0, 2]
    )
    assert found.table["f"].tolist() == [0, 2] * 4
    assert found.breakdown.to_numpy().tolist() == [[2, 0], [2, 2]]
    assert (found.errors(2)["none"] < 1e-2).all()
    assert found.errors(2).loc["median", "far"] < 1e-2
    assert found.errors(2).loc["mean", "far"] > 1e6


def test_no_product_of_a_tournament_is_rounded():
    program = program_of([far], [[as_chain(Median())]], [[True]], 1)
    traced = jax.make_jaxpr(program)(updates(1), np.zeros((1, 1, 7), bool), jax.random.key(0))
    assert precisions(traced.jaxpr) == {FULL}


def test_heterogeneity_by_hand():
    """Two uploads m + d and m - d have the spread d^2 around m."""
    rounds = [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]  # m^2 and d^2: d^2 = 1 + m^2
    x = np.array([[[np.sqrt(m) + np.sqrt(d)], [np.sqrt(m) - np.sqrt(d)]] for m, d in rounds])
    assert dataclasses.astuple(heterogeneity(x)) == pytest.approx((1.0, 1.0))
    assert dataclasses.astuple(heterogeneity(x[:1])) == pytest.approx((2.0, 0.0))
    assert heterogeneity(x).share == pytest.approx(1 / 3)
    assert heterogeneity(x).bound(10, 2) == pytest.approx(2 / (10 - 3 * 2))


def test_the_catalogue_of_rules():
    """Every rule is possible for f = 1 of 9 hospitals."""
    for make in RULES.values():
        assert not as_chain(make(9, 1)).problems(9)


@pytest.mark.parametrize("f", [1, 24, 25, 40])
def test_trimmed_means_leave_out_f_of_51(f):
    """Of both catalogues; where half of the uploads or more may be malicious, all but the middle one."""
    made = [as_chain(make(51, f)).rule for name, make in RULES.items() if "trimmed" in name]
    made += catalogue.RULES["trimmed mean"](catalogue.Seen(51, f, jaxfed.per_hospital([0]))).values()
    assert [int(trimmed(jnp.int32(51), rule.trim)) for rule in made] == [min(f, 25)] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"updates": np.zeros(3)}, "give finite numbers"),
        ({"updates": np.full((3, 2), np.nan)}, "give finite numbers"),
        ({"f": (4,), "honest": (0, 1, 2, 4)}, "f=4 of 7 hospitals: give 0 to 3"),
        ({"f": 2}, r"f=2: give a list of whole numbers, such as \[0, 1, 2\]"),
        ({"f": (0.5,)}, r"f=\(0.5,\): give a list of whole numbers"),
        ({"f": ()}, r"f=\(\): give a list of whole numbers"),
        ({"draws": 0}, "draws=0: give at least 1"),
        ({"rules": {"plain": lambda n, f: WeightedMean()}}, "give mixers and a rule that stores uploads"),
        ({"rules": {"clipped": lambda n, f: chain(Clip(1.0), Median())}}, "'clipped' is chain"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        tournament(**{"updates": updates(), "attacks": {}, "rules": SOME, **arguments})


def test_honest_uploads_are_those_that_the_server_averages():
    """Their mean is the step that a run takes, times the learning rate .1 of the server."""
    data = hospitals((11, 4, 7), test=2)
    sim = jaxfed.Simulation(
        data,
        logistic(),
        FedSGD(),
        client_optimizer=None,
        aggregator=chain(Clip(0.2), Median()),
        splits=("test",),
    )
    found = honest_uploads(sim, (1, 2))
    assert found.updates.shape[:2] == (2, 3)
    assert found.hospitals == data.hospitals
    assert found.rounds == (1, 2)
    assert (np.linalg.norm(found.updates, axis=2) <= 0.2 + 1e-6).all()
    plain = sim.replace(aggregator=chain(Clip(0.2)))
    start, moved = (_flat(plain.run(number, progress=False)) for number in (0, 1))
    mean = np.average(found.updates[0], axis=0, weights=data.counts[:, 0])
    np.testing.assert_allclose(np.sort(moved - start), np.sort(0.1 * mean), rtol=1e-4, atol=1e-6)
    assert np.abs(found.updates[1] - found.updates[0]).max() > 1e-4
    with pytest.raises(InvalidInput, match="give whole numbers from 1"):
        honest_uploads(sim, (0,))


def _flat(run):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(run.variables.params)])


def test_uploads_of_several_models_are_refused():
    data = hospitals((6, 6, 6, 6), test=2)
    models = {"small": jaxfed.models.MLP((3,), outputs=1), "other": jaxfed.models.MLP((4, 3), outputs=1)}
    names = data.hospitals
    sim = jaxfed.Simulation(
        data,
        models=models,
        groups={name: "small" if i < 2 else "other" for i, name in enumerate(names)},
        algorithm=jaxfed.algorithms.mixed.FedProto(),
        splits=("test",),
    )
    with pytest.raises(InvalidInput, match="updates of different sizes"):
        honest_uploads(sim)
