"""Global algorithms where they are something simpler, and when they are misused."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same, server_in
from oracles import mean_gradient

from jaxfed.algorithms import (
    AFL,
    MOON,
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
from jaxfed.algorithms.afl import project
from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.core.optimizer import optimizer
from jaxfed.core.types import Cohort, Variables
from jaxfed.models import MLP
from jaxfed.participation import FixedCohort, Poisson

IDENTITY = optimizer(optax.identity)
SMALL = MLP((3,), outputs=1, activation=nn.tanh)

ALL = [
    AFL(), MOON(), AdaptiveFedProx(), FedAdagrad(), FedAdam(), FedAvgM(), FedCM(), FedDyn(), FedExP(),
    FedNova(), FedProx(), FedSAM(), FedYogi(), Mime(), MimeLite(), QFedAvg(), Scaffold(),
    Scaffold(option="I"),
]  # fmt: skip

# Each is FedAvg, with the weights of the second column.
REDUCTIONS = {
    "FedProx, mu = 0": (FedProx(mu=0.0), "samples"),
    "FedAvgM, beta = 0": (FedAvgM(beta=0.0), "samples"),
    "FedNova, equal steps": (FedNova(), "samples"),
    "FedSAM, rho = 0": (FedSAM(rho=0.0), "samples"),
    "FedCM, alpha = 1": (FedCM(alpha=1.0), "samples"),
    "MOON, mu = 0": (MOON(mu=0.0), "samples"),
    "q-FedAvg, q = 0": (QFedAvg(q=0.0), "uniform"),
    "MimeLite with sgd": (MimeLite(base=IDENTITY), "uniform"),
    "FedExP, a large eps": (FedExP(eps=1e9), "samples"),
}


def lab(algorithm, data=None, rate=0.6, **layout):
    data = data or hospitals()
    participation = Poisson(jnp.float32(rate))
    how = recipe(data, algorithm=algorithm, model=SMALL, steps=3, participation=participation)
    return Lab(how, data, **layout)


@pytest.fixture(scope="module")
def fedavg():
    """Models and losses of FedAvg, by weighting."""
    return {name: lab(FedAvg(weighting=name)).rounds(3) for name in ("samples", "uniform")}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_to_fedavg(fedavg, name):
    """With mini-batches and part of the hospitals; two of them side by side, FedAvg's one after another."""
    algorithm, weighting = REDUCTIONS[name]
    server, _, log = lab(algorithm, block=2).rounds(3)
    expected, _, seen = fedavg[weighting]
    assert 0 < log.present.sum() < log.present.size
    same(server.variables, expected.variables, rtol=1e-4)
    if not name.startswith("MOON"):  # where the loss has a constant more
        same(log, seen, rtol=1e-4)


def test_what_starts_as_fedavg(fedavg):
    """SCAFFOLD's controls and MOON's last models say nothing in the first round, and something later."""
    for algorithm, weighting in ((Scaffold(), "uniform"), (MOON(mu=5.0), "samples")):
        one = lab(algorithm, rate=1.0)
        first, second = one.rounds(1)[0].variables, one.rounds(2)[0].variables
        reference = lab(FedAvg(weighting=weighting), rate=1.0)
        same(first, reference.rounds(1)[0].variables, rtol=1e-4)
        with pytest.raises(AssertionError):
            same(second, reference.rounds(2)[0].variables, rtol=1e-2, atol=1e-3)


def test_identical_hospitals():
    """Nothing is corrected and nothing extrapolated."""
    one = hospitals((6,))
    three = one.replace(
        x=np.tile(one.x, (3, 1)),
        y=np.tile(one.y, 3),
        split=np.tile(one.split, 3),
        size=np.full(3, 6),
        hospitals=("a", "b", "c"),
    )

    def trained(algorithm):
        return Lab(recipe(three, algorithm=algorithm, model=SMALL, batch_size=None, epochs=2), three).rounds(
            3
        )[0]

    expected = trained(FedAvg()).variables
    same(trained(Scaffold()).variables, expected, rtol=1e-4)
    extrapolated = trained(FedExP())
    assert extrapolated.extrapolation == 1
    same(extrapolated.variables, expected, rtol=1e-4)


def test_moon_pulls_features_to_the_global_model_and_away_from_the_last():
    """The step of a second round, from the loss of the paper as it is printed."""
    data, mu, tau, rate = hospitals((6,)), 3.0, 0.5, 0.2
    how = recipe(data, algorithm=MOON(mu=mu, tau=tau), model=SMALL, batch_size=None, steps=2)
    one = Lab(how, data)
    last = server_in(one.start(1)).variables
    state = one.start(0)
    glob = jax.tree.map(jnp.copy, server_in(state).variables.params)
    state = one.with_states(state, server_in(state), jax.tree.map(lambda leaf: leaf[None], last))
    kept = jax.tree.map(jnp.copy, last.params)
    state, log = one.advance(state, 1)
    x, y = jnp.asarray(data.x, jnp.float32), jnp.asarray(data.y)

    def z(params):
        return jnp.tanh(x @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"])

    def cosine(a, b):
        return (a * b).sum(1) / jnp.linalg.norm(a, axis=1) / jnp.linalg.norm(b, axis=1)

    def loss(params):
        logits = (z(params) @ params["head"]["kernel"] + params["head"]["bias"])[:, 0]
        towards = jnp.exp(cosine(z(params), z(glob)) / tau)
        away = jnp.exp(cosine(z(params), z(kept)) / tau)
        contrast = -jnp.log(towards / (towards + away))
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, y) + mu * contrast)

    params, seen = glob, []
    for _ in range(2):
        seen.append(loss(params))
        params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))
    same(server_in(state).variables.params, params, rtol=1e-4, atol=1e-5)
    same(jax.tree.map(lambda leaf: leaf[0], one.clients(state)).params, params, rtol=1e-4, atol=1e-5)
    assert np.asarray(log.clients["loss"])[0, 0] == pytest.approx(np.mean(seen), rel=1e-4)


def cohort(present=3, hospitals=3, **more):
    empty = jnp.zeros(3)
    fields = {"weights": empty, "everyone": empty, "sizes": empty, "aux": (), "each": (), **more}
    return Cohort(jnp.int32(0), jnp.int32(present), jnp.int32(hospitals), **fields)


def test_a_hospital_that_is_late_contrasts_with_the_initial_model():
    """As in the authors' code: MOON's memory of who never took part is the model before any round."""
    data = hospitals((6, 5))
    one = Lab(recipe(data, algorithm=MOON(), model=SMALL, participation=FixedCohort(1)), data)
    state = one.start()
    before = server_in(state).variables
    state, log = one.advance(state, 1)
    (late,) = np.flatnonzero(~np.asarray(log.present)[0])
    same(jax.tree.map(lambda leaf: leaf[late], one.clients(state)), before)


LOGISTIC = {"head": {"kernel": np.linspace(-0.5, 0.5, 3)[:, None], "bias": np.array([0.3])}}


def one_step(algorithm):
    """Parameters after a full-batch step of 0.2, the gradient of each hospital, losses and shares."""
    data, start = hospitals(), LOGISTIC
    data = data.replace(y=np.isin(data.owner, (2, 4)).astype(np.int32))  # they pull in opposite directions
    how = recipe(data, algorithm=algorithm, model=MLP((), outputs=1), batch_size=None, steps=1)
    initial = Variables(jax.tree.map(jnp.asarray, start), {})
    after = Lab(how, data).rounds(1, initial=initial)[0].variables.params
    rows = [data.rows(name)[:2] for name in data.hospitals]
    found = [mean_gradient(start, np.asarray(x, float), y) for x, y in rows]
    return after, flat_tree(start), [loss for loss, _ in found], [flat_tree(g) for _, g in found], rows


def flat_tree(params):
    return np.append(params["head"]["kernel"], params["head"]["bias"])


def test_norms_are_over_all_arrays(x64):
    """FedExP, q-FedAvg and FedSAM with a weight array and an intercept, in NumPy."""
    after, w, losses, grads, rows = one_step(FedExP(eps=1e-9))
    p = np.array([len(y) for _, y in rows]) / sum(len(y) for _, y in rows)
    D = -0.2 * np.array(grads)
    eta = p @ np.square(D).sum(1) / (2 * (np.square(p @ D).sum() + 1e-9))
    assert eta > 1
    np.testing.assert_allclose(flat_tree(after), w + eta * (p @ D), rtol=1e-6)
    after, *_ = one_step(QFedAvg(q=1.5))
    F, L = np.array(losses), 1 / 0.2
    h = 1.5 * F**0.5 * np.square(L * D).sum(1) + L * F**1.5
    np.testing.assert_allclose(flat_tree(after), w + (F**1.5 @ (L * D)) / h.sum(), rtol=1e-6)
    after, *_ = one_step(FedSAM(rho=0.4))
    uphill = [w + 0.4 * g / np.linalg.norm(g) for g in grads]
    grads = [
        flat_tree(mean_gradient({"head": {"kernel": v[:3, None], "bias": v[3:]}}, np.asarray(x, float), y)[1])
        for v, (x, y) in zip(uphill, rows, strict=True)
    ]
    np.testing.assert_allclose(flat_tree(after), w - 0.2 * (p @ np.array(grads)), rtol=1e-6)


@pytest.mark.parametrize("algorithm", [FedAvgM(), FedAdam()], ids=["momentum", "Adam"])
def test_a_round_without_a_usable_upload_moves_nothing(algorithm):
    """Everyone is present and everything rejected: the server's momentum does not go on by itself."""
    one = lab(algorithm, rate=1.0)
    state, _ = one.advance(one.start(), 1)
    before = jax.tree.map(np.asarray, server_in(state))
    data = one.data.replace(x=np.full_like(one.data.x, np.nan))
    state, log = one.replace(data=data).advance(state, 1)
    assert np.asarray(log.present)[0].all()
    assert np.asarray(log.rejected)[0].all()
    same(server_in(state), before)


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(1, name="head")(nn.Dropout(0.5, deterministic=not train)(x))


def test_dropout_differs_between_the_chunks_of_a_whole_batch():
    """Of equal rows the second 128 would give the gradient of the first."""
    data = hospitals((256,)).replace(x=np.ones((256, 3)), y=np.zeros(256, np.int32))
    one = Lab(recipe(data, model=Dropped(), batch_size=None), data)
    whole, key = one.shard(), jax.random.key(0)
    variables = server_in(one.start()).variables
    half = dataclasses.replace(whole, size=jnp.int32(one.local.problem.chunk))
    first, both = (
        one.local.problem.full_gradient(variables, rows, key).params["head"]["kernel"]
        for rows in (half, whole)
    )
    assert np.abs(first - both).max() > 1e-3


def test_mu_follows_the_loss():
    """Up by 0.1 when it rises, down after five falls in a row, never below 0; the first loss says nothing."""
    algorithm, zero = AdaptiveFedProx(mu=0.15), Variables({"w": jnp.zeros(2)}, {})
    server, _ = algorithm.init(zero, jax.random.key(0), 3)
    losses = [5, 6, 5.9, 5.8, 5.7, 5.6, 5.7, 5, 4, 3, 2, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]
    found = []
    for loss in losses:
        server = algorithm.server_update(server, zero, cohort(aux=jnp.float32(loss)))
        found.append(round(float(server.mu), 4))
    up, down = [0.15, *[0.25] * 5], [*[0.35] * 5, *[0.25] * 6]
    assert found == [*up, *down, *[0.15] * 5, 0.05]


def test_the_simplex():
    """The nearest point, found by trying; entries outside stay 0."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        v, members = rng.normal(size=4), np.array([True, True, False, True])
        found = np.asarray(project(jnp.asarray(v), jnp.asarray(members), jnp.asarray(0.7)))
        assert found.sum() == pytest.approx(0.7, abs=1e-5)
        assert (found >= 0).all()
        assert found[2] == 0
        tried = rng.dirichlet([0.5] * 3, size=4000) * 0.7
        nearest = np.square(tried - v[members]).sum(1).min()
        assert np.square(found - v)[members].sum() <= nearest + 1e-6


def said(algorithm, client=None, model=SMALL):
    data = hospitals()
    local = recipe(data, algorithm=algorithm, model=model, client=client).locals[0]
    shapes = jax.eval_shape(local.problem.init, jax.random.key(0), data.x[:1])
    return algorithm.problems(local, shapes)


MOMENTUM = optimizer(optax.sgd, learning_rate=0.1, momentum=0.9)
NESTEROV = optimizer(optax.sgd, learning_rate=0.1, momentum=0.9, nesterov=True)
ADAM = optimizer(optax.adam, learning_rate=0.1)
BUILT_IN = optimizer(optax.sgd, learning_rate=optax.constant_schedule(0.1))
STILL = optimizer(optax.sgd, learning_rate=0.1, momentum=0.0)


def test_what_works_is_not_refused():
    for algorithm in ALL:
        assert said(algorithm) == []
        scheduled = Schedule(optax.constant_schedule(0.1))
        for client in (optimizer(optax.sgd, learning_rate=scheduled), STILL):
            assert said(algorithm, client) == []
    for algorithm in (Scaffold(option="I"), FedProx(), FedDyn(), AFL(), FedExP(), MOON(), FedSAM()):
        assert said(algorithm, ADAM) == []
    assert said(FedNova(), MOMENTUM) == []


@pytest.mark.parametrize(
    "algorithm", [Scaffold(), FedNova(), FedCM(), QFedAvg(), Mime(), MimeLite()], ids=repr
)
def test_optimisers_that_hide_the_gradients(algorithm):
    for client in (ADAM, NESTEROV, BUILT_IN) + (() if isinstance(algorithm, FedNova) else (MOMENTUM,)):
        (message,) = said(algorithm, client)
        assert repr(client) in message
        assert "optimizer(optax.sgd, learning_rate=" in message


@pytest.mark.parametrize(
    ("algorithm", "names"),
    [
        (FedAvgM(beta=-0.1, learning_rate=0.0), ["beta=-0.1", "learning_rate=0.0"]),
        (FedAdam(tau=0.0, beta2=1.5, initial=-1.0), ["tau=0.0", "beta2=1.5", "initial=-1.0"]),
        (FedAdagrad(beta1=PerHospital(np.ones(5))), ["beta1"]),
        (FedProx(mu=-1.0), ["mu=-1.0"]),
        (AdaptiveFedProx(patience=0, mu=PerHospital(np.ones(5))), ["patience=0", "mu"]),
        (Scaffold(option="III"), ["option='III'"]),
        (FedDyn(alpha=0.0, weighting="samples"), ["alpha=0.0", "weighting='samples'"]),
        (FedDyn(alpha=PerHospital(np.ones(5))), ["alpha"]),
        (FedExP(eps=0.0), ["eps=0.0"]),
        (FedCM(alpha=0.0), ["alpha=0.0"]),
        (FedSAM(rho=-0.1), ["rho=-0.1"]),
        (QFedAvg(q=-1.0, weighting="samples"), ["q=-1.0", "weighting='samples'"]),
        (AFL(gamma=-1.0), ["gamma=-1.0"]),
        (MOON(mu=-1.0, tau=0.0), ["mu=-1.0", "tau=0.0"]),
    ],
    ids=repr,
)
def test_numbers_that_make_no_sense(algorithm, names):
    messages = said(algorithm)
    assert len(messages) == len(names)
    for name in names:
        assert any(name in message and "give" in message for message in messages)


class Bare(nn.Module):
    features: int = 1  # a size, as in flax's own Dense, and no method

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.features)(x)


def test_moon_needs_features():
    (message,) = said(MOON(), model=Bare())
    assert "features(x)" in message
    assert said(MOON(), model=MLP((3,), outputs=1)) == []
