"""Algorithms on parabolas, against what is worked out on paper (float64)."""

import numpy as np
import optax
import pytest
from federations import server_in
from quadratics import CAPACITY, at, end, lab, opposed, parabolas, path, run, slopes, valley, values

from jaxfed.algorithms import (
    AFL,
    AdaptiveFedProx,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedCM,
    FedDyn,
    FedExP,
    FedNova,
    FedProx,
    FedSAM,
    FedYogi,
    Mime,
    MimeLite,
    QFedAvg,
    Scaffold,
)
from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.core.optimizer import optimizer
from jaxfed.participation import FixedCohort

pytestmark = pytest.mark.usefixtures("x64")
IDENTITY = optimizer(optax.identity)


def drifted(G, K, eta, mu=1.0):
    """FedAvg's fixed point on `opposed`, whose minimum is at 0."""
    return K * eta * G / (1 - (1 - 2 * mu * eta) ** K) - G / (2 * mu)


@pytest.mark.parametrize(("K", "expected"), [(1, 0.0), (2, 0.055556), (10, 0.620290)])
def test_fedavg_settles_away_from_the_minimum(K, expected):
    assert drifted(1.0, K, 0.1) == pytest.approx(expected, abs=1e-6)
    for G in (1.0, 10.0):
        assert end(FedAvg(), opposed(G), 900, steps=K) == pytest.approx(drifted(G, K, 0.1), abs=1e-9)


def test_the_bias_of_fedavg_is_proportional_to_a_small_step():
    bias = [end(FedAvg(), opposed(1.0), 1000, steps=10, rate=rate) for rate in (0.01, 0.005)]
    assert bias[0] / bias[1] == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize(("K", "rounds"), [(1, 132), (2, 65), (10, 16)])
@pytest.mark.parametrize("G", [1.0, 10.0, 100.0])
def test_scaffold_does_not_feel_how_much_hospitals_differ(K, rounds, G):
    """From controls that are the gradients at the first point: rounds until |w| < 1e-6."""
    one = lab(Scaffold(), opposed(G), steps=K)
    first = slopes(one.data, 1.0)
    state = one.start(initial=at(1.0))
    server = server_in(state)
    server = server._replace(control={"w": server.control["w"] + first.mean()})
    state, _ = one.advance(one.with_states(state, server, {"w": first}), rounds - 1, CAPACITY)
    before = abs(float(server_in(state).variables.params["w"]))
    state, _ = one.advance(state, 1, CAPACITY)
    assert abs(float(server_in(state).variables.params["w"])) < 1e-6 <= before


def scaffold_by_hand(data, option, rounds, K, rate, w=1.0):
    controls, c = np.zeros(len(data.size)), 0.0
    for _ in range(rounds):
        ends = []
        for k in range(len(controls)):
            y = w
            for _ in range(K):
                y -= rate * (slopes(data, y)[k] - controls[k] + c)
            ends.append(y)
        ends = np.array(ends)
        new = slopes(data, w) if option == "I" else controls - c + (w - ends) / (K * rate)
        w, c, controls = ends.mean(), c + (new - controls).mean(), new
    return w, c, controls


@pytest.mark.parametrize("option", ["I", "II"])
def test_scaffold_by_hand(option):
    data = parabolas(valley(2.0), valley(-1.0, 3.0), valley(0.5, 2.0))
    server, clients, _ = run(Scaffold(option=option), data, 4, steps=3)
    w, c, controls = scaffold_by_hand(data, option, 4, 3, 0.1)
    assert server.variables.params["w"] == pytest.approx(w, rel=1e-12)
    assert server.control["w"] == pytest.approx(c, rel=1e-12)
    assert clients["w"] == pytest.approx(controls, rel=1e-12)


@pytest.mark.parametrize("weighting", ["uniform", "samples"])
def test_the_control_of_the_server_is_the_mean_of_all(weighting):
    """In every round of cohorts of 2, with a hospital that has no rows and does not count."""
    rows = [1, 4, 2, 0]
    data = parabolas(valley(2.0), valley(-1.0, 3.0), valley(0.5), valley(9.0), rows=rows)
    one = lab(Scaffold(weighting=weighting), data, steps=3, participation=FixedCohort(2))
    weights = rows[:3] if weighting == "samples" else [1, 1, 1]
    state = one.start(initial=at(1.0))
    for _ in range(6):
        state, log = one.advance(state, 1, CAPACITY)
        assert np.asarray(log.present)[0].sum() == 2
        controls = one.clients(state)["w"]
        assert controls[3] == 0
        mean = np.average(controls[:3], weights=weights)
        assert float(server_in(state).control["w"]) == pytest.approx(mean, abs=1e-12)
    assert np.abs(controls[:3]).min() > 0


def mime_by_hand(data, rounds, K, rate, beta, correct, w=1.0):
    s, found = 0.0, []
    for _ in range(rounds):
        start, ends = slopes(data, w), []
        for k in range(len(start)):
            y = w
            for _ in range(K):
                g = slopes(data, y)[k]
                g = g - start[k] + start.mean() if correct else g
                y -= rate * ((1 - beta) * g + beta * s)
            ends.append(y)
        w, s = np.mean(ends), (1 - beta) * start.mean() + beta * s
        found.append(w)
    return found


@pytest.mark.parametrize("kind", [Mime, MimeLite])
def test_mime_by_hand(kind):
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[3, 1])
    found = path(kind(), data, 4, steps=3)
    assert found == pytest.approx(mime_by_hand(data, 4, 3, 0.1, 0.9, kind is Mime), rel=1e-12)


def test_mime_does_not_feel_how_much_hospitals_differ():
    ways = [path(Mime(), opposed(G), 10, steps=5) for G in (0.0, 1.0, 100.0)]
    np.testing.assert_allclose(ways[1], ways[0], atol=1e-12)
    np.testing.assert_allclose(ways[2], ways[0], atol=1e-10)
    assert abs(end(Mime(), opposed(10.0), 300, steps=5)) < 1e-6


def test_one_step_of_mime_with_sgd_is_centralised_descent():
    data = parabolas(valley(2.0), valley(-1.0, 3.0))
    found = path(Mime(base=IDENTITY), data, 3, steps=1)
    w, expected = 1.0, []
    for _ in range(3):
        w -= 0.1 * slopes(data, w).mean()
        expected.append(w)
    assert found == pytest.approx(expected, rel=1e-12)


UNEVEN = [valley(1.0, 1.0), valley(-2.0, 4.0)]  # the mean is lowest at -7/5


def test_feddyn_reaches_the_minimum_of_the_mean_and_fedavg_the_mean_of_the_minima():
    data = parabolas(*UNEVEN)
    assert end(FedAvg(), data, 100, steps=300) == pytest.approx(-0.5, abs=1e-9)
    server, clients, _ = run(FedDyn(alpha=1.0), data, 200, steps=300)
    assert server.variables.params["w"] == pytest.approx(-1.4, abs=1e-6)
    assert clients["w"] == pytest.approx(slopes(data, -1.4), abs=1e-5)  # h_k is the gradient there


@pytest.mark.parametrize("weight", [3.0, 10.0])
@pytest.mark.parametrize("algorithm", [Scaffold(), FedDyn(alpha=1.0)], ids=["Scaffold", "FedDyn"])
def test_equal_weights_of_any_size_change_nothing(algorithm, weight):
    data = parabolas(*UNEVEN, valley(3.0, 0.5))
    how = {"steps": 3, "participation": FixedCohort(2)}
    plain = path(algorithm, data, 6, **how)
    weighted = path(algorithm, data, 6, weights=PerHospital(np.full(3, weight)), **how)
    assert weighted == pytest.approx(plain, rel=1e-12)


def test_fedadam_with_a_schedule_of_tau():
    """v starts from the first round's tau^2, and each step is divided with its round's tau."""
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[2, 1])
    w, m, v, expected = 1.0, 0.0, 0.04, []
    for r in range(3):
        D = -0.1 * (np.array([2, 1]) / 3) @ slopes(data, w)
        m, v = 0.9 * m + 0.1 * D, 0.99 * v + 0.01 * D**2
        w += 0.3 * m / (np.sqrt(v) + 0.2 + 0.1 * r)
        expected.append(w)
    algorithm = FedAdam(learning_rate=0.3, tau=Schedule(lambda r: 0.2 + 0.1 * r))
    assert path(algorithm, data, 3, steps=1) == pytest.approx(expected, rel=1e-12)


def test_feddyn_with_part_of_the_hospitals():
    """h falls by the share of all N that took part; the minimum is still found."""
    data = parabolas(*UNEVEN, valley(3.0, 0.5))
    participation = FixedCohort(2)
    server, _, _ = run(FedDyn(alpha=1.0), data, 800, steps=300, participation=participation)
    expected = (1 - 8 + 1.5) / 5.5
    assert server.variables.params["w"] == pytest.approx(expected, abs=1e-6)
    for rounds in (1, 2, 3):
        server, clients, log = run(FedDyn(alpha=1.0), data, rounds, steps=300, participation=participation)
        assert (log.present.sum(1) == 2).all()
        assert server.h["w"] == pytest.approx(clients["w"].mean(), abs=1e-12)
        assert abs(server.h["w"]) > 0.01


STEPS, RATE = np.array([2, 7, 1]), 0.1
CENTRES = np.array([1.0, -2.0, 4.0])


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
@pytest.mark.parametrize("kind", [FedAvg, FedNova])
def test_where_unequal_steps_lead(kind, weighting):
    """FedAvg weighs centres with p_k w_k, FedNova with p_k w_k / tau_k; w_k = 1 - (1 - eta)^tau_k."""
    data = parabolas(*map(valley, CENTRES), rows=list(STEPS))
    p = STEPS if weighting == "samples" else 1
    share = p * (1 - (1 - RATE) ** STEPS) / (1 if kind is FedAvg else STEPS)
    found = end(kind(weighting=weighting), data, 400, batch_size=1, rate=RATE)
    assert found == pytest.approx(share @ CENTRES / share.sum(), abs=1e-9)


def distance(tau, eta=0.0, momentum=0.0, mu=0.0):
    """||a||_1 from the paper, with momentum or with a proximal term."""
    if mu:
        return (np.abs(1 - eta * mu) ** np.arange(tau)).sum()
    if momentum:
        return (tau - momentum * (1 - momentum**tau) / (1 - momentum)) / (1 - momentum)
    return tau


@pytest.mark.parametrize(("momentum", "mu"), [(0.9, 0.0), (0.0, 2.0), (0.0, 12.0), (0.0, 15.0)])
def test_fednova_with_momentum_or_a_proximal_term(momentum, mu):
    """One round: the norms, and the step that they make of the hospitals' ends."""
    data = parabolas(*map(valley, CENTRES), rows=list(STEPS))
    ends = []
    for k, tau in enumerate(STEPS):
        y, m = 1.0, 0.0
        for _ in range(tau):
            m = momentum * m + slopes(data, y)[k] + mu * (y - 1.0)
            y -= RATE * m
        ends.append(y)
    norm = np.array([distance(tau, RATE, momentum, mu) for tau in STEPS])
    p = STEPS / STEPS.sum()
    expected = 1.0 + (p @ norm) * (p @ ((np.array(ends) - 1.0) / norm))
    algorithm = FedNova(mu=mu)
    found = end(algorithm, data, 1, batch_size=1, rate=RATE, momentum=momentum)
    assert found == pytest.approx(expected, rel=1e-12)


WORST = [valley(1.0, 2.0), valley(-1.0, 8.0)]  # (w - 1)^2 and 4 (w + 1)^2 meet at -1/3


def test_afl_finds_the_model_that_is_best_for_the_worst():
    server, _, _ = run(AFL(gamma=0.05), parabolas(*WORST, rows=[5, 1]), 1000, rate=0.05)
    assert server.variables.params["w"] == pytest.approx(-1 / 3, abs=1e-5)
    assert sorted(server.mixture) == pytest.approx([1 / 3, 2 / 3], abs=1e-4)
    assert values(parabolas(*WORST), server.variables.params["w"]) == pytest.approx([16 / 9] * 2, abs=1e-3)


def test_afl_moves_the_weights_of_who_is_present():
    parabola = [*WORST, valley(0.0), valley(5.0)]
    data = parabolas(*parabola, rows=[1, 1, 1, 0])
    one = lab(AFL(gamma=0.05), data, rate=0.05, participation=FixedCohort(2))
    state = one.start(initial=at(1.0))
    mixture = np.array([1 / 3, 1 / 3, 1 / 3, 0])
    for _ in range(5):
        losses = values(
            parabolas(*WORST, valley(0.0), valley(5.0)), float(server_in(state).variables.params["w"])
        )
        state, log = one.advance(state, 1, CAPACITY)
        here = np.asarray(log.present)[0]
        new = server_in(state).mixture
        a, b = np.flatnonzero(here)
        # two entries of a given sum: half the difference goes from one to the other, as far as it can
        shift = np.clip(0.05 * (losses[a] - losses[b]) / 2, -mixture[a], mixture[b])
        mixture[a], mixture[b] = mixture[a] + shift, mixture[b] - shift
        assert new == pytest.approx(mixture, abs=1e-12)


def test_qfedavg_finds_the_minimum_of_its_objective():
    data, c = parabolas(*WORST), 16 ** (1 / 3)
    found = {q: end(QFedAvg(q=q), data, 1000, rate=0.05, steps=1) for q in (0.0, 1.0, 5.0)}
    assert found[0.0] == pytest.approx(-0.6, abs=1e-6)  # the mean of (w - 1)^2 and 4 (w + 1)^2
    assert found[1.0] == pytest.approx((1 - c) / (1 + c), abs=1e-6)  # of their squares
    spread = [values(data, w).std() for w in found.values()]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


def test_qfedavg_by_hand():
    data, q, L = parabolas(*WORST, rows=[3, 1]), 2.0, 1 / 0.05
    F, ends = values(data, 1.5), np.full(2, 1.5)
    for _ in range(3):
        ends = ends - 0.05 * np.array([slopes(data, ends[k])[k] for k in range(2)])
    D = L * (1.5 - ends)
    h = q * F ** (q - 1) * D**2 + L * F**q
    expected = 1.5 - (F**q * D).sum() / h.sum()
    assert end(QFedAvg(q=q), data, 1, start=1.5, rate=0.05, steps=3) == pytest.approx(expected, rel=1e-9)


def test_fedexp_by_hand():
    """The longer step, never shorter than 1, and the mean of the last two models."""
    data = parabolas(valley(2.0), valley(-1.5, 3.0), valley(0.3), rows=[3, 2, 1])
    p, w, algorithm = np.array([3, 2, 1]) / 6, 1.0, FedExP(eps=1e-3)
    one = lab(algorithm, data, steps=2)
    state, steps = one.start(initial=at(1.0)), []
    for _ in range(8):
        ends = np.full(3, w)
        for _ in range(2):
            ends = ends - 0.1 * np.array([slopes(data, ends[k])[k] for k in range(3)])
        D = ends - w
        eta = max(1, p @ D**2 / (2 * ((p @ D) ** 2 + 1e-3)))
        before, w = w, w + eta * (p @ D)
        state, _ = one.advance(state, 1, CAPACITY)
        assert float(server_in(state).variables.params["w"]) == pytest.approx(w, rel=1e-9)
        assert float(server_in(state).extrapolation) == pytest.approx(eta, rel=1e-9)
        deployed = algorithm.variables(server_in(state), ()).params["w"]
        assert float(deployed) == pytest.approx((w + before) / 2, rel=1e-9)
        steps.append(eta)
    assert min(steps) == 1 < max(steps)


MOMENTS = {
    FedAdagrad: lambda v, square: v + square,
    FedAdam: lambda v, square: 0.99 * v + 0.01 * square,
    FedYogi: lambda v, square: v - 0.01 * square * np.sign(v - square),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_adaptive_servers_by_hand(kind):
    """Two rounds, from v = tau^2 and from v = 0, without correction of any bias."""
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[2, 1])
    beta1 = 0.0 if kind is FedAdagrad else 0.9
    for initial in (None, 0.0):
        w, m, v = 1.0, 0.0, 0.04 if initial is None else initial
        expected = []
        for _ in range(2):
            D = -0.1 * (np.array([2, 1]) / 3) @ slopes(data, w)
            m, v = beta1 * m + (1 - beta1) * D, MOMENTS[kind](v, D**2)
            w += 0.3 * m / (np.sqrt(v) + 0.2)
            expected.append(w)
        algorithm = kind(learning_rate=0.3, tau=0.2, initial=initial)
        assert path(algorithm, data, 2, steps=1) == pytest.approx(expected, rel=1e-12)


def test_server_momentum_by_hand():
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[2, 1])
    w, v, expected = 1.0, 0.0, []
    for _ in range(3):
        v = 0.7 * v - 0.1 * (np.array([2, 1]) / 3) @ slopes(data, w)
        w += 0.5 * v
        expected.append(w)
    assert path(FedAvgM(beta=0.7, learning_rate=0.5), data, 3, steps=1) == pytest.approx(expected, rel=1e-12)


def test_fedprox_by_hand():
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[2, 1])
    w, expected = 1.0, []
    for _ in range(3):
        ends = np.full(2, w)
        for _ in range(4):
            own = np.array([slopes(data, ends[k])[k] for k in range(2)])
            ends = ends - 0.1 * (own + 0.7 * (ends - w))
        w = (np.array([2, 1]) / 3) @ ends
        expected.append(w)
    assert path(FedProx(mu=0.7), data, 3, steps=4) == pytest.approx(expected, rel=1e-12)


def test_adaptive_fedprox_knows_the_mean_loss_at_the_model_of_the_round():
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[2, 1])
    server, _, _ = run(AdaptiveFedProx(mu=0.7), data, 1, steps=4)
    assert server.loss == pytest.approx((np.array([2, 1]) / 3) @ values(data, 1.0), rel=1e-12)
    assert end(FedProx(mu=0.7), data, 1, steps=4) == pytest.approx(float(server.variables.params["w"]))


def test_fedcm_by_hand():
    data = parabolas(valley(2.0), valley(-1.0, 3.0), rows=[2, 1])
    w, d, expected = 1.0, 0.0, []
    for _ in range(3):
        ends = np.full(2, w)
        for _ in range(4):
            own = np.array([slopes(data, ends[k])[k] for k in range(2)])
            ends = ends - 0.1 * (0.3 * own + 0.7 * d)
        new = (np.array([2, 1]) / 3) @ ends
        w, d = new, (w - new) / (4 * 0.1)
        expected.append(w)
    assert path(FedCM(alpha=0.3), data, 3, steps=4) == pytest.approx(expected, rel=1e-12)


def test_fedsam_by_hand():
    data = parabolas(valley(2.0), valley(-1.0, 3.0))
    ends = np.ones(2)
    for _ in range(3):
        uphill = [slopes(data, y + 0.2 * np.sign(slopes(data, y)[k]))[k] for k, y in enumerate(ends)]
        ends = ends - 0.1 * np.array(uphill)
    assert end(FedSAM(rho=0.2), data, 1, steps=3) == pytest.approx(ends.mean(), rel=1e-12)


def test_fedsam_where_the_gradient_is_zero():
    server, _, log = run(FedSAM(rho=0.2), parabolas((0, 0, 1.0), (0, 0, 1.0)), 1, steps=3)
    assert server.variables.params["w"] == 1.0
    assert not log.rejected.any()
