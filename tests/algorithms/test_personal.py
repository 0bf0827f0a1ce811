"""Personalised and clustered algorithms in the cases where they are something simpler, and against loops."""

import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue import DENSE, Normalised
from federations import Lab, hospitals, recipe, same, server_in, server_of
from flax import nnx
from quadratics import at, parabolas, valley
from quadratics import lab as on_parabolas

import jaxfed
from jaxfed import InvalidInput, Simulation
from jaxfed.algorithms import (
    APFL,
    IFCA,
    MRMTL,
    ClusteredFL,
    Ditto,
    FedAvg,
    FedBN,
    FedPer,
    FedRep,
    FineTuned,
    LocalOnly,
    PerFedAvg,
    PFedMe,
)
from jaxfed.algorithms.clustered_fl import bipartition
from jaxfed.algorithms.partial import norms
from jaxfed.core.dataset import Dataset
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.optimizer import optimizer
from jaxfed.core.types import Cohort, Variables
from jaxfed.models import MLP
from jaxfed.participation import FixedCohort, Poisson

LINEAR = MLP((), outputs=1)


def run(algorithm, *, rounds=3, data=None, seed=0, **how):
    """The state after some rounds, and the lab."""
    data = data or hospitals()
    how = {"model": LINEAR, "batch_size": None, "epochs": 3, **how}
    one = Lab(recipe(data, algorithm=algorithm, **how), data)
    return one, one.advance(one.start(seed), rounds)[0]


def models(algorithm, **how):
    """What hospitals use, ``[C, ...]``."""
    one, state = run(algorithm, **how)
    return one.deployed(state)


def for_everyone(variables, count=5):
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (count, *leaf.shape)), variables)


SOME = {"participation": Poisson(0.6), "batch_size": 4, "epochs": 1}


@pytest.fixture(scope="module")
def averaged():
    return server_in(run(FedAvg(), **SOME)[1]).variables


@pytest.fixture(scope="module")
def alone():
    return models(LocalOnly(), **SOME)


def test_the_global_part_of_ditto_is_fedavg(averaged, alone):
    one, state = run(Ditto(lam=0.0), **SOME)
    same(server_in(state).variables, averaged, rtol=1e-5)
    same(one.deployed(state), alone, rtol=1e-5)


@pytest.mark.parametrize(
    "algorithm", [MRMTL(lam=0.0), FedPer(head=("head",)), APFL(alpha=1.0)], ids=["MRMTL", "FedPer", "APFL"]
)
def test_local_training(algorithm, alone):
    same(models(algorithm, **SOME), alone, rtol=1e-5)


@pytest.mark.parametrize(
    "algorithm", [IFCA(clusters=1), FedPer(head=()), ClusteredFL(clusters=1)], ids=["IFCA", "FedPer", "CFL"]
)
def test_federated_averaging(algorithm, averaged):
    same(models(algorithm, **SOME), for_everyone(averaged), rtol=1e-5)


def test_apfl_of_share_0_is_federated_averaging(averaged):
    same(models(APFL(alpha=0.0), **SOME), for_everyone(averaged), rtol=1e-5)


@pytest.mark.parametrize("algorithm", [Ditto(lam=1.5), MRMTL(lam=1.5)], ids=["Ditto", "MRMTL"])
def test_the_pull_is_towards_the_model_of_the_round(algorithm):
    """One hospital in NumPy: v <- v - eta (grad F(v) + lambda (v - x)) with x fixed through the round."""
    data, rate = hospitals((9,), task="regression"), 0.05
    client = optimizer(optax.sgd, learning_rate=rate)
    one, state = run(algorithm, data=data, client=client, rounds=2)
    x = v = flat(server_in(one.start()).variables)
    for _ in range(2):
        start, w = x, x
        for _ in range(3):
            w = w - rate * slope(w, data)
            v = v - rate * (slope(v, data) + 1.5 * (v - start))
        x = w if isinstance(algorithm, Ditto) else v
    np.testing.assert_allclose(flat(one.deployed(state), 0), v, rtol=1e-4)
    np.testing.assert_allclose(flat(server_in(state).variables), x, rtol=1e-4)


def test_mrmtl_shares_the_mean():
    one, state = run(MRMTL(lam=0.5), rounds=1)
    sizes = one.data.size / one.data.size.sum()
    mean = jax.tree.map(lambda leaf: np.tensordot(sizes, leaf, 1), one.deployed(state))
    same(mean, jax.tree.map(np.asarray, server_in(state).variables), rtol=1e-5)


def flat(variables, hospital=None):
    """Weights and intercept of the linear model, ``[4]``."""
    head = jax.tree.map(lambda leaf: np.asarray(leaf if hospital is None else leaf[hospital], np.float64),
                        variables.params["head"])  # fmt: skip
    return np.append(head["kernel"][:, 0], head["bias"])


def design(data):
    return np.hstack([data.x, np.ones((len(data.x), 1))]), data.y


def slope(w, data):
    """The gradient of the mean squared error."""
    x, y = design(data)
    return 2 * x.T @ (x @ w - y) / len(y)


def test_fedper_shares_the_body_and_keeps_the_head():
    one, state = run(FedPer(), model=DENSE)
    assert server_in(state).variables.params["head"] == {"bias": None, "kernel": None}
    assert one.clients(state).params["hidden_0"] == {"bias": None, "kernel": None}
    own = one.deployed(state).params
    assert np.ptp(own["hidden_0"]["kernel"], axis=0).max() == 0
    assert np.ptp(own["head"]["kernel"], axis=0).min() > 0


def test_fedrep_trains_the_head_and_then_the_body():
    """Each part by itself: without epochs for the other it stays as it is, whatever the optimiser does."""
    client = optimizer(optax.adamw, learning_rate=0.05, weight_decay=0.1)
    both = {"model": DENSE, "client": client, "rounds": 1}
    one, state = run(FedRep(head_epochs=2, body_epochs=0, refit=False), **both)
    before, after = one.deployed(one.start()).params, one.deployed(state).params
    same(after["hidden_0"], before["hidden_0"])
    assert np.abs(after["head"]["kernel"] - before["head"]["kernel"]).min() > 1e-3
    body = models(FedRep(head_epochs=0, body_epochs=2, refit=False), **both).params
    same(body["head"], before["head"])
    assert np.abs(body["hidden_0"]["kernel"] - before["hidden_0"]["kernel"]).min() > 1e-3


def test_fedrep_fits_heads_again_before_use():
    one, state = run(FedRep(head_epochs=3), model=DENSE, rounds=1)
    algorithm, rows = one.algorithm, one.shard()
    variables = algorithm.variables(server_in(state), jax.tree.map(lambda leaf: leaf[0], one.clients(state)))
    fitted = algorithm.adapt(one.local, variables, rows, jax.random.key(1))
    same(fitted.params["hidden_0"], variables.params["hidden_0"])
    loss = one.local.problem.full_loss
    assert loss(fitted, rows) < loss(variables, rows)


def test_fedbn_keeps_normalisation_and_shares_the_rest():
    own = models(FedBN(), model=Normalised(), batch_size=4, epochs=1, data=hospitals((9, 8, 7)))
    for name in ("body", "head"):
        assert np.ptp(own.params[name]["kernel"], axis=0).max() == 0
    assert np.ptp(own.params["norm"]["scale"], axis=0).min() > 0
    assert np.ptp(own.stats["batch_stats"]["norm"]["mean"], axis=0).min() > 0


class ManyNorms(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.LayerNorm(name="layer")(nn.Dense(4, name="dense")(x))
        x = nn.GroupNorm(2, use_bias=False, name="group")(x)
        x = nn.BatchNorm(use_running_average=not train, use_scale=False, name="batch")(x)
        return nn.Dense(1, name="head")(x)


class InNnx(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.batch = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return self.batch(self.dense(x))[:, :1]


@pytest.mark.parametrize(
    ("model", "kept"), [(ManyNorms(), {"layer", "group", "batch"}), (lambda rngs: InNnx(rngs), {"batch"})]
)
def test_normalisation_layers_are_found(model, kept):
    variables = as_model(model).init(jax.random.key(0), jnp.zeros((2, 3)))
    mask = norms(variables)
    assert {name for name, own in mask.params.items() if any(own.values())} == kept
    assert {name for name, own in mask.params.items() if all(own.values())} == kept
    assert all(jax.tree.leaves(mask.stats))


def test_apfl_against_a_loop():
    """alpha v + (1 - alpha) w, the chain factor alpha, and alpha adapted at the first step of a round."""
    data, rate, alpha_rate = hospitals((9,), task="regression"), 0.05, 0.02
    client = optimizer(optax.sgd, learning_rate=rate)
    algorithm = APFL(alpha=0.6, adaptive=True, alpha_rate=alpha_rate)
    one, state = run(algorithm, data=data, client=client, rounds=3)
    x = v = flat(server_in(one.start()).variables)
    alpha = 0.6
    for _ in range(3):
        w = x
        for t in range(3):
            gradient = slope(alpha * v + (1 - alpha) * w, data)
            change = np.dot(v - w, gradient) if t == 0 else 0.0
            w, v = w - rate * slope(w, data), v - rate * alpha * gradient
            alpha = np.clip(alpha - alpha_rate * change, 0, 1)
        x = w
    assert abs(alpha - 0.6) > 1e-3
    np.testing.assert_allclose(one.clients(state).alpha[0], alpha, rtol=1e-4)
    np.testing.assert_allclose(flat(one.clients(state).variables, 0), v, rtol=1e-4)
    np.testing.assert_allclose(flat(one.deployed(state), 0), alpha * v + (1 - alpha) * x, rtol=1e-4)


def test_apfl_with_a_schedule_of_alpha():
    """Each round trains with its alpha, and the last trained round's is deployed."""
    data, rate = hospitals((9,), task="regression"), 0.05
    client = optimizer(optax.sgd, learning_rate=rate)
    alphas = (0.6, 0.2, 0.9)
    algorithm = APFL(alpha=jaxfed.schedule(lambda r: jnp.asarray(alphas)[r]))
    sim = Simulation(data, LINEAR, algorithm, batch_size=None, epochs=3, client_optimizer=client,
                     splits=("train",), devices=1)  # fmt: skip
    run = sim.run(2, progress=False)
    x = v = flat(server_of(sim.run(0, progress=False)).variables)
    for alpha in alphas[:2]:
        w = x
        for _ in range(3):
            gradient = slope(alpha * v + (1 - alpha) * w, data)
            w, v = w - rate * slope(w, data), v - rate * alpha * gradient
        x = w
    np.testing.assert_allclose(flat(run.variables, 0), alphas[1] * v + (1 - alphas[1]) * x, rtol=1e-4)


def test_the_share_of_apfl_stays_a_share():
    one, state = run(APFL(adaptive=True, alpha_rate=1e4), rounds=3)
    alpha = one.clients(state).alpha
    assert set(alpha.tolist()) <= {0.0, 1.0}


@pytest.mark.filterwarnings("ignore:no hospital has test rows of both classes")
def test_test_rows_do_not_reach_what_is_adapted():
    """The probability of a test row is the same whichever its label is: those of both labels add up to 1."""
    data = hospitals((9, 5), test=1)
    turned = data.replace(y=np.where(data.split == 2, 1 - data.y, data.y).astype(np.int32))
    losses = []
    for rows in (data, turned):
        sim = Simulation(rows, LINEAR, FineTuned(steps=20), splits=("test",), devices=1, batch_size=None)
        losses.append(sim.run(1, progress=False).hospitals()["log_loss"].to_numpy())
    np.testing.assert_allclose(np.exp(-np.asarray(losses)).sum(0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "algorithm", [FineTuned(steps=20), FedRep(head_epochs=20)], ids=["FineTuned", "FedRep"]
)
def test_adapting_uses_the_step_size_of_the_last_trained_round(algorithm):
    """That of the next round, 0, would move nothing."""
    data = hospitals((9, 5), test=4)
    losses = []
    for later in (0.0, 0.3):
        rate = jaxfed.schedule(lambda r, later=later: jnp.where(r < 1, 0.3, later))
        client = optimizer(optax.sgd, learning_rate=rate)
        sim = Simulation(data, DENSE, algorithm, client_optimizer=client, splits=("test",), devices=1,
                         batch_size=None)  # fmt: skip
        losses.append(sim.run(1, progress=False).hospitals()["log_loss"].to_numpy())
    np.testing.assert_array_equal(*losses)


def test_per_fedavg_draws_three_batches(x64):
    """Of two rows, one at a time: all eight results there are, over seeds."""
    parabola = np.array([valley(2.0), valley(-1.0, 3.0)])
    data = parabolas(*parabola).replace(size=np.array([2]), hospitals=("both",))
    alpha, rate, w = 0.2, 0.1, 1.0
    g = lambda i, w: 2 * parabola[i, 0] * w + parabola[i, 1]  # noqa: E731
    expected = {
        round(w - rate * (1 - alpha * 2 * parabola[k, 0]) * g(j, w - alpha * g(i, w)), 6)
        for i, j, k in itertools.product(range(2), repeat=3)
    }
    one = on_parabolas(PerFedAvg(alpha=alpha), data, steps=1, rate=rate, batch_size=1)
    ends = [one.advance(one.start(seed, at(w)), 1)[0] for seed in range(60)]
    assert {round(float(server_in(state).variables.params["w"]), 6) for state in ends} == expected
    assert len(expected) == 8


def test_pfedme_against_a_loop():
    """Two hospitals with quadratic losses and equal weights; beta = 1.5."""
    data = hospitals((9, 5), task="regression")
    lam, inner, rate, personal, beta = 3.0, 4, 0.1, 0.05, 1.5
    server = optimizer(optax.sgd, learning_rate=beta)
    algorithm = PFedMe(server_optimizer=server, lam=lam, inner_steps=inner, personal_rate=personal)
    client = optimizer(optax.sgd, learning_rate=rate)
    one, state = run(algorithm, data=data, client=client, rounds=2)
    x = flat(server_in(one.start()).variables)
    parts = [data.select([name]) for name in data.hospitals]
    for _ in range(2):
        local, own = [], []
        for part in parts:
            w = theta = x
            for _ in range(3):
                for _ in range(inner):
                    theta = theta - personal * (slope(theta, part) + lam * (theta - w))
                w = w - rate * lam * (w - theta)
            local.append(w)
            own.append(theta)
        x = (1 - beta) * x + beta * np.mean(local, axis=0)
    np.testing.assert_allclose(flat(server_in(state).variables), x, rtol=1e-4)
    for c in range(2):
        np.testing.assert_allclose(flat(one.deployed(state), c), own[c], rtol=1e-4)


@pytest.mark.parametrize("first_order", [False, True])
def test_per_fedavg_descends_the_meta_objective(first_order, x64):
    """One full-batch step of one hospital, against differences of F(w - alpha grad F(w)), or by hand."""
    data, alpha = hospitals((9,), seed=3), 0.7
    client = optimizer(optax.sgd, learning_rate=1.0)
    how = {"data": data, "client": client, "epochs": 1, "model": MLP((2,), 1, activation=nn.tanh), "l2": 0.1}
    one, state = run(PerFedAvg(alpha=alpha, first_order=first_order), rounds=1, **how)
    before = server_in(one.start()).variables
    problem, rows = one.local.problem, one.shard()
    step = jax.tree.map(jnp.subtract, before.params, server_in(state).variables.params)

    def gradient(params):
        return problem.full_gradient(Variables(params, {}), rows, jax.random.key(0)).params

    def adapted(params):
        return jax.tree.map(lambda w, g: w - alpha * g, params, gradient(params))

    if first_order:
        same(step, gradient(adapted(before.params)), rtol=1e-8)
        return
    values, structure = jax.flatten_util.ravel_pytree(before.params)
    meta = jax.jit(lambda flat: problem.full_loss(Variables(adapted(structure(flat)), {}), rows))
    eps = 1e-5 * np.eye(len(values))
    slopes = [(meta(values + e) - meta(values - e)) / 2e-5 for e in eps]
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(step)[0], slopes, rtol=1e-6, atol=1e-9)
    rows_of_all = one.algorithm.adapt(one.local, before, rows, jax.random.key(0))
    same(rows_of_all.params, adapted(before.params), rtol=1e-8)


def planted(kinds, n=40, seed=0):
    """Regressions: hospital c has the weights of its kind."""
    rng = np.random.default_rng(seed)
    weights = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 3, 0]])[list(kinds)]
    x = rng.normal(size=(len(kinds) * n, 3))
    y = np.einsum("nd,nd->n", x, np.repeat(weights, n, 0)) + 0.1 * rng.normal(size=len(x))
    names = tuple(f"hospital {c}" for c in range(len(kinds)))
    return Dataset(x=x, y=y, size=np.full(len(kinds), n), split=np.zeros(len(x), np.int8),
                   hospitals=names, task="regression"), weights  # fmt: skip


KINDS = (0, 1, 2, 0, 1, 2, 0, 0)


def grouped(labels):
    """A partition without names."""
    return {frozenset(np.flatnonzero(np.asarray(labels) == label).tolist()) for label in set(labels)}


CLUSTERING = {"client": optimizer(optax.sgd, learning_rate=0.1), "epochs": 3}


def test_ifca_finds_planted_clusters():
    """From one of several starts; from others two kinds share a model, as the paper warns."""
    data, weights = planted(KINDS)

    def attempt(seed):
        one, state = run(IFCA(clusters=3, spread=2.0), data=data, rounds=20, seed=seed, **CLUSTERING)
        kernels = one.deployed(state).params["head"]["kernel"][..., 0]
        return np.abs(kernels - weights).max(), one.clients(state).tolist()

    distance, clusters = min(map(attempt, range(5)))
    assert grouped(clusters) == grouped(KINDS)
    assert distance < 0.1


def test_an_ifca_cluster_of_nobody_keeps_its_model():
    data, _ = planted((0, 0))
    one, state = run(IFCA(clusters=3, spread=2.0), data=data, rounds=3, **CLUSTERING)
    before, chosen = server_in(one.start()), set(np.asarray(one.clients(state)).tolist())
    assert chosen < {0, 1, 2}
    for cluster in range(3):
        kernels = (np.asarray(tree.params["head"]["kernel"])[cluster] for tree in (before, server_in(state)))
        assert np.array_equal(*kernels) == (cluster not in chosen)


SPLITTING = ClusteredFL(clusters=4, eps1=0.1, eps2=0.3)


def test_clustered_fl_finds_planted_clusters():
    data, weights = planted(KINDS)
    one, state = run(SPLITTING, data=data, rounds=40, **CLUSTERING)
    assert int(server_in(state).used) == 3
    member = server_in(state).member.tolist()
    assert grouped(member) == grouped(KINDS)
    np.testing.assert_allclose(one.deployed(state).params["head"]["kernel"][..., 0], weights, atol=0.1)


def test_clustered_fl_waits_for_everyone_and_for_convergence():
    data, _ = planted(KINDS)
    _, state = run(SPLITTING, data=data, rounds=40, participation=FixedCohort(7), **CLUSTERING)
    assert int(server_in(state).used) == 1
    same, _ = planted((0,) * 8)
    _, state = run(SPLITTING, data=same, rounds=40, **CLUSTERING)
    assert int(server_in(state).used) == 1


def test_a_split_cluster_starts_from_its_parent():
    """Three hospitals pull one way and two the other; the larger part keeps the number."""
    algorithm = ClusteredFL(clusters=3, eps1=1.0, eps2=0.5, weighting="uniform")
    pulls = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, 9.0])  # the last place is empty
    server, _ = algorithm.init(Variables({"w": jnp.zeros(1)}, {}), jax.random.key(0), 6)
    server = server._replace(models=jax.tree.map(lambda leaf: leaf.at[0].set(5.0), server.models))
    here = jnp.array([1.0, 1, 1, 1, 1, 0])
    each = Variables({"w": pulls[:, None]}, {})
    cohort = Cohort(jnp.int32(3), jnp.int32(5), jnp.int32(5), here, here, here * 10, (), each)
    after = algorithm.server_update(server, (), cohort)
    assert after.member.tolist()[:5] == [0, 1, 0, 1, 0]
    assert int(after.used) == 2
    np.testing.assert_allclose(after.models.params["w"][:2, 0], [6, 4])
    again = algorithm.server_update(after, (), cohort)
    assert again.member.tolist() == after.member.tolist()
    np.testing.assert_allclose(again.models.params["w"][:2, 0], [7, 3])
    full = dataclasses.replace(algorithm, clusters=1)
    one, _ = full.init(Variables({"w": jnp.zeros(1)}, {}), jax.random.key(0), 6)
    assert int(full.server_update(one, (), cohort).used) == 1


@pytest.mark.parametrize("seed", range(5))
def test_bipartition_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    square = rng.uniform(-1, 1, (8, 8))
    similarity = (square + square.T) / 2
    inside = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    nodes = np.flatnonzero(inside)

    def across(part):
        rest = [n for n in nodes if n not in part]
        return similarity[np.ix_(part, rest)].max()

    cuts = [list(c) for k in range(1, len(nodes)) for c in itertools.combinations(nodes, k)]
    part = np.flatnonzero(bipartition(jnp.asarray(similarity, jnp.float32), jnp.asarray(inside)))
    assert set(part) <= set(nodes)
    assert across(list(part)) == pytest.approx(min(map(across, cuts)))


def test_fine_tuning_is_local_training():
    data = hospitals((9, 5), test=4)
    one, state = run(FineTuned(epochs=2), data=data, batch_size=4)
    variables, rows, key = server_in(state).variables, one.shard(), jax.random.key(7)
    local = dataclasses.replace(one.local, epochs=2)
    expected = local.train(variables, rows, key).variables
    same(one.algorithm.adapt(one.local, variables, rows, key), expected)
    own = FineTuned(steps=5, optimizer=optimizer(optax.sgd, learning_rate=0.01))
    local = dataclasses.replace(local, epochs=None, steps=5, optimizer=own.optimizer)
    same(own.adapt(one.local, variables, rows, key), local.train(variables, rows, key).variables)


def test_models_are_adapted_where_they_are_evaluated():
    """The global model is FedAvg's; fine-tuned, its training rows are predicted better."""
    how = {"batch_size": 4, "splits": ("train",), "model": LINEAR, "devices": 1}
    data = hospitals((9, 5))
    sims = [Simulation(data, algorithm=a, **how) for a in (FedAvg(), FineTuned(steps=0), FineTuned(steps=50))]
    runs = [sim.run(2, progress=False) for sim in sims]
    plain, none, tuned = (run.to_frame()["log_loss_pooled"].to_numpy() for run in runs)
    np.testing.assert_allclose(none, plain, rtol=1e-5)
    assert (tuned < plain).all()
    same(runs[1].variables, for_everyone(runs[0].variables, 2), rtol=1e-6)


def test_resumed_runs_are_bitwise_the_same():
    data = hospitals((9, 5), test=4)
    for algorithm in (PerFedAvg(), ClusteredFL(eps1=5.0, eps2=0.0)):
        sim = Simulation(data, LINEAR, algorithm, batch_size=4, splits=("test",), devices=1)
        whole = sim.run(4, progress=False)
        part = sim.run(1, progress=False)
        resumed = sim.run(3, progress=False, resume=part)
        same(resumed.state, whole.state)
        same(resumed.variables, whole.variables)
        np.testing.assert_array_equal(resumed.to_frame()["log_loss"], whole.to_frame()["log_loss"])


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (Ditto(lam=-1.0), "Ditto: lam=-1.0: give a number >= 0"),
        (MRMTL(lam=float("nan")), "MRMTL: lam=nan: give a number"),
        (FedPer(head="classifier"), "no part 'classifier'; give some of head, hidden_0"),
        (FedRep(head=("haed",)), "no part 'haed'; give some of head, hidden_0"),
        (FedRep(head=()), "name the last layers"),
        (FedRep(head=("head", "hidden_0")), "this is the whole model"),
        (FedRep(head_epochs=0), "head_epochs=0: give a whole number >= 1"),
        (FedBN(), "no normalisation layer; add one such as flax.linen.BatchNorm, or use FedAvg"),
        (APFL(adaptive=True, alpha=jaxfed.schedule(float)), "with adaptive=True hospitals change alpha"),
        (APFL(alpha=1.5), "alpha=1.5: give a number >= 0 and <= 1"),
        (APFL(alpha=jaxfed.per_hospital([0.1, 0.2])), "give one number for all hospitals"),
        (PFedMe(inner_steps=0), "inner_steps=0: give a whole number >= 1"),
        (PFedMe(personal_rate=-0.1), "personal_rate=-0.1: give a number >= 0"),
        (PerFedAvg(alpha=-1.0), "alpha=-1.0: give a number >= 0"),
        (IFCA(clusters=0), "clusters=0: give a whole number >= 1"),
        (IFCA(spread=0.0), "all models would be the same"),
        (ClusteredFL(eps1=-1.0), "eps1=-1.0: give a number >= 0"),
        (FineTuned(epochs=1, steps=2), "epochs=1 and steps=2: give one of them"),
        (FineTuned(epochs=1.5), "epochs=1.5: give a whole number >= 0"),
    ],
)
def test_misuse(algorithm, message):
    with pytest.raises(InvalidInput) as error:
        Simulation(hospitals((9, 5)), MLP((3,)), algorithm, splits=("train",))
    assert message in str(error.value)
