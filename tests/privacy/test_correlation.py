"""Correlated noise: its matrices, what turns cost and what sums gain, against brute force and jax-privacy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_privacy.matrix_factorization import toeplitz

from jaxfed import Cyclic, Everyone, FixedCohort, InvalidInput, Poisson
from jaxfed.privacy import BandMF, CorrelatedNoise, Mechanism, Tree, accounting, epsilon
from jaxfed.privacy.ledger import Ledger

CORRELATIONS = [
    BandMF(bands=1), BandMF(bands=3), BandMF(bands=4, rounds=9),
    Tree(restart=1), Tree(restart=4), Tree(restart=6), Tree(restart=8),
]  # fmt: skip
each = pytest.mark.parametrize("correlation", CORRELATIONS, ids=repr)


def matrix(correlation, rounds):
    """C, by its definition."""
    result = np.zeros((rounds, rounds))
    for t in range(rounds):
        if isinstance(correlation, BandMF):
            for j, c in enumerate(correlation.coefficients[: t + 1]):
                result[t, t - j] = c
        else:
            end = t % correlation.restart + 1
            result[t, t + 1 - (end & -end) : t + 1] = 1 / math.sqrt(correlation.restart.bit_length())
    return result


def rows(correlation, rounds):
    """C^-1, as the recursion applies it to unit vectors."""
    state = correlation.init({"a": jnp.zeros(rounds), "b": jnp.zeros((2, 1))})

    def step(state, unit):
        noise, state = correlation.apply({"a": unit, "b": unit[:2, None]}, state)
        return state, noise

    noise = jax.jit(lambda state: jax.lax.scan(step, state, jnp.eye(rounds))[1])(state)
    np.testing.assert_array_equal(noise["b"][..., 0], noise["a"][:, :2])
    return np.asarray(noise["a"], float)


def cost(C, turns):
    """The squared sensitivity of a hospital with these turns, by the definition."""
    return np.sum(C[:, list(turns)].sum(1) ** 2)


@each
def test_the_recursion_is_the_inverse_of_the_matrix(correlation):
    """So the covariance of the noise is (C^T C)^-1: exactly, by linearity."""
    C, inverse = matrix(correlation, 13), rows(correlation, 13)
    np.testing.assert_allclose(inverse @ C, np.eye(13), atol=2e-6)
    assert (C >= 0).all()
    assert np.linalg.norm(C, axis=0).max() == pytest.approx(1, abs=1e-12)


@each
def test_variances_are_those_of_sums_of_the_noise(correlation):
    sums = np.cumsum(np.linalg.inv(matrix(correlation, 13)), axis=0)
    np.testing.assert_allclose(correlation.variances(13), (sums**2).sum(1), rtol=1e-9)


@each
def test_charges_are_squared_sensitivities_for_any_turns(correlation):
    """Of whole columns: rounds of the matrix go on after the last turn. Before, less has been released."""
    C = matrix(correlation, 24)
    turns = np.random.default_rng(0).random((12, 40)) < np.linspace(0.05, 1, 40)
    charges = correlation.charges(turns)
    for hospital, present in enumerate(turns.T):
        at = np.flatnonzero(present)
        assert charges[-1, hospital] == pytest.approx(cost(C, at), rel=1e-9, abs=1e-12)
        for r in range(12):
            assert charges[r, hospital] >= cost(C[: r + 1], at[at <= r]) - 1e-9
    assert (np.diff(charges, axis=0) >= 0).all()


@pytest.mark.parametrize(
    "correlation", [BandMF(bands=3), BandMF(bands=3, rounds=9), Tree(restart=3)], ids=repr
)
def test_turns_a_cycle_apart_cost_as_much_as_independent_rounds_at_most(correlation):
    """By brute force over all turns that are at least 3 rounds apart: k turns cost at most k."""
    rounds, worst = 10, {}
    C = matrix(correlation, rounds)
    for k in range(1, 5):
        for turns in itertools.combinations(range(rounds), k):
            if all(b - a >= 3 for a, b in itertools.pairwise(turns)):
                worst[k] = max(worst.get(k, 0), cost(C, turns))
    assert all(value <= k + 1e-9 for k, value in worst.items())
    assert worst[1] == pytest.approx(1)
    assert worst[2] == pytest.approx(2)
    np.testing.assert_allclose(correlation.largest_charges(3, rounds)[[0, 3, 6]], [1, 2, 3])


def test_every_round_costs_what_overlapping_columns_say():
    for correlation in (BandMF(bands=3), Tree(restart=4)):
        C = matrix(correlation, 12)
        assert correlation.largest_charges(1, 8)[-1] == pytest.approx(cost(C, range(8)), rel=1e-9)


def test_jax_privacy_has_the_same_coefficients_noise_and_sensitivity():
    plain, best = BandMF(bands=5), BandMF(bands=5, rounds=40)
    root = np.asarray(toeplitz.optimal_max_error_strategy_coefs(5))
    np.testing.assert_allclose(plain.coefficients, root / np.linalg.norm(root), rtol=1e-6)
    # jax_privacy 2.0.0: toeplitz.optimize_banded_toeplitz(40, 5), and its loss
    np.testing.assert_allclose(
        best.coefficients, [0.7234306, 0.43771878, 0.3543504, 0.3029322, 0.26022747], atol=2e-6
    )
    assert best.variances(40).mean() == pytest.approx(6.39028787, rel=1e-6)
    c = jnp.asarray(plain.coefficients)
    inverse = toeplitz.inverse_as_streaming_matrix(c) @ jnp.eye(13)
    np.testing.assert_allclose(rows(plain, 13), inverse, atol=2e-6)
    for cycle in (2, 5):  # with bands that overlap, too; the horizon is after the last column
        theirs = toeplitz.minsep_sensitivity_squared(c, cycle, max_participations=3, n=3 * cycle + 5)
        assert plain.largest_charges(cycle, 3 * cycle)[-1] == pytest.approx(float(theirs), rel=1e-5)


def test_published_errors():
    """Fichtenberger et al. 2023, arXiv:2202.11205: with all bands, the last sum's error is (sum c_j^2)^2."""
    n = 30
    c = np.array([math.comb(2 * j, j) / 4**j for j in range(n)])
    assert BandMF(bands=n).variances(n)[-1] == pytest.approx((c @ c) ** 2, rel=1e-9)
    # Kairouz et al. 2021: as many nodes as a number has ones, each with the noise of all levels
    np.testing.assert_allclose(Tree(restart=8).variances(8), 4 * np.array([1, 1, 2, 1, 2, 2, 3, 1]))


def test_error_at_equal_epsilon():
    """Over 100 rounds; less than 1 is better than independent noise."""
    of = {
        (repr(correlation), cycle): correlation.for_cycle(cycle).relative_error(cycle, 100)
        for correlation in (BandMF(), BandMF(rounds=100), Tree()) for cycle in (1, 10)
    }  # fmt: skip
    assert of["BandMF(bands=None, rounds=None)", 10] == pytest.approx(0.183, abs=1e-3)
    assert of["BandMF(bands=None, rounds=100)", 10] == pytest.approx(0.172, abs=1e-3)
    assert of["Tree(restart=None)", 10] == pytest.approx(0.452, abs=1e-3)
    assert all(error == pytest.approx(1) for (_, cycle), error in of.items() if cycle == 1)
    # where a hospital takes part in every round, correlation costs what it gains
    assert BandMF(bands=4).relative_error(1, 100) > 1
    assert Tree(restart=16).relative_error(1, 100) > 1


def test_charges_are_steps_for_the_accountant():
    mechanism = Mechanism(2.0)
    charges = np.array([[0.0, 1.0], [3.0, 2.25]])
    values = accounting.charged(mechanism, charges, 1e-5)
    assert values[0].tolist() == [0.0, epsilon(mechanism, 1, 1e-5)]
    assert values[1, 0] == pytest.approx(epsilon(mechanism, 3, 1e-5), rel=1e-9)
    assert values[1, 1] == pytest.approx(epsilon(Mechanism(2.0 / 1.5), 1, 1e-5), rel=1e-9)
    turns = np.arange(12)[:, None] % 4 == np.arange(4)
    epsilons = []
    for correlation in (BandMF(bands=4), Tree(restart=4), None):
        ledger = Ledger("hospital", (mechanism,) * 4, np.ones(4, int), 1e-5, "pld", False, correlation)
        epsilons.append(ledger.curve(turns)[0])
        np.testing.assert_allclose(ledger.spent(turns), epsilons[-1][-1])
    np.testing.assert_allclose(epsilons[0], epsilons[2], rtol=1e-9)
    np.testing.assert_allclose(epsilons[1][:, 0], epsilons[2][:, 0], rtol=1e-9)  # the first of a tree
    assert (epsilons[1] <= epsilons[2] + 1e-9).all()


@pytest.mark.parametrize(("size", "cycle"), [(1, 5), (2, 3), (5, 1)])
def test_turns_come_once_in_a_cycle(size, cycle):
    sizes, keys = jnp.array([3, 0, 2, 1, 4, 9]), jax.random.split(jax.random.key(3), 6)
    turns = Cyclic(size)
    assert (turns.cycle(5), turns.at_most(5)) == (cycle, size)
    draw = jax.jit(jax.vmap(lambda r: turns.draw((), keys, r, sizes)[0]))
    present = np.asarray(draw(jnp.arange(6)))
    np.testing.assert_array_equal(present[:cycle].sum(0), [1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(present[cycle], present[0])
    assert (present.sum(1)[: cycle - 1] == size).all()


def test_only_turns_have_a_cycle():
    assert (Everyone().cycle(4), Poisson(0.5).cycle(4), FixedCohort(2).cycle(4)) == (1, None, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CorrelatedNoise(1.0, 1.0, 2.0, BandMF()), r"give BandMF\(bands=8\)"),
        (lambda: CorrelatedNoise(1.0, 1.0, 2.0, "tree"), "correlation='tree'"),
        (lambda: CorrelatedNoise(-1.0, 0.0, 2.0, BandMF(bands=0)), "bands=0: give a whole number >= 1"),
        (lambda: CorrelatedNoise(1.0, 1.0, 2.0, Tree(restart=2.5)), "restart=2.5"),
        (lambda: BandMF(band=3), "did you mean 'bands'"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
