"""Federated algorithms in the cases where they are something simpler; real patients of four hospitals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same, server_in
from oracles import combine, fedavg, in_numpy, mean_gradient

from jaxfed.algorithms import FedAvg, FedSGD
from jaxfed.core.group_algorithm import ByGroup
from jaxfed.core.optimizer import optimizer
from jaxfed.core.types import Variables
from jaxfed.data import heart_disease
from jaxfed.models import MLP

pytestmark = pytest.mark.usefixtures("optimised")

LOGISTIC = MLP((), outputs=1)
START = {"head": {"kernel": np.linspace(-0.5, 0.5, 13)[:, None], "bias": np.array([0.3])}}


def pooled_descent(data, rate, rounds):
    """Gradient descent on all training rows in one place, in float64."""
    x, y = data.x[data.split == 0].astype(np.float64), data.y[data.split == 0]
    params = START
    for _ in range(rounds):
        params = combine(lambda p, g: p - rate * g, params, mean_gradient(params, x, y)[1])
    return params


def farthest(a, b):
    return max(np.abs(x - y).max() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def heart_lab(data, algorithm):
    client = optimizer(optax.sgd, learning_rate=0.1)
    how = recipe(data, algorithm=algorithm, model=LOGISTIC, client=client, batch_size=None)
    return Lab(how, data)


ONE_STEP = {
    "FedSGD": FedSGD(optimizer(optax.sgd, learning_rate=0.1)),
    "FedAvg with one local step": FedAvg(),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_one_step_of_everyone_is_centralised_descent(heart_folder, name):
    data = heart_disease(heart_folder)
    initial = jax.tree.map(jnp.asarray, Variables(START, {}))
    server, _, _ = heart_lab(data, ONE_STEP[name]).rounds(200, initial=initial, capacity=200)
    assert server.variables.params["head"]["kernel"].dtype == np.float32
    assert farthest(server.variables.params, pooled_descent(data, 0.1, 200)) < 1e-5


@pytest.mark.parametrize("name", ONE_STEP)
def test_one_step_of_everyone_is_centralised_descent_in_64_bits(heart_folder, name, x64):
    data = heart_disease(heart_folder)
    data = data.replace(x=data.x.astype(np.float64))
    initial = jax.tree.map(jnp.asarray, Variables(START, {}))
    server, _, _ = heart_lab(data, ONE_STEP[name]).rounds(200, initial=initial, capacity=200)
    assert server.variables.params["head"]["kernel"].dtype == np.float64
    assert farthest(server.variables.params, pooled_descent(data, 0.1, 200)) < 1e-12


def test_the_optimum_of_the_pooled_loss_is_found(heart_folder):
    """Known from a separate solver: mean loss + 0.5e-3 ||w||^2 over the 486 training rows."""
    data = heart_disease(heart_folder)
    algorithm = FedSGD(optimizer(optax.sgd, learning_rate=1.0))
    how = recipe(data, algorithm=algorithm, model=LOGISTIC, batch_size=None, l2=1e-3)
    server, _, log = Lab(how, data).rounds(3000, capacity=3000)
    params = in_numpy(server.variables.params)
    train = data.split == 0
    loss, _ = mean_gradient(params, data.x[train].astype(np.float64), data.y[train], 1e-3)
    assert loss == pytest.approx(0.487545, abs=1e-6)
    weights = params["head"]["kernel"][:4, 0]
    np.testing.assert_allclose(weights, [0.0987, 0.4695, -0.0238, 0.3284], atol=1e-4)
    assert params["head"]["bias"][0] == pytest.approx(0.2099, abs=1e-4)
    share = data.counts[:, 0] / train.sum()
    assert log.clients["loss"][-1] @ share == pytest.approx(0.487545, abs=1e-6)


def test_identical_hospitals_are_one_hospital():
    """The same rows in the same order everywhere: with whole batches the mean is each one's SGD."""
    one = hospitals((9,))
    three = one.replace(
        x=np.tile(one.x, (3, 1)),
        y=np.tile(one.y, 3),
        split=np.tile(one.split, 3),
        size=np.full(3, 9),
        hospitals=("a", "b", "c"),
    )
    labs = [Lab(recipe(data, batch_size=None, epochs=4), data) for data in (one, three)]
    initial = server_in(labs[0].start()).variables
    alone, together = (lab.rounds(3, initial=initial)[0] for lab in labs)
    same(alone, together, rtol=1e-5)
    alone_in_numpy, _ = fedavg(
        one, in_numpy(initial.params), np.ones((3, 1)), rate=0.2, batch_size=None, epochs=4
    )
    same(together.variables.params, alone_in_numpy[-1], rtol=1e-4)


@pytest.fixture(scope="module")
def momentum():
    """FedAvg with a server of step size and momentum given as numbers, one program for all of them."""
    data = hospitals()
    algorithm = FedAvg(optimizer(optax.sgd, learning_rate=jnp.float32(1), momentum=jnp.float32(0)))
    return Lab(recipe(data, algorithm=algorithm, model=LOGISTIC), data)


def served(lab, rate, momentum, rounds=3):
    algorithm = FedAvg(optimizer(optax.sgd, learning_rate=jnp.float32(rate), momentum=jnp.float32(momentum)))
    how = dataclasses.replace(lab.recipe, algorithm=ByGroup(algorithm))
    return lab.replace(recipe=how).rounds(rounds, capacity=3)[0].variables.params


def test_server_step_of_one_is_the_mean_of_the_models(momentum):
    initial = in_numpy(server_in(momentum.start()).variables.params)
    means, _ = fedavg(momentum.data, initial, np.ones((3, 5)), rate=0.2)
    same(served(momentum, 1.0, 0.0), means[-1], rtol=1e-5)


def test_server_momentum(momentum):
    """v <- m v + (x - mean), x <- x - eta v."""
    rate, m = 0.7, 0.9
    names, x = momentum.data, in_numpy(server_in(momentum.start()).variables.params)
    v = combine(np.zeros_like, x)
    for r in range(3):
        # the oracle's round r: the rounds before it have nobody and leave x as it is
        present = np.zeros((r + 1, 5))
        present[r] = 1
        mean = fedavg(names, x, present, rate=0.2)[0][-1]
        v = combine(lambda v, x, y: m * v + (x - y), v, x, mean)
        x = combine(lambda x, v: x - rate * v, x, v)
    same(served(momentum, rate, m), x, rtol=1e-4, atol=1e-5)
