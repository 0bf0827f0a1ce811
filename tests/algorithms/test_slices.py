"""HeteroFL, FedRolex and FjORD: what a slice does and what it does not touch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import Normalised
from federations import Lab, hospitals, recipe, same, server_in
from oracles import batches, client_keys, combine, in_numpy, local_sgd
from test_axes import LayerNorm

import jaxfed
from jaxfed.algorithms import FedAvg, FedRolex, FjORD, HeteroFL
from jaxfed.algorithms.fjord import Ordered
from jaxfed.algorithms.heterofl import labels_of
from jaxfed.algorithms.submodel.slices import Held, aggregate, decode, encode, held_units
from jaxfed.core.dataset import TRAIN
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.problem import Batch
from jaxfed.core.types import Shard, Upload, Variables
from jaxfed.models import MLP, logistic, mlp
from jaxfed.spec.costs import costs_by_hospital

D = 4  # hidden units
RATES = (1.0, 0.5, 0.25, 0.5, 0.25)


def lab(algorithm, task="binary", model=None, rates=None, **settings):
    """Five hospitals; ``rates`` are per hospital."""
    data = hospitals(task=task)
    if rates is not None:
        algorithm = dataclasses.replace(algorithm, rate=PerHospital(np.float32(rates)))
    return Lab(recipe(data, algorithm=algorithm, model=model, epochs=3, batch_size=None, **settings), data)


def units(leaf, d=D):
    """Which axis of an array of the MLP is the hidden one."""
    return leaf.shape.index(d)


@pytest.mark.parametrize(
    "algorithm",
    [
        HeteroFL(rate=1.0, masked_loss=False),
        FedRolex(rate=1.0, masked_loss=False),
        FjORD(rate=1.0, widths=(1.0,), weighting="uniform", distil=True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whole_slices_are_uniform_fedavg(algorithm):
    found, expected = (
        lab(one, "multiclass").rounds(3)[0].variables for one in (algorithm, FedAvg(weighting="uniform"))
    )
    same(found, expected, rtol=1e-5)


def test_the_mean_of_three_hospitals_by_hand():
    """Four coordinates; the first is everybody's, the last nobody's."""
    masks = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], np.float32)
    updates = np.array([[1.0, 2, 3, 9], [3, 6, 9, 9], [8, 9, 9, 9]], np.float32)
    for weights, expected in (((1, 1, 1), (4, 4, 3, 0)), ((1, 3, 4), (5.25, 5, 3, 0))):
        rule = jaxfed.aggregators.WeightedMean()
        sent = [encode(Variables(u, {}), Variables(m, {})) for u, m in zip(updates, masks, strict=True)]
        total = jax.tree.map(lambda *leaves: sum(w * u for w, u in zip(weights, leaves, strict=True)), *sent)  # noqa: B023
        mean, _, _ = rule.lower(Upload(*total), jnp.float32(sum(weights)), (), jax.random.key(0))
        np.testing.assert_allclose(aggregate(Held(*mean[:2])).params, expected, rtol=1e-6)


def narrow(params, count):
    """The first units of the hidden layer, as arrays of their own."""
    return {name: {leaf: value.take(range(count), units(value)) if D in value.shape else value
                   for leaf, value in layer.items()} for name, layer in params.items()}  # fmt: skip


def test_rounds_are_those_of_small_models():
    """In NumPy, with models that are small: W trains as V = W / r, where a step of W is r^-2 steps of V."""
    one = lab(HeteroFL(), rates=RATES)
    params = in_numpy(server_in(one.start()).variables.params)
    found, _, log = one.rounds(2)
    for r in range(2):
        total, count = (combine(np.zeros_like, params) for _ in range(2))
        keys = client_keys(0, r, one.data.hospitals)
        for name, key, rate in zip(one.data.hospitals, keys, RATES, strict=True):
            x, y, _ = one.data.rows(name)
            k = int(np.ceil(rate * D))
            factor = {"head": {"kernel": 1, "bias": 1}} | {
                "hidden_0": dict.fromkeys(("kernel", "bias"), 1 / rate)
            }
            small = combine(lambda p, f: p * f, narrow(params, k), factor)
            slower = lambda grads, p, rows: combine(lambda g, f: g * f * f, grads, factor)  # noqa: B023, E731
            rows = batches(key, len(y), None, 3)
            small, loss = local_sgd(small, x.astype(np.float64), y, rows, 0.2, correct=slower)
            np.testing.assert_allclose(
                log.clients["loss"][r, one.data.hospitals.index(name)], loss, rtol=1e-4
            )
            small = combine(lambda p, f: p / f, small, factor)
            for layer, own in small.items():
                for leaf, value in own.items():
                    into = tuple(slice(n) for n in value.shape)
                    total[layer][leaf][into] += value
                    count[layer][leaf][into] += 1
        params = combine(lambda p, t, c: np.where(c > 0, t / np.maximum(c, 1), p), params, total, count)
    same(found.variables.params, params, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "model"),
    [(HeteroFL(rate=0.5), Normalised()), (FedRolex(rate=0.5), None), (FjORD(rate=0.5), Normalised())],
    ids=["HeteroFL", "FedRolex", "FjORD"],
)
def test_what_lies_outside_of_the_slice(algorithm, model):
    """It keeps its value bit for bit where nobody holds it, and nobody's result depends on it."""
    one = lab(algorithm, model=model)
    start = server_in(one.start()).variables
    mask = one.algorithm.mask(start)
    moved = jax.tree.map(lambda leaf, m: jnp.where(m > 0, leaf, leaf + 7), start, mask)
    after, _, log = one.rounds(1, initial=start)
    other, _, log_of_other = one.rounds(1, initial=moved)
    outside = jax.tree.map(lambda m: 1 - m, mask)
    same(decode(after.variables, outside), decode(start, outside))
    same(decode(other.variables, outside), decode(moved, outside))
    same(decode(other.variables, mask), decode(after.variables, mask))
    same(log.clients, log_of_other.clients)
    deployed, of_other = (one.algorithm.variables(s, None) for s in (after, other))
    same(deployed, of_other)
    inside = jax.tree.leaves(decode(after.variables, mask).params)
    assert all(
        (a != b).any() for a, b in zip(inside, jax.tree.leaves(decode(start, mask).params), strict=True)
    )


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.25])
def test_encode_then_decode_is_the_identity_of_one_hospital(rate):
    one = lab(HeteroFL(rate=rate))
    server, own = (server_in(one.start(seed)).variables for seed in (0, 1))
    mask = one.algorithm.mask(server)
    trained = decode(own, mask)
    change = jax.tree.map(jnp.subtract, trained, decode(server, mask))
    served = jax.tree.map(jnp.add, server, aggregate(encode(change, mask)))
    same(decode(served, mask), trained, rtol=1e-6)
    same(aggregate(encode(trained, mask)), trained)


def test_what_is_deployed_is_the_small_model_as_it_was_trained():
    """Its hidden layer is divided by the rate, so that it predicts what NumPy's small model does."""
    one = lab(HeteroFL(rate=0.5))
    state, _ = one.advance(one.start(), 1)
    whole, x = in_numpy(server_in(state).variables.params), one.data.x.astype(np.float32)
    small = narrow(whole, 2)
    hidden = np.tanh((x @ small["hidden_0"]["kernel"] + small["hidden_0"]["bias"]) / 0.5)
    expected = hidden @ small["head"]["kernel"] + small["head"]["bias"]
    own = jax.tree.map(lambda leaf: leaf[0], one.deployed(state))
    np.testing.assert_allclose(one.local.problem.predict(own, x), expected, rtol=1e-4, atol=1e-5)


def test_fedrolex_holds_everything_in_a_turn():
    one = lab(FedRolex(rate=0.25))
    state = one.start()
    first = jax.tree.map(np.array, server_in(state).variables.params)
    for r in range(D):
        kernel = np.array(server_in(state).variables.params["hidden_0"]["kernel"])
        state, _ = one.advance(state, 1)
        new = np.asarray(server_in(state).variables.params["hidden_0"]["kernel"])
        assert np.flatnonzero((new != kernel).any(0)).tolist() == [r]  # one of four units, in turn
        deployed = one.algorithm.variables(server_in(state), None)
        assert np.flatnonzero(np.asarray(deployed.params["head"]["kernel"])[:, 0]).tolist() == [r]
    last = server_in(state).variables.params
    assert all((a != b).all() for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last), strict=True))


def test_the_pairs_of_units_that_a_turn_of_fedrolex_holds():
    """As documented: units of equally wide layers that are a window or more apart are never held together."""
    one = lab(FedRolex(rate=0.5), model=MLP((4, 4, 6), outputs=1))
    variables = server_in(one.start()).variables
    turn = [one.algorithm.mask(variables, t).params for t in range(12)]
    ever = jax.tree.map(lambda *masks: np.max(masks, 0), *turn)
    apart = np.abs(np.arange(4)[:, None] - np.arange(4))
    np.testing.assert_array_equal(ever["hidden_1"]["kernel"], np.minimum(apart, 4 - apart) < 2)
    assert ever["hidden_2"]["kernel"].all()
    assert all(ever[name]["kernel"].all() for name in ("hidden_0", "head"))


def test_labels_that_a_hospital_does_not_have():
    """Its loss does not move their outputs, and they are the mean over those who have them."""
    data = hospitals((8, 8, 8), task="multiclass")
    y = np.where((data.owner > 0) & (data.y == 2), 0, data.y)  # only the first hospital has the last class
    y[:3] = [0, 1, 2]
    data = data.replace(y=y.astype(np.int32))
    one = Lab(recipe(data, algorithm=HeteroFL(), batch_size=None), data)
    start = server_in(one.start()).variables
    server, labels, _ = one.rounds(1)
    assert labels.tolist() == [[True, True, True], [True, True, False], [True, True, False]]
    served = server.variables.params["head"]
    alone = data.select(["hospital 0"])
    same_start = Lab(recipe(alone, algorithm=HeteroFL(), batch_size=None), alone)
    first = same_start.rounds(1, initial=start)[0].variables.params["head"]
    np.testing.assert_allclose(served["kernel"][:, 2], first["kernel"][:, 2], rtol=1e-5)
    assert not np.allclose(served["kernel"][:, 0], first["kernel"][:, 0])
    for own in labels:
        deployed = one.algorithm.variables(server, jnp.asarray(own))
        logits = one.local.problem.predict(deployed, jnp.asarray(data.x, jnp.float32))
        assert ((logits != 0) == own).all()


def test_labels_of_a_shard():
    y = jnp.array([3, 0, 2, 2, 1, 3])
    found = labels_of(Shard(jnp.zeros((6, 1)), y, jnp.int32(1), jnp.int32(3)), 4, chunk=2)
    assert found.tolist() == [True, False, True, False]


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_widths_of_ordered_dropout_are_uniform(rate):
    """A quarter of the steps each, or half of them each where the wider ones are out of reach."""
    one = lab(FjORD(rate=rate))
    widths, variables = (0.25, 0.5, 0.75, 1.0), server_in(one.start()).variables
    problem = one.local.problem.extended(
        Ordered, rate=rate, widths=widths, axes=one.algorithm.axes,
        distil=False,
    )  # fmt: skip
    held = jax.vmap(lambda key: problem.draw(variables, key).factor.params["head"]["kernel"].sum())
    drawn = np.asarray(held(jax.random.split(jax.random.key(0), 4000))).astype(int)
    allowed = [int(w * D) for w in widths if w <= rate]
    share = [np.mean(drawn == k) for k in allowed]
    np.testing.assert_allclose(share, 1 / len(allowed), atol=0.03)
    assert sum(share) == pytest.approx(1)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_distillation_adds_the_distance_to_the_widest(task):
    """l(f_r, y) + l(f_p, f_r): the first is the widest's own loss, the second moves only the narrow slice."""
    one = lab(FjORD(rate=1.0, widths=(0.25, 1.0), distil=True), task)
    data, variables = one.data, server_in(one.start()).variables
    algorithm, plain = one.algorithm, one.local.problem
    problem = plain.extended(Ordered, rate=1.0, widths=(0.25, 0.25), axes=algorithm.axes, distil=True)
    batch = Batch(
        jnp.asarray(data.x[:6], jnp.float32), jnp.asarray(data.y[:6]), jnp.ones(6), jax.random.key(0)
    )
    wide, both = plain.gradient(variables, batch), problem.gradient(variables, batch)
    mask = algorithm.axes.mask(variables, held_units(algorithm.axes, 0.25))
    teacher, student = (plain.predict(v, batch.x) for v in (variables, decode(variables, mask)))
    assert both.loss > wide.loss
    if task == "regression":
        assert both.loss - wide.loss == pytest.approx(np.square(teacher - student).mean(), rel=1e-4)
    extra = jax.tree.map(jnp.subtract, both.params, wide.params)
    outside = jax.tree.map(lambda m: 1 - m, mask.params)
    still = jax.tree.map(jnp.multiply, extra, outside)
    same(still, jax.tree.map(jnp.zeros_like, still), rtol=0)
    assert np.abs(extra["head"]["kernel"][0]).min() > 1e-6


def test_hospitals_of_all_rates_in_a_simulation():
    """A rate for each hospital: what it deploys and what it costs are those of its slice."""
    data = hospitals((30, 20, 25, 12), test=6)
    rates = dict(zip(data.hospitals, (0.25, 1.0, 0.5, 0.25), strict=True))
    sim = jaxfed.Simulation(
        data, MLP((8, 4)), HeteroFL(rate=jaxfed.per_hospital(rates)), splits=("test",), devices=2, block=2
    )
    run = sim.run(2, progress=False)
    assert run.personal
    for c, rate in enumerate(rates.values()):
        own = jax.tree.map(lambda leaf: leaf[c] != 0, run.variables.params)  # noqa: B023
        assert own["hidden_1"]["kernel"].sum() == (8 * rate) * (4 * rate)
        assert own["head"]["kernel"].sum() == 4 * rate
        probability = sim.recipe.locals[0].problem.predict(
            jax.tree.map(lambda leaf: leaf[c], run.variables),  # noqa: B023
            data.x[(data.owner == c) & (data.split != TRAIN)].astype(np.float32),
        )
        y = data.y[(data.owner == c) & (data.split != TRAIN)]
        loss = np.logaddexp(0, probability[:, 0]) - y * probability[:, 0]
        assert run.hospitals()["log_loss"].iloc[c] == pytest.approx(float(loss.mean()), rel=1e-4)
    sizes = costs_by_hospital(sim)
    for found, rate in zip(sizes, rates.values(), strict=True):
        a, b = 8 * rate, 4 * rate
        assert found.upload == found.download == 4 * ((3 + 1) * a + (a + 1) * b + b + 1)
        assert found.model == 4 * (4 * 8 + 9 * 4 + 5)


@pytest.mark.parametrize(
    ("model", "algorithm", "message"),
    [
        (logistic(), HeteroFL(), "HeteroFL: the model has no hidden width to slice; give one with a hidden"),
        (LayerNorm(), FedRolex(), "FedRolex: the width 4 of Dense_0/kernel cannot be sliced"),
        (mlp(4), HeteroFL(rate=0.0), "rate=0.0: give a number > 0 and <= 1"),
        (mlp(4), FjORD(rate=jaxfed.per_hospital([0.2, 0.5])), r"widths=\(0.25.* are all above it"),
        (mlp(4), FjORD(widths=(0.5, 2.0)), r"widths\[1\]=2.0: give a number > 0 and <= 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_sliced_is_named(model, algorithm, message):
    with pytest.raises(jaxfed.InvalidInput, match=message):
        jaxfed.Simulation(hospitals((9, 8), test=2), model, algorithm, splits=("test",))


def test_a_schedule_of_rates():
    """The rate of a round is that of all hospitals, also of what they deploy after it and before the next."""
    widen = jaxfed.schedule(lambda r: jnp.where(r < 1, 0.25, 1.0))
    data = hospitals((9, 8), test=2)
    sim = jaxfed.Simulation(data, MLP((4,)), HeteroFL(rate=widen), batch_size=None, splits=("test",))
    for rounds, units in ((0, 1), (1, 1), (2, 4)):
        run = sim.run(rounds, progress=False)
        assert (run.variables.params["head"]["kernel"] != 0).sum((1, 2)).tolist() == [units] * 2


def test_the_common_form_is_what_the_server_adds_up():
    mask = Variables({"w": jnp.array([1.0, 0.0])}, {})
    held = encode(Variables({"w": jnp.array([2.0, 5.0])}, {}), mask)
    assert isinstance(held, Held)
    same(held.update.params, {"w": jnp.array([2.0, 0.0])})
