"""Attacks on stacked uploads against NumPy in float64, and what their papers promise."""

from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfed import InvalidInput, Simulation, attacks
from jaxfed.aggregators import NNM, Krum, Median, WeightedMean, chain
from jaxfed.core.hyperparameters import per_hospital
from jaxfed.core.uploads import Uploads
from jaxfed.data import synthetic_ehr

K, N, CASES = 9, 6, 12


@jax.jit
def sent(attack, x, present, key):
    return attacks.attacked(attack, x, present, key=key)


def marks(malicious):
    return per_hospital(np.asarray(malicious, int))


def cases(seed=0):
    """Updates, who is malicious and who is present; at least three honest clients are."""
    rng = np.random.default_rng(seed)
    for number in range(CASES):
        x = rng.normal(size=(K, N)).astype(np.float32) * np.exp(rng.normal(size=(K, 1))) + rng.normal(size=N)
        malicious = np.arange(K) < (number % 4)
        malicious = malicious[rng.permutation(K)]
        present = rng.random(K) < 0.8
        present[np.flatnonzero(~malicious)[:3]] = True
        yield x.astype(np.float32), malicious, present


def check(attack, oracle, rtol=2e-4):
    """The attack sends what the oracle says, and changes nobody else's updates."""
    for x, malicious, present in cases():
        found = np.asarray(sent(attack(marks(malicious)), x, present, jax.random.key(0)))
        expected = np.where(present[:, None], x, 0).astype(float)
        expected[malicious & present] = oracle(x[~malicious & present].astype(float))
        assert np.array_equal(found[~malicious], expected[~malicious].astype(np.float32))
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=2e-4 * np.abs(x).max())


def bisected(fits):
    """The largest number that fits."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def apart(honest):
    return ((honest[:, None] - honest[None]) ** 2).sum(2)


DIRECTIONS = {
    "sd": lambda honest: -honest.std(0),
    "mean": lambda honest: -honest.mean(0) / np.linalg.norm(honest.mean(0)),
    "sign": lambda honest: -np.sign(honest.mean(0)),
}


def test_ipm():
    check(lambda who: attacks.IPM(who, 0.7), lambda honest: -0.7 * honest.mean(0))


def test_alie():
    check(lambda who: attacks.ALIE(who, 1.5), lambda honest: honest.mean(0) - 1.5 * honest.std(0))


@pytest.mark.parametrize(("n", "f"), [(9, 2), (9, 3), (8, 3), (7, 1)])
def test_alie_chooses_z_as_the_paper_does(n, f):
    """Algorithm 3: the quantile that leaves a majority of supporters."""
    x = np.random.default_rng(1).normal(size=(K, N)).astype(np.float32)
    malicious, present = np.arange(K) < f, np.arange(K) < n
    found = sent(attacks.ALIE(marks(malicious)), x, present, jax.random.key(0))
    s = n // 2 + 1 - f
    z = NormalDist().inv_cdf((n - f - s) / (n - f))
    honest = x[f:n].astype(float)
    np.testing.assert_allclose(found[0], honest.mean(0) - z * honest.std(0), rtol=1e-4, atol=1e-5)
    assert (np.abs(found[0] - honest.mean(0)) <= abs(z) * honest.std(0) + 1e-5).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_min_max(direction):
    def oracle(honest):
        point, along = honest.mean(0), DIRECTIONS[direction](honest)
        most = apart(honest).max()
        return point + bisected(lambda g: ((point + g * along - honest) ** 2).sum(1).max() <= most) * along

    check(lambda who: attacks.MinMax(who, direction), oracle)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_min_sum(direction):
    def oracle(honest):
        point, along = honest.mean(0), DIRECTIONS[direction](honest)
        most = apart(honest).sum(1).max()
        return point + bisected(lambda g: ((point + g * along - honest) ** 2).sum() <= most) * along

    check(lambda who: attacks.MinSum(who, direction), oracle)


def test_the_constraints_of_min_max_and_min_sum_are_tight():
    for x, malicious, present in cases(2):
        if not (malicious & present).any():
            continue
        honest, first = x[~malicious & present].astype(float), np.flatnonzero(malicious & present)[0]
        far = [
            (
                (np.asarray(sent(kind(marks(malicious)), x, present, jax.random.key(0)))[first] - honest) ** 2
            ).sum(1)
            for kind in (attacks.MinMax, attacks.MinSum)
        ]
        np.testing.assert_allclose(far[0].max(), apart(honest).max(), rtol=1e-4)
        np.testing.assert_allclose(far[1].sum(), apart(honest).sum(1).max(), rtol=1e-4)


def test_mimic_copies_the_most_extreme_honest_update():
    def oracle(honest):
        centred = honest - honest.mean(0)
        return honest[np.abs(centred @ np.linalg.svd(centred)[2][0]).argmax()]

    check(attacks.Mimic, oracle, rtol=0)


def test_mimic_copies_the_same_hospital_in_all_rounds():
    """In a round without it nothing changes."""
    for x, malicious, present in cases():
        malicious[3] = False
        found = np.asarray(sent(attacks.Mimic(marks(malicious), 3), x, present, jax.random.key(0)))
        expected = np.where(present[:, None], x, 0)
        if present[3]:
            expected[malicious & present] = x[3]
        assert np.array_equal(found, expected)


def test_mimic_copies_an_honest_hospital():
    hospitals = synthetic_ehr(3, sizes=[30, 80, 40])
    who = attacks.malicious(hospitals, names=["h0002"])
    turned = hospitals.select(["h0001", "h0002", "h0000"])
    Simulation(turned, aggregator=chain(attacks.Mimic(who, 2), Median()))  # number 2 is h0000
    with pytest.raises(
        InvalidInput, match="copied=1: this hospital is malicious; give an honest one, such as 0"
    ):
        Simulation(turned, aggregator=chain(attacks.Mimic(who, 1), Median()))


def test_ipm_points_against_the_mean():
    for x, malicious, present in cases(3):
        found = np.asarray(sent(attacks.IPM(marks(malicious), 0.7), x, present, jax.random.key(0)))
        mean = x[~malicious & present].mean(0)
        assert (found[malicious & present] @ mean < 0).all()


@pytest.mark.parametrize(
    ("attack", "factor"),
    [
        (lambda who: attacks.SignFlip(who, 3.0), -3.0),
        (lambda who: attacks.ModelReplacement(who, 4.0), 4.0),
        (lambda who: attacks.Constant(who, 0.0), 0.0),
    ],
)
def test_attacks_that_know_one_update(attack, factor):
    for x, malicious, present in cases():
        found = np.asarray(sent(attack(marks(malicious)), x, present, jax.random.key(0)))
        expected = np.where(malicious[:, None], factor * x, x) * present[:, None]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_constants_that_are_no_numbers():
    x, malicious, everyone = np.ones((K, N), np.float32), np.arange(K) < 2, np.ones(K, bool)
    for value in (np.inf, np.nan):
        found = np.asarray(sent(attacks.Constant(marks(malicious), value), x, everyone, jax.random.key(0)))
        assert np.array_equal(found[:2], np.full((2, N), value, np.float32), equal_nan=True)
        assert (found[2:] == 1).all()


def test_gaussian_noise_has_its_deviation_and_differs_between_clients():
    x, malicious = np.zeros((3, 20_000), np.float32), np.array([1, 0, 1])
    found = np.asarray(attacks.attacked(attacks.Gaussian(marks(malicious), 2.5), x, key=jax.random.key(3)))
    np.testing.assert_allclose(found[[0, 2]].std(1), 2.5, rtol=0.03)
    np.testing.assert_allclose(found[[0, 2]].mean(1), 0, atol=0.08)
    assert not found[1].any()
    assert abs(np.corrcoef(found[0], found[2])[0, 1]) < 0.05


RULES = {
    "mean": (lambda x: x.mean(0), chain(WeightedMean())),
    "median": (lambda x: np.median(x, 0), chain(Median())),
}


def aggregated(parts):
    """A chain's mixers and rule on uploads, as an attacker evaluates them."""

    def aggregate(uploads):
        for mixer in parts.mixers:
            uploads = mixer.apply(uploads, jax.random.key(1))
        if isinstance(parts.rule, WeightedMean):
            return uploads.mean(uploads.weights).update
        return parts.rule.reduce(uploads, (), jax.random.key(1))[0].update

    return aggregate


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", [attacks.IPM, attacks.ALIE])
def test_an_optimised_attack_takes_the_strength_that_harms_most(rule, kind):
    oracle, parts = RULES[rule]
    strengths, own = (0.2, 0.5, 1.0, 2.0, 5.0), 0.4
    program = jax.jit(lambda attack, x: attacks.attacked(attack, x, aggregate=aggregated(parts)))
    for x, malicious, _ in cases(5):
        malicious[:2] = [True, False]
        attack = attacks.Optimised(kind(marks(malicious), own), strengths)
        found = np.asarray(program(attack, x))[0]
        honest = x[~malicious].astype(float)
        point, along = (0, -honest.mean(0)) if kind is attacks.IPM else (honest.mean(0), -honest.std(0))
        tried = [point + s * along for s in (*strengths, own)]
        harm = [
            np.linalg.norm(oracle(np.where(malicious[:, None], update, x)) - honest.mean(0))
            for update in tried
        ]
        best = int(np.argmax(harm))
        np.testing.assert_allclose(found, tried[best], rtol=1e-3, atol=1e-4)


def test_an_optimised_attack_is_at_least_as_bad_as_the_attack():
    """Against a rule that uses inner products only, of which all strengths share one matrix."""
    aggregate = aggregated(chain(NNM(2), Krum(2)))

    @jax.jit
    def harm(x, factor):
        plain = attacks.IPM(marks(np.arange(K) < 2), factor)
        uploads = (
            Uploads(attacks.attacked(attack, x, aggregate=aggregate), jnp.zeros((K, 0)), jnp.ones(K))
            for attack in (plain, attacks.Optimised(plain, (0.1, 1.0, 10.0)))
        )
        return [jnp.linalg.norm(aggregate(u) - x[2:].mean(0)) for u in uploads]

    for x, _, _ in cases(6):
        for factor in (0.3, 3.0):
            plain, optimised = harm(x, factor)
            assert optimised >= plain * (1 - 1e-4)


@pytest.mark.parametrize("kind", [attacks.IPM, attacks.ALIE, attacks.MinMax, attacks.MinSum, attacks.Mimic])
def test_without_an_honest_client_nothing_changes(kind):
    x = np.random.default_rng(0).normal(size=(K, N)).astype(np.float32)
    malicious, present = np.arange(K) < 4, np.arange(K) < 4
    found = sent(kind(marks(malicious)), x, present, jax.random.key(0))
    assert np.array_equal(found, np.where(present[:, None], x, 0))


@pytest.mark.parametrize("kind", [attacks.MinMax, attacks.MinSum, attacks.ALIE, attacks.Mimic])
def test_equal_updates_leave_no_room(kind):
    x, malicious = np.ones((K, N), np.float32), np.arange(K) < 2
    found = sent(kind(marks(malicious)), x, np.ones(K, bool), jax.random.key(0))
    np.testing.assert_allclose(found, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: attacks.IPM(0.2), r"malicious=0.2: say which hospitals are, IPM\(jaxfed.attacks.malicious"),
        (lambda: attacks.SignFlip(marks([0, 2])), "malicious=PerHospital"),
        (lambda: attacks.SignFlip(marks([0, 1]), -1), "scale=-1: give a number >= 0"),
        (lambda: attacks.Constant(marks([0, 1]), "a"), "value='a': give a number, such as 0.0 or float"),
        (lambda: attacks.MinMax(marks([0, 1]), "sds"), "direction='sds': did you mean 'sd'"),
        (
            lambda: attacks.Mimic(marks([0, 1]), 1),
            "copied=1: this hospital is malicious; give an honest one, such as 0",
        ),
        (lambda: attacks.Mimic(marks([0, 1]), 2), "copied=2 of 2 hospitals, .*: give at most 1"),
        (lambda: attacks.Mimic(marks([0, 1]), "north"), "copied='north': give a whole number >= 0"),
        (lambda: attacks.Optimised(attacks.Mimic(marks([0, 1]))), "give an attack with a strength"),
        (lambda: attacks.Optimised(attacks.IPM(marks([0, 1])), ()), "strengths=.*: give a tuple of numbers"),
        (lambda: attacks.attacked(attacks.IPM(marks([0, 1])), np.ones((3, 2))), "give a mark for each"),
        (lambda: attacks.IPM(marks([0, 1]), fctor=2), "no argument 'fctor'; did you mean 'factor'"),
    ],
)
def test_wrong_values(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()
