"""A run keeps the model of the round with the lowest validation loss, and shows that round everywhere."""

import json

import jax
import numpy as np
import optax
import pytest
from federations import hospitals, same, with_validation

import jaxfed
from jaxfed import FedAvg, LocalOnly, Poisson, Run, Simulation
from jaxfed.algorithms import FedPer, mixed
from jaxfed.models import logistic, mlp

ROUNDS = 6


def data():
    return with_validation(hospitals((7, 9, 5, 8), test=8))


def simulation(**changes):
    """Steps that grow until training diverges from the data, so that the best round is in the midst."""
    rate = jaxfed.schedule(lambda r: 0.05 * 10.0**r)
    settings = {
        "model": logistic(),
        "client_optimizer": jaxfed.optimizer(optax.sgd, learning_rate=rate),
        "batch_size": None,
        "epochs": 3,
        "devices": 1,
        "block": 2,
        "participation": Poisson(0.9),
    }
    return Simulation(data(), **{**settings, **changes})


SIMULATIONS = {
    "one model": simulation,
    "personal models": lambda: simulation(algorithm=LocalOnly()),
    "partly personal": lambda: simulation(algorithm=FedPer(), model=mlp(2)),
    "two devices": lambda: simulation(devices=2, algorithm=FedAvg()),
    "models": lambda: simulation(
        models={"a": logistic(), "b": mlp(2)}, groups=["a", "b", "a", "b"],
        algorithm=mixed.ByGroup(FedAvg()),
    ),
}  # fmt: skip


def quiet(sim, rounds, **how):
    return sim.run(rounds, progress=False, **how)


@pytest.mark.parametrize("name", SIMULATIONS)
def test_the_best_model_is_that_of_a_run_that_ends_there(name):
    sim = SIMULATIONS[name]()
    run = quiet(sim, ROUNDS)
    losses = run.history.pooled["log_loss"][:, 0]
    best = int(np.argmin(losses))
    assert 0 < best < ROUNDS
    assert run.best.round == best
    shorter = quiet(sim, best)
    same(run.best.variables, shorter.variables)
    assert any(
        (a != b).any()
        for a, b in zip(*map(jax.tree.leaves, (run.variables, run.best.variables)), strict=True)
    )


@pytest.mark.parametrize("cut", [1, 3, 5])
@pytest.mark.parametrize("name", ["one model", "personal models"])
def test_a_resumed_run_and_a_checkpoint_have_the_same_best(name, cut, tmp_path):
    sim = SIMULATIONS[name]()
    whole = quiet(sim, ROUNDS)
    resumed = quiet(sim, ROUNDS - cut, resume=quiet(sim, cut))
    quiet(sim, cut, checkpoint=tmp_path)
    restored = quiet(sim.replace(), ROUNDS, checkpoint=tmp_path)
    for run in (resumed, restored):
        assert run.best.round == whole.best.round
        same(run.best.variables, whole.best.variables)
        same(run.variables, whole.variables)


def test_without_validation_rows_it_is_the_last():
    sim = simulation(splits=("test",))
    run = quiet(sim, 2)
    assert run.best.round == 2
    same(run.best.variables, run.variables)
    assert "round 2, the last" in repr(run)


def test_without_validation_rows_a_resumed_run_has_its_last_round():
    sim = simulation(splits=("test",))
    run = quiet(sim, 1, resume=quiet(sim, 2))
    assert run.best.round == run.summary()["round"] == 3
    same(run.best.variables, run.variables)


def test_tables_files_and_parameters_are_of_one_round(tmp_path):
    run = quiet(simulation(), ROUNDS)
    best = run.best.round
    frame = run.to_frame()
    row = frame[(frame["split"] == "test") & (frame["round"] == best)].iloc[0]
    assert run.hospitals()["log_loss"].mean() == pytest.approx(row["log_loss"])
    assert run.summary()["round"] == best
    assert jaxfed.compare({"it": run})["round"].item() == best
    assert f"round {best} of {ROUNDS}, the best on validation rows" in repr(run)
    assert f"round {best} of {ROUNDS}" in run._repr_html_()
    folder = run.save(tmp_path / "run")
    assert json.loads((folder / "run.json").read_text())["round"] == best
    with np.load(folder / "parameters.npz") as stored:
        np.testing.assert_array_equal(
            stored["params/head/kernel"], run.best.variables.params["head"]["kernel"]
        )
    loaded = Run.load(folder)
    assert loaded.best.round == best
    same(loaded.best.variables, run.best.variables)
    same(loaded.variables, run.variables)


def test_the_best_is_measured_on_validation_rows_only():
    run = quiet(simulation(), ROUNDS)
    evaluated = simulation().evaluate(run.best.variables, "validation")
    np.testing.assert_allclose(evaluated["log_loss"], run.hospitals("validation")["log_loss"], rtol=1e-5)


def test_of_equal_rounds_the_first_is_the_best():
    """As tables have it: nothing is learned with steps of 0."""
    still = jaxfed.optimizer(optax.sgd, learning_rate=0.0)
    run = quiet(simulation(client_optimizer=still, participation=jaxfed.Everyone()), 3)
    assert run.best.round == run.summary()["round"] == 0
