"""Epsilons: golden numbers, monotonicity, round trips, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfed import InvalidInput
from jaxfed.privacy import Mechanism, accounting, epsilon, noise_for, steps_for
from jaxfed.privacy.hospital import split_noise

DELTA = 1e-5
EXACT = {(1.0, 1): 4.377178, (4.0, 1): 0.926342, (1.0, 10): 17.856587, (1.0, 100): 91.817}


@pytest.mark.parametrize(("noise", "steps"), EXACT)
def test_full_participation_is_exact(noise, steps):
    assert epsilon(Mechanism(noise), steps, DELTA) == pytest.approx(EXACT[noise, steps], rel=1e-5)


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "accountant", "expected"),
    [
        (1.0, 0.01, 1000, "pld", 1.828244),
        (1.0, 0.01, 1000, "rdp", 2.101367),
        (1.5, 0.04, 2250, "pld", 6.769),
        (1.5, 0.04, 2250, "rdp", 7.329),
    ],
)
def test_poisson_sampling(noise, rate, steps, accountant, expected):
    value = epsilon(Mechanism(noise, rate), steps, DELTA, accountant=accountant)
    assert value == pytest.approx(expected, abs=1e-3)


def test_calibration():
    assert noise_for(1.0, 1000, DELTA, rate=0.01) == pytest.approx(1.4158, rel=1e-3)


def test_the_split_of_adaptive_clipping():
    assert split_noise(1.0, 5.0) == pytest.approx(1.005037815, abs=1e-9)
    assert float(split_noise(np.float32(1), np.float32(5))) == pytest.approx(1.005037815, rel=1e-6)
    assert math.isnan(split_noise(1.0, 0.4))


def test_ends():
    assert epsilon(Mechanism(0.0, 0.1), 5, DELTA) == math.inf
    assert epsilon(Mechanism(1.0, 0.0), 5, DELTA) == 0
    assert epsilon(Mechanism(1.0, 0.1), 0, DELTA) == 0


def test_a_replaced_contributor_moves_the_sum_twice_as_far():
    replaced = epsilon(Mechanism(2.0, adjacency="replace-one"), 7, DELTA)
    assert replaced == pytest.approx(epsilon(Mechanism(1.0), 7, DELTA), rel=1e-9)
    sampled = [epsilon(Mechanism(2.0, 0.1, adjacency=a), 20, DELTA) for a in ("add-or-remove", "replace-one")]
    assert sampled[0] < sampled[1]


def test_truncation_costs_and_a_capacity_of_all_rows_does_not():
    plain = epsilon(Mechanism(1.0, 0.05), 50, DELTA)
    tight, all_rows = (
        epsilon(Mechanism(1.0, 0.05, "truncated", rows=200, capacity=capacity), 50, DELTA)
        for capacity in (12, 200)
    )
    assert tight > 1.01 * plain
    assert all_rows == pytest.approx(plain, rel=5e-3)


def test_fixed_size_is_accounted_by_rdp_alone():
    mechanism = Mechanism(2.0, 0.05, "fixed", "replace-one", rows=200)
    assert epsilon(mechanism, 10, DELTA, accountant="rdp") > 0
    with pytest.raises(InvalidInput, match="accountant='rdp'"):
        epsilon(mechanism, 10, DELTA)


def test_several_owners_of_a_patient():
    one, two = Mechanism(1.0, 0.05), Mechanism(1.5, 0.1)
    alone = epsilon(one, 30, DELTA), epsilon(two, 20, DELTA)
    together = accounting.composed([(one, 30), (two, 20)], DELTA)
    assert max(alone) < together < sum(alone)
    assert accounting.composed([(one, 60)], DELTA) == pytest.approx(epsilon(one, 60, DELTA))


@settings(deadline=None, max_examples=5)
@given(
    st.floats(0.6, 4), st.floats(0.02, 0.6), st.integers(1, 60), st.sampled_from(["pld", "rdp"]),
    st.sampled_from([1e-5, 1e-6]),
)  # fmt: skip
def test_more_noise_fewer_steps_a_smaller_rate_and_a_larger_delta_cost_less(
    noise, rate, steps, accountant, delta
):
    def of(noise=noise, rate=rate, steps=steps, delta=delta):
        return epsilon(Mechanism(noise, rate), steps, delta, accountant=accountant)

    slack = 1e-3 * of() + 1e-3
    assert of(noise=1.2 * noise) <= of() + slack
    assert of(rate=0.8 * rate) <= of() + slack
    assert of(steps=2 * steps) >= of() - slack
    assert of(delta=10 * delta) <= of() + slack


@settings(deadline=None, max_examples=2)
@given(st.floats(0.5, 6), st.floats(0.05, 0.5), st.integers(1, 60))
def test_round_trips(budget, rate, steps):
    noise = noise_for(budget, steps, DELTA, rate=rate, accountant="rdp")
    mechanism = Mechanism(noise, rate)
    assert epsilon(mechanism, steps, DELTA, accountant="rdp") <= budget
    less = Mechanism(0.99 * noise, rate)
    assert epsilon(less, steps, DELTA, accountant="rdp") > budget
    fitting = steps_for(budget, mechanism, DELTA, accountant="rdp")
    assert fitting >= steps
    assert epsilon(mechanism, fitting + 1, DELTA, accountant="rdp") > budget


def test_the_cheap_bound_does_not_change_how_many_steps_fit():
    mechanism = Mechanism(1.0, 0.05)
    most = steps_for(2.0, mechanism, DELTA, unit=3)
    assert epsilon(mechanism, 3 * most, DELTA) <= 2.0 < epsilon(mechanism, 3 * most + 3, DELTA)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mechanism(math.nan), "noise_multiplier=nan: give a finite number"),
        (lambda: Mechanism(-1.0), "noise_multiplier=-1.0"),
        (lambda: Mechanism(1.0, 1.2), "rate=1.2"),
        (lambda: Mechanism(1.0, math.nan), "rate=nan"),
        (lambda: Mechanism(1.0, 0.1, "shuffled"), "shuffled batches have no accounting"),
        (lambda: Mechanism(1.0, 0.1, "fixed", rows=5), "adjacency='replace-one'"),
        (lambda: Mechanism(1.0, 0.1, "truncated", rows=5), "capacity=None"),
        (lambda: epsilon(Mechanism(1.0), 1, 1.0), "delta=1.0: give a number above 0 and below 1"),
        (lambda: epsilon(Mechanism(1.0), 1, 0.0), "delta=0.0"),
        (lambda: epsilon(Mechanism(1.0), 1, math.nan), "delta=nan"),
        (lambda: epsilon(Mechanism(1.0), 1.5, DELTA), "steps=1.5"),
        (lambda: epsilon(Mechanism(1.0), 1, DELTA, accountant="prv"), "accountant='prv'"),
        (lambda: noise_for(math.inf, 1, DELTA), "epsilon=inf"),
        (lambda: steps_for(-1.0, Mechanism(1.0), DELTA), "budget=-1.0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_without_the_library_there_is_a_command_to_type(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting.pld", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxfed\[privacy\]'"):
        accounting.library()
