"""Bounds on epsilon from guesses: formulas, coverage, right and broken methods."""

import math
from typing import ClassVar

import numpy as np
import optax
import pytest
from federations import hospitals
from noisy import BROKEN, gaussian_epsilon, noisy_sgd, noisy_sums
from scipy.stats import binom

import jaxfed
from jaxfed.audits import audit, audit_mechanism, audit_of_scores, epsilon_bound, p_value
from jaxfed.audits.canaries import with_canaries
from jaxfed.audits.one_run import coin_flips
from jaxfed.core.dataset import TEST, TRAIN
from jaxfed.core.errors import InvalidInput
from jaxfed.data import weigh_rows
from jaxfed.models import logistic
from jaxfed.privacy import HospitalDP
from jaxfed.privacy.hospital import PrivateMean

DELTA = 1e-5


def direct(correct, guesses, canaries, epsilon, delta):
    """The theorem as it is written, sum by sum."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    chance = binom.pmf(np.arange(guesses + 1), guesses, q)
    beta = sum(chance[correct:])
    alphas = [sum(chance[correct - j] for j in range(1, i + 1)) / i for i in range(1, correct + 1)]
    return min(1, beta + 2 * canaries * delta * max(alphas, default=0))


def test_the_probability_is_that_of_the_theorem():
    for correct, guesses in ((0, 9), (1, 1), (5, 9), (9, 9), (70, 90), (90, 90)):
        for epsilon in (0.0, 0.3, 2.0, 6.0):
            for delta in (0.0, 1e-5, 1e-3):
                got = p_value(correct, guesses, 200, epsilon, delta)
                assert got == pytest.approx(direct(correct, guesses, 200, epsilon, delta), rel=1e-9)


def test_bounds_that_others_published():
    """Numbers of the reference implementation, in tables of audited language models (m = 500)."""
    assert epsilon_bound(100, 100, 500, 1e-5) == pytest.approx(3.4791953936219215, abs=2e-6)
    assert epsilon_bound(23, 35, 500, 1e-5) == pytest.approx(0.014548719860613346, abs=2e-6)
    assert epsilon_bound(60, 100, 500, 1e-5) == pytest.approx(0.05073561053723097, abs=2e-6)


def test_bounds_grow_with_what_is_known():
    values = [epsilon_bound(v, 100, 200, DELTA) for v in range(40, 101, 5)]
    assert values == sorted(values)
    assert values[0] == 0 < values[-1]
    assert epsilon_bound(90, 100, 200, DELTA, 0.99) < epsilon_bound(90, 100, 200, DELTA, 0.9)
    assert epsilon_bound(90, 100, 200, 1e-3) < epsilon_bound(90, 100, 200, 0)
    # without delta and all right: q^r = 0.05
    q = 0.05 ** (1 / 100)
    assert epsilon_bound(100, 100, 200) == pytest.approx(math.log(q / (1 - q)), abs=1e-5)


def test_the_bound_covers_randomised_response():
    """The tightest epsilon-private method: each canary's coin is told truly with odds e^epsilon."""
    epsilon, wrong, tight = 1.5, 0, []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        included = rng.random(300) < 0.5
        told = included ^ (rng.random(300) > 1 / (1 + math.exp(-epsilon)))
        scores = told + 1e-3 * rng.random(300)
        result = audit_of_scores(scores, included, epsilon=epsilon, delta=0)
        wrong += result.refuted
        tight.append(result.bound)
    assert wrong <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
    assert np.mean(tight) > 0.6 * epsilon


def test_one_number_of_guesses_needs_no_correction():
    rng = np.random.default_rng(0)
    included = rng.random(200) < 0.5
    scores = included + 0.8 * rng.normal(size=200)
    one = audit_of_scores(scores, included, epsilon=1, delta=DELTA, guesses=[50])
    row = one.table.iloc[0]
    assert row["bound"] == pytest.approx(epsilon_bound(int(row["correct"]), 50, 200, DELTA))
    top = np.argsort(scores)
    assert row["correct"] == included[top[-25:]].sum() + (~included[top[:25]]).sum()
    several = audit_of_scores(scores, included, epsilon=1, delta=DELTA, guesses=[50, 100])
    assert several.table["bound"][0] == pytest.approx(
        epsilon_bound(int(row["correct"]), 50, 200, DELTA, 0.975)
    )


@pytest.mark.parametrize("multiplier", [1.0, 4.0])
def test_sums_with_noise(multiplier):
    """Right ones stay below the exact epsilon of the Gaussian mechanism, broken ones go beyond."""
    epsilon = gaussian_epsilon(multiplier, DELTA)
    assert epsilon == pytest.approx({1.0: 4.377178, 4.0: 0.926342}[multiplier], abs=1e-5)
    ask = {"epsilon": epsilon, "delta": DELTA}
    for seed in range(3):
        right = audit_mechanism(noisy_sums(multiplier=multiplier), 2000, seed=seed, **ask)
        assert 0.15 * epsilon < right.bound < epsilon
        assert not right.refuted
        for fault in BROKEN:
            broken = audit_mechanism(noisy_sums(fault, multiplier), 2000, seed=seed, **ask)
            assert broken.refuted, fault
            assert "REFUTED" in repr(broken)
    assert right.plot().axes[1].get_ylabel().startswith("epsilon is at least, 95%")


def test_simulations_with_noise():
    """The same of training: hospitals that clip and add noise as they say, and three that do not."""
    data, multiplier = hospitals((60, 40, 50), test=5), 2.0
    epsilon = gaussian_epsilon(multiplier, DELTA)
    sim = jaxfed.Simulation(data, logistic(), noisy_sgd(multiplier), splits=("test",), devices=1)
    ask = {"epsilon": epsilon, "delta": DELTA, "canaries": 400}
    # as many canaries of each are in the data, so that one program serves all
    first, *others = [seed for seed in range(400) if coin_flips(400, seed).sum() == 200][:3]
    found = []
    for seed in (first, *others):
        right = audit(sim, 1, seed=seed, **ask)
        assert not right.refuted
        found.append(right.roc.auroc)
    assert np.mean(found) > 0.53  # three hospitals add their noise: about 0.58
    for fault, at in zip(BROKEN, (None, "hospital 1", None), strict=True):
        broken = audit(sim.replace(algorithm=noisy_sgd(multiplier, fault)), 1, hospital=at, seed=first, **ask)
        assert broken.refuted, fault
        assert broken.bound > 3.5


class Broken(HospitalDP):
    """Hospital-level privacy whose noise is not what it says."""

    fault: ClassVar[str]

    def parts(self, noise_multiplier, expected, correlation=None):
        """Ends with a part that is broken."""
        return {
            "no noise": [PrivateMean(1.0, 0.0, expected)],
            "no clip": [PrivateMean(1e6, noise_multiplier / 1e6, expected)],
            "wrong denominator": [PrivateMean(1.0, noise_multiplier / expected, expected)],
        }[self.fault]


@pytest.mark.filterwarnings("ignore:HospitalDP with 3 hospitals")
def test_canaries_that_are_hospitals():
    """Of hospital-level privacy as it says, in one round and in several; and of three that are broken."""
    data, multiplier = hospitals((60, 40, 50), test=5), 2.0
    sim = jaxfed.Simulation(
        data,
        logistic(),
        jaxfed.algorithms.FedAvg(weighting="uniform"),
        batch_size=None,
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=1.0),
        splits=("test",),
        devices=1,
        privacy=HospitalDP(clip=1.0, noise_multiplier=multiplier),
    )
    ask = {"delta": DELTA, "canaries": 400}
    same_count = [seed for seed in range(400) if coin_flips(400, seed).sum() == 200][:3]
    for rounds in (1, 4):
        epsilon = gaussian_epsilon(multiplier, DELTA, rounds)
        for seed in same_count:
            right = audit(sim, rounds, epsilon=epsilon, seed=seed, **ask)
            assert 0 < right.bound < 0.6 * epsilon
            assert right.roc.auroc > (0.6 if rounds == 1 else 0.7)
    for fault in BROKEN:
        kind = type(fault, (Broken,), {"fault": fault})
        broken = sim.replace(privacy=kind(clip=1.0, noise_multiplier=multiplier))
        assert audit(
            broken, 1, epsilon=gaussian_epsilon(multiplier, DELTA), seed=same_count[0], **ask
        ).refuted, fault
    patients = audit(sim, 1, epsilon=1.0, unit="patient", **ask)
    assert not patients.refuted
    for changes, says in (
        ({"participation": jaxfed.FixedCohort(2)}, r"FixedCohort the epsilon depends .* Poisson\(rate\)"),
        ({"participation": jaxfed.Cyclic(2)}, "Cyclic the epsilon depends"),
        ({"steps": jaxfed.per_hospital([1, 2, 3]), "epochs": None}, "numbers of single hospitals"),
    ):
        with pytest.raises(InvalidInput, match=says):
            audit(sim.replace(privacy=None, **changes), 1, epsilon=1.0, unit="hospital", **ask)
    with pytest.raises(InvalidInput, match="hospital='hospital 1': each canary is a hospital of its own"):
        audit(sim, 1, epsilon=1.0, hospital="hospital 1", **ask)
    with pytest.raises(InvalidInput, match="unit='row': give 'patient' or 'hospital'"):
        audit(sim, 1, epsilon=1.0, unit="row", **ask)


@pytest.mark.filterwarnings("ignore:HospitalDP with 3 hospitals")
def test_a_run_that_is_audited_ends_at_its_budget():
    sim = jaxfed.Simulation(
        hospitals((12, 9, 15), test=5),
        logistic(),
        jaxfed.algorithms.FedAvg(weighting="uniform"),
        splits=("test",),
        devices=1,
        privacy=HospitalDP(clip=1.0, epsilon=2.0, rounds=2),
    )
    ask = {"epsilon": 2.0, "delta": DELTA, "canaries": 20}
    at_end, beyond = (audit(sim, rounds, **ask) for rounds in (2, 6))
    np.testing.assert_array_equal(beyond.roc.scores, at_end.roc.scores)


def test_canaries_stand_among_the_patients():
    data = hospitals((6, 0, 4), test=1)
    included, where = np.array([1, 0, 0, 1, 1], bool), np.array([2, 0, 2, 0, 2])
    mixed, rows = with_canaries(data, included, where, 7.0)
    assert np.array_equal(mixed.size, data.size + np.array([2, 0, 3]))
    assert np.array_equal(mixed.owner[rows], where)
    assert np.array_equal(mixed.split[rows], np.where(included, TRAIN, TEST))
    assert np.array_equal(mixed.x[rows][:, 3:], 7 * np.eye(5))
    assert not mixed.x[rows][:, :3].any()
    apart, of_apart = with_canaries(data, included, np.arange(3, 8), 7.0)
    assert apart.hospitals[3:] == tuple(f"canary {i}" for i in range(5))
    assert np.array_equal(apart.size, [*data.size, 1, 1, 1, 1, 1])
    assert np.array_equal(apart.owner[of_apart], np.arange(3, 8))
    patients = np.setdiff1d(np.arange(len(mixed.y)), rows)
    np.testing.assert_allclose(mixed.x[patients][:, :3], data.x, rtol=1e-6)
    assert not mixed.x[patients][:, 3:].any()
    assert np.array_equal(mixed.y[patients], data.y)
    assert np.array_equal(mixed.split[patients], data.split)


def test_canaries_leave_the_weights_of_the_patients_as_they_are():
    """Each has the mean weight of its hospital; one that is a hospital has that of all rows."""
    data = hospitals((6, 5, 4), test=1)
    data = weigh_rows(data, 1 + np.arange(len(data.y)) % 4)
    data = data.replace(patients=np.arange(len(data.y)).astype(str))
    before, means = data.target, data.weight_factors
    included, where = np.array([1, 0, 0, 1, 1], bool), np.array([2, 0, 2, 0, 2])
    mixed, rows = with_canaries(data, included, where, 7.0)
    np.testing.assert_allclose(mixed.row_weights[rows], means[where], rtol=1e-6)
    np.testing.assert_allclose(mixed.weight_factors, means, rtol=1e-6)
    patients = np.setdiff1d(np.arange(len(mixed.y)), rows)
    np.testing.assert_allclose(mixed.target.weight[patients], before.weight, rtol=1e-6)
    assert np.array_equal(mixed.patients[patients], data.patients)
    apart, of_apart = with_canaries(data, included, np.arange(3, 8), 7.0)
    np.testing.assert_allclose(apart.row_weights[of_apart], data.row_weights[data.split == TRAIN].mean())


def test_coins_are_fair_and_repeat():
    flips = coin_flips(10_000, 3)
    assert np.array_equal(flips, coin_flips(10_000, 3))
    assert abs(flips.mean() - 0.5) < 0.02
    assert not np.array_equal(flips, coin_flips(10_000, 4))


def never(included, seed):
    """A mechanism that must not be reached."""
    raise AssertionError("it was trained before the arguments were checked")


def test_what_cannot_be_audited():
    ask = {"epsilon": 1.0, "delta": DELTA}
    for wrong, says in (
        ({"epsilon": -1}, "epsilon=-1: give a number >= 0"),
        ({"epsilon": math.nan}, "epsilon=nan: give a number"),
        ({"delta": 1.0}, r"delta=1.0: give a number >= 0 and < 1, such as 1e-5"),
        ({"confidence": 95}, "confidence=95: give a number above 0.5 and below 1"),
        ({"canaries": 1}, "canaries=1: give a whole number >= 2"),
        ({"guesses": 20}, r"guesses=20: give a list of whole numbers from 1 to 50, such as \[12\]"),
        ({"guesses": [0]}, r"guesses=\[0\]: give a list"),
        ({"guesses": [10, 1000]}, r"guesses=\[10, 1000\]: give a list of whole numbers from 1 to 50"),
        ({"guesses": [1.5]}, r"guesses=\[1.5\]: give a list"),
        ({"guesses": []}, r"guesses=\[\]: give a list"),
        ({"guesses": "all"}, "guesses='all': give a list"),
    ):
        with pytest.raises(InvalidInput, match=says):
            audit_mechanism(never, **{"canaries": 50, **ask, **wrong})
    with pytest.raises(InvalidInput, match=r"guesses=\[3\]: give a list of whole numbers from 1 to 2"):
        audit_of_scores([0.0, 1.0], np.array([True, False]), guesses=[3], **ask)
    with pytest.raises(InvalidInput, match="scores: 1 are NaN"):
        audit_of_scores([0.0, math.nan], np.array([True, False]), **ask)
    with pytest.raises(InvalidInput, match="give a score and True or False for each canary"):
        audit_of_scores([0.0, 1.0], [1, 0], **ask)
    with pytest.raises(InvalidInput, match=r"no argument 'canary'; did you mean 'canaries'"):
        audit_mechanism(noisy_sums(), canary=3, **ask)
    with pytest.raises(InvalidInput, match=r"give a jaxfed\.Simulation as the first argument"):
        audit("heart", 1, **ask)
    sim = jaxfed.Simulation(hospitals((9, 8), test=2, task="regression"), logistic(), splits=("test",))
    with pytest.raises(InvalidInput, match=r"regression has no classes; give audit_mechanism a function"):
        audit(sim, 1, **ask)
