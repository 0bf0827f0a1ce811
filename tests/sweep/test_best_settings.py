"""``sim.replace(**sweep.best().settings)`` is the best simulation, whatever kind of value was swept."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import hospitals, with_validation
from sweeps import made

from jaxfed import (
    FedAvg,
    FixedCohort,
    InvalidInput,
    Simulation,
    aggregators,
    algorithms,
    optimizer,
    per_hospital,
    schedule,
)
from jaxfed.core.errors import Problems
from jaxfed.models import logistic, mlp
from jaxfed.spec import paths
from jaxfed.sweep import Sweep
from jaxfed.sweep.space import axes_of

SIZES = (11, 4, 7, 9)
SWEPT = {
    "batch_size": [None, 4],
    "algorithm": [FedAvg(), algorithms.FedProx(mu=0.5)],
    "model": [logistic(), mlp(3)],
    "participation": [FixedCohort(1), FixedCohort(2)],
    "aggregator": [aggregators.Median(), aggregators.chain(aggregators.TrimmedMean(0.25))],
    "l2": [0, 0.1, None, per_hospital([0.1, 0.2, 0.3, 0.4])],
    "loss": [None, lambda outputs, y: jnp.abs(outputs[:, 0] - y)],
    "algorithm.weighting": ["samples", "uniform"],
    "client_optimizer": [optimizer(optax.sgd, learning_rate=0.1), optimizer(optax.adam, learning_rate=0.1)],
    "client_optimizer.learning_rate": [0.1, schedule(optax.cosine_decay_schedule(0.1, 3))],
    "client_optimizer.nesterov": [False, True],
    "algorithm.server_optimizer.learning_rate": [1.0, 0.5],
    "steps": [1, per_hospital([1, 2, 1, 2])],
}


def simulation(**changes):
    data = with_validation(hospitals(SIZES, test=6))
    settings = {"model": logistic(), "batch_size": None, "devices": 1, "block": 1, **changes}
    return Simulation(data, **settings)


@pytest.mark.parametrize("field", SWEPT)
def test_the_values_themselves_come_back(field):
    """Each value is the best of a sweep in turn; nothing is compiled."""
    nesterov = optimizer(optax.sgd, learning_rate=0.1, momentum=0.9, nesterov=False)
    sim = simulation(client_optimizer=nesterov)
    axes = axes_of({field: SWEPT[field]}, "grid", None, 0, Problems("sweep"))
    for number, value in enumerate(SWEPT[field]):
        labels = axes.axes[0].labels
        sweep = made({field: labels}, lambda settings, _, best=labels[number]: settings[field] != best)
        best = dataclasses.replace(sweep, values=axes.named()).best()
        assert best.settings[field] is value or best.settings[field] == value
        changed = paths.get(sim.replace(**best.settings), field)
        assert changed is value or changed == value
        assert "0x" not in repr(best)


def test_a_run_with_the_best_settings():
    sim = simulation(l2=None)
    fields = {"algorithm": SWEPT["algorithm"], "batch_size": [4, None], "l2": [0.1, None]}
    sweep = sim.sweep(fields, 2, mode="zip", progress=False)
    loss = sweep.ranking()["validation log_loss_pooled"][0]
    rounds = sim.replace(**sweep.best().settings).run(2, progress=False).history.rounds_frame()
    last = rounds[(rounds["split"] == "validation") & (rounds["round"] == 2)]
    np.testing.assert_allclose(last["log_loss_pooled"].item(), loss, rtol=1e-5)


def test_hospitals_come_back_and_arguments_of_their_function_are_explained():
    sim = simulation()
    others = {"as they are": sim.hospitals, "turned": sim.hospitals.select(sim.hospitals.hospitals[::-1])}
    best = sim.sweep({"hospitals": others}, 1, progress=False).best()
    assert sim.replace(**best.settings).hospitals is others[best.names["hospitals"]]
    sweep = sim.sweep({"data.seed": [0, 1]}, 1, data=lambda seed: simulation().hospitals, progress=False)
    with pytest.raises(InvalidInput, match=r"sim\.replace\(hospitals=make\(seed=[01]\)\)"):
        sim.replace(**sweep.best().settings)


def test_a_loaded_sweep_has_names(tmp_path):
    sweep = simulation().sweep({"algorithm": SWEPT["algorithm"], "l2": [0.0, 0.1]}, 1, progress=False)
    best = Sweep.load(sweep.save(tmp_path / "sweep.nc")).best()
    assert best.settings == best.names == sweep.best().names
    assert best.settings["algorithm"] in ("FedAvg", "FedProx")
    with pytest.raises(InvalidInput, match="algorithm="):
        simulation().replace(**best.settings)
