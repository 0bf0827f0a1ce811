"""One compilation, and rounds in which something goes wrong."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same

from jaxfed.algorithms import FedAvg, FedSGD
from jaxfed.core.group_algorithm import ByGroup
from jaxfed.core.optimizer import optimizer
from jaxfed.models import MLP
from jaxfed.participation import FixedCohort, Poisson

pytestmark = pytest.mark.usefixtures("optimised")

LOGISTIC = MLP((), outputs=1)


@pytest.fixture
def compiled(caplog):
    """The names of the functions that XLA compiled so far in this test."""
    caplog.set_level(logging.WARNING)
    with jax.log_compiles():
        yield lambda: [r.getMessage().split()[1] for r in caplog.records if "Compiling" in r.getMessage()]


@pytest.mark.parametrize("devices", [1, 2])
def test_rounds_seeds_and_numbers_compile_once(compiled, devices):
    def lab(client=0.1, server=1.0, l2=0.1, rate=0.5):
        algorithm = FedAvg(optimizer(optax.sgd, learning_rate=server, momentum=0.5))
        how = recipe(
            hospitals((5, 4, 3)),
            algorithm=algorithm,
            participation=Poisson(rate),
            client=optimizer(optax.sgd, learning_rate=client),
            model=MLP((2 + devices,), outputs=1),  # no other test has compiled this
            l2=l2,
        )
        return Lab(how, hospitals((5, 4, 3)), devices=devices)

    state = lab().start()
    for rounds in (0, 1, 3):
        state, _ = lab().advance(state, rounds)
    finals = []
    for changed in ({}, {"client": 0.3}, {"server": 0.2}, {"l2": 1.0}, {"rate": 0.9}):
        state, _ = lab(**changed).advance(lab().start(1), 4)
        finals.append(float(state.server.group[0].variables.params["head"]["bias"][0]))
    lab().start(2)
    assert len(set(finals)) == 5
    names = compiled()
    assert names.count("jit(repeated)") == 1
    assert names.count("jit(start)") == 1


def diverging(client_rate=0.5, **layout):
    """Three hospitals on squared error; the numbers of hospital 1 are huge, so its steps diverge."""
    data = hospitals((6, 6, 6), task="regression")
    data = data.replace(x=np.where(data.owner[:, None] == 1, 1e15 * data.x, data.x))
    client = optimizer(optax.sgd, learning_rate=client_rate)
    return Lab(recipe(data, model=LOGISTIC, client=client, epochs=4, batch_size=3), data, **layout)


@pytest.mark.parametrize("block", [1, 3])
def test_a_diverging_hospital_is_refused(block):
    lab = diverging(block=block)
    server, _, log = lab.rounds(4)
    assert log.rejected.tolist() == [[False, True, False]] * 4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(server))
    assert not log.refused.any()
    start = lab.start().server.group[0].variables
    assert not np.allclose(server.variables.params["head"]["kernel"], start.params["head"]["kernel"])


def test_everyone_diverging_leaves_the_server_as_it_was():
    lab = diverging()
    spoiled = lab.data.replace(x=np.full_like(lab.data.x, np.inf))
    lab = lab.replace(data=spoiled)
    start = jax.tree.map(np.asarray, lab.start().server.group[0])
    server, _, log = lab.rounds(2)
    same(server, start)
    assert log.rejected.all()
    assert not log.refused.any()


def test_a_server_that_is_not_finite_keeps_its_old_state():
    """Momentum included: finite uploads, but the server's step overflows."""
    data = hospitals((6, 5))
    algorithm = FedAvg(optimizer(optax.sgd, learning_rate=jnp.float32(1), momentum=jnp.float32(0.9)))
    lab = Lab(recipe(data, algorithm=algorithm, model=LOGISTIC), data)
    one, _, _ = lab.rounds(1)
    state, _ = lab.advance(lab.start(), 1)
    bad = FedAvg(optimizer(optax.sgd, learning_rate=jnp.float32(3e38), momentum=jnp.float32(1e38)))
    how = dataclasses.replace(lab.recipe, algorithm=ByGroup(bad))
    state, log = lab.replace(recipe=how).advance(state, 2)
    same(jax.tree.map(np.asarray, state.server.group[0]), one)
    assert np.asarray(log.refused)[:2].tolist() == [True, True]
    assert int(state.round) == 3
    assert not np.asarray(log.rejected).any()


def test_rounds_with_nobody_change_nothing():
    """With momentum a step towards a zero mean would still move the model."""
    data = hospitals((6, 5))
    algorithm = FedAvg(optimizer(optax.sgd, learning_rate=1.0, momentum=0.9))
    how = recipe(data, algorithm=algorithm, model=LOGISTIC, participation=Poisson(jnp.float32(1)))
    lab = Lab(how, data)
    state, _ = lab.advance(lab.start(), 2)
    before = jax.tree.map(np.asarray, state.server)
    nobody = dataclasses.replace(how, participation=Poisson(jnp.float32(0)))
    state, log = lab.replace(recipe=nobody).advance(state, 2)
    same(jax.tree.map(np.asarray, state.server), before)
    assert not np.asarray(log.present).any()
    assert not np.asarray(log.refused).any()
    assert np.isnan(log.clients["loss"][:2]).all()
    assert int(state.round) == 4


def test_poisson_rate_and_cohorts_are_fair():
    """Over 400 rounds every hospital of 10 takes part about as often as it should."""
    data = hospitals((1,) * 10)
    algorithm = FedSGD(optimizer(optax.sgd, learning_rate=0.0))
    for participation, mean in ((Poisson(0.3), 120), (FixedCohort(4), 160)):
        how = recipe(data, algorithm=algorithm, participation=participation, model=LOGISTIC)
        _, _, log = Lab(how, data).rounds(400, capacity=400)
        times = log.present.sum(0)
        assert (abs(times - mean) < 45).all()  # more than 4 sd
        together = (log.present.astype(int).T @ log.present)[np.triu_indices(10, 1)]
        pairs = mean**2 / 400 if mean == 120 else mean * 3 / 9
        assert abs(together.mean() - pairs) < 6
