"""Local training and averaging against NumPy loops."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same
from oracles import client_keys, combine, fedavg, in_numpy, mean_gradient

from jaxfed.algorithms import FedAvg
from jaxfed.core import tree
from jaxfed.core.optimizer import optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Shard, Upload
from jaxfed.models import MLP
from jaxfed.participation import FixedCohort, Poisson

LOGISTIC = MLP((), outputs=1)
RATE = 0.2


def agrees(lab, *, rounds=3, seed=5, **how):
    """Three rounds of the engine and of NumPy end in the same model and losses."""
    initial = jax.tree.map(np.asarray, lab.start(seed).server.group[0].variables)
    server, _, log = lab.rounds(rounds, seed)
    models, losses = fedavg(lab.data, in_numpy(initial.params), log.present, rate=RATE, seed=seed, **how)
    same(server.variables.params, models[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log.clients["loss"], losses, rtol=1e-4)
    assert not log.rejected.any()
    assert not log.refused.any()
    return log


def test_ragged_hospitals_short_batches_several_epochs():
    log = agrees(Lab(recipe(hospitals(), epochs=3), hospitals()), epochs=3)
    assert log.present.all()


def test_fixed_cohort_with_empty_hospital_and_penalty():
    data = hospitals((11, 0, 4, 7, 1, 9))
    how = recipe(data, participation=FixedCohort(2), model=LOGISTIC, epochs=2, l2=0.3)
    log = agrees(Lab(how, data, block=2), epochs=2, l2=0.3)
    assert log.present.sum(1).tolist() == [2, 2, 2]
    assert not log.present[:, 1].any()
    assert len(np.unique(log.present, axis=0)) > 1
    assert np.array_equal(np.isnan(log.clients["loss"]), ~log.present)


def test_poisson_and_equal_weights():
    data = hospitals()
    algorithm = FedAvg(weighting="uniform")
    how = recipe(data, participation=Poisson(0.5), algorithm=algorithm, model=LOGISTIC)
    log = agrees(Lab(how, data), weighting="uniform")
    assert 0 < log.present.sum() < log.present.size


@pytest.mark.parametrize("batch_size", [4, None])
def test_steps_instead_of_epochs(batch_size):
    """Every hospital takes 5 steps, whatever its size: the next epoch goes on where one ends."""
    data = hospitals((11, 4, 150, 1))  # 150 rows are two chunks of a full gradient
    how = recipe(data, steps=5, batch_size=batch_size, model=LOGISTIC)
    agrees(Lab(how, data, block=4), steps=5, batch_size=batch_size)


def test_whole_hospital_at_once():
    data = hospitals((11, 4, 300, 1))
    how = recipe(data, epochs=2, batch_size=None, l2=0.1)
    agrees(Lab(how, data), epochs=2, batch_size=None, l2=0.1)


@pytree
@dataclasses.dataclass(frozen=True)
class Corrected(FedAvg):
    """FedAvg with g + mu (y - x) + (g(y) - g(x)) / 2 on the same mini-batch."""

    mu: float = 0.0
    personal: ClassVar[bool] = False

    def client_update(self, local, server, client, shard, key):
        x = server.variables.params

        def correct(grads, params, gradient):
            pull = tree.scale(self.mu, tree.subtract(params, x))
            again = tree.scale(0.5, tree.subtract(gradient(params), gradient(x)))
            return tree.add(grads, tree.add(pull, again))

        trained = local.train(server.variables, shard, key, correct)
        return Upload(tree.subtract(trained.variables, server.variables)), client, trained.metrics


@pytest.mark.parametrize("block", [1, 3])
def test_correct_hook(block):
    data, mu = hospitals(), 0.7

    def correct(start, x, y):
        def on(grads, params, rows):
            again, first = (mean_gradient(p, x[rows], y[rows])[1] for p in (params, start))
            return combine(
                lambda g, p, s, a, b: g + mu * (p - s) + 0.5 * (a - b), grads, params, start, again, first
            )

        return on

    how = recipe(data, algorithm=Corrected(mu=mu), epochs=2, model=LOGISTIC)
    agrees(Lab(how, data, block=block), epochs=2, correct=correct)


def test_client_optimizer_starts_anew_in_every_round():
    """Heavy ball in the hospital: v <- m v + g, reset with the round."""
    data = hospitals((9, 5))
    client = optimizer(optax.sgd, learning_rate=RATE, momentum=0.9)
    lab = Lab(recipe(data, client=client, model=LOGISTIC, epochs=2), data)
    initial = in_numpy(lab.start().server.group[0].variables.params)
    server, _, _ = lab.rounds(2)

    def correct(start, x, y):
        memory = [combine(np.zeros_like, start)]

        def on(grads, params, rows):
            memory[0] = combine(lambda v, g: 0.9 * v + g, memory[0], grads)
            return memory[0]

        return on

    models, _ = fedavg(data, initial, np.ones((2, 2)), rate=RATE, epochs=2, correct=correct)
    same(server.variables.params, models[-1], rtol=1e-4, atol=1e-5)


class Noisy(nn.Module):
    """A bias, and a noise that only the random key of the step decides: its gradient is the noise."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        bias = self.param("bias", nn.initializers.zeros, (1,))
        noise = jax.random.normal(self.make_rng("dropout"), ()) if train else 0.0
        return jnp.zeros((len(x), 1)) + bias * noise


def test_every_step_hospital_and_round_has_its_own_noise():
    data = hospitals((8, 8))
    data = data.replace(y=np.ones_like(data.y))  # errors of a batch never cancel
    problem = recipe(data, model=Noisy()).locals[0].problem
    variables = problem.init(jax.random.key(0), data.x[:1].astype(np.float32))
    lab = Lab(recipe(data, model=Noisy(), batch_size=4), data)
    seen = set()
    for r in range(2):
        for c, key in enumerate(client_keys(0, r, data.hospitals)):
            shard = dataclasses.replace(shard_of(lab), start=jnp.int32(8 * c), size=jnp.int32(8))
            for t in range(2):
                step = lab.recipe.locals[0].gradient(shard, key, jnp.int32(t))
                seen.add(float(step(variables).params["bias"][0]))
    assert len(seen) == 8


def shard_of(lab):
    train = lab.training_data[0].train
    return Shard(train.x, train.y, train.start[0], train.size[0])
