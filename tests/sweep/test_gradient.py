"""The derivative of a run against finite differences in 64 bits."""

import flax.linen as nn
import numpy as np
import optax
import pytest
from federations import hospitals, with_validation

from jaxfed import InvalidInput, Simulation, algorithms, optimizer, per_hospital
from jaxfed.models import logistic

CLIENT, SERVER = "client_optimizer.learning_rate", "algorithm.server_optimizer.learning_rate"
ROUNDS = 3


def simulation(**changes):
    found = with_validation(hospitals((11, 4, 7, 1, 9), test=6))
    setting = {
        "model": logistic(),
        "algorithm": algorithms.FedProx(mu=0.3, server_optimizer=optimizer(optax.adam, learning_rate=0.1)),
        "client_optimizer": optimizer(optax.sgd, learning_rate=0.2, momentum=0.5),
        "epochs": 2,
        "batch_size": 4,
        "l2": 0.01,
        "devices": 2,
    }
    return Simulation(found, **{**setting, **changes})


def loss(sim, split="validation"):
    run = sim.run(ROUNDS, seed=2, eval_every=ROUNDS, progress=False)
    return float(run.history.pooled["log_loss"][-1, sim.splits.index(split)])


def difference(sim, path, value, step=1e-5):
    ahead, behind = (sim.replace(**{path: value + sign * step}) for sign in (1, -1))
    return (loss(ahead) - loss(behind)) / (2 * step)


def test_against_finite_differences(x64):
    sim = simulation()
    values = {CLIENT: 0.2, SERVER: 0.1, "algorithm.mu": 0.3, "l2": 0.01, "client_optimizer.momentum": 0.5}
    found = sim.gradient(values, ROUNDS, seed=2)
    assert found.value == pytest.approx(loss(sim), rel=1e-9)
    for path, value in values.items():
        assert abs(found.by[path]) > 1e-6
        assert found.by[path] == pytest.approx(difference(sim, path, value), rel=1e-4), path


class Convolution(nn.Module):
    """Over the features."""

    @nn.compact
    def __call__(self, x):
        x = nn.avg_pool(nn.tanh(nn.Conv(2, (2,))(x[..., None])), (2,))
        return nn.Dense(1)(x.reshape(len(x), -1))


def test_a_convolution(x64):
    sim = simulation(model=Convolution())
    found = sim.gradient([CLIENT], ROUNDS, seed=2)
    assert found.value == pytest.approx(loss(sim), rel=1e-9)
    assert found.by[CLIENT] == pytest.approx(difference(sim, CLIENT, 0.2), rel=1e-4)


def test_a_number_of_each_hospital(x64):
    rates = np.array([0.1, 0.2, 0.3, 0.1, 0.2])
    sim = simulation(
        client_optimizer=optimizer(optax.sgd, learning_rate=per_hospital(rates)), batch_size=None
    )
    found = sim.gradient(CLIENT, ROUNDS, seed=2).by[CLIENT]
    assert found.index.tolist() == [*sim.hospitals.hospitals]
    for c in (0, 3):
        more, less = (rates + sign * 1e-5 * (np.arange(5) == c) for sign in (1, -1))
        ends = [loss(sim.replace(**{CLIENT: per_hospital(each)})) for each in (more, less)]
        assert found.iloc[c] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_weights_of_hospitals(x64):
    """Twice the weight of all is no change, so the derivatives in that direction cancel."""
    each = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    sim = simulation(weights=per_hospital(each), batch_size=None)
    found = sim.gradient(["weights"], ROUNDS, seed=2)
    slopes = found.by["weights"].to_numpy()
    assert found.value != pytest.approx(loss(simulation(batch_size=None)), rel=1e-6)
    assert slopes @ each == pytest.approx(0, abs=1e-10)
    more, less = (each + sign * 1e-5 * (np.arange(5) == 1) for sign in (1, -1))
    ends = [loss(sim.replace(weights=per_hospital(w))) for w in (more, less)]
    assert slopes[1] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "how", "word"),
    [
        ([], {}, "at least one"),
        (["algorithm.muh"], {}, "algorithm.mu"),
        (["epochs"], {}, "whole"),
        (["batch_size"], {}, "whole"),
        (["algorithm.weighting"], {}, "number"),
        (["algorithm.mu"], {"split": "train"}, "validation, test"),
    ],
)
def test_misuse(fields, how, word):
    with pytest.raises(InvalidInput, match=word):
        simulation().gradient(fields, ROUNDS, **how)
