"""Every run has the outputs behind its metrics, row by row in the order of the data set."""

import numpy as np
import optax
import pytest
from federations import hospitals, with_validation
from sklearn.metrics import log_loss, roc_auc_score

import jaxfed
from jaxfed import FedAvg, InvalidInput, LocalOnly, Run, Simulation
from jaxfed.algorithms import FineTuned, mixed
from jaxfed.models import logistic, mlp


def data():
    """Five hospitals; the third has no training rows."""
    made = with_validation(hospitals((7, 9, 4, 5, 8), test=8))
    return made.replace(split=np.where((made.owner == 2) & (made.split == 0), 1, made.split).astype(np.int8))


def simulation(hospitals=None, **changes):
    settings = {
        "model": logistic(),
        "client_optimizer": jaxfed.optimizer(optax.sgd, learning_rate=0.1),
        "batch_size": 4,
        "devices": 1,
        "block": 2,
    }
    return Simulation(data() if hospitals is None else hospitals, **{**settings, **changes})


GROUPS = {"models": {"a": logistic(), "b": mlp(2)}, "groups": ["a", "b", "a", "b", "a"]}
SIMULATIONS = {
    "one model": {},
    "personal": {"algorithm": LocalOnly()},
    "adapted": {"algorithm": FineTuned()},
    "two devices": {"devices": 2, "splits": ("test", "validation")},
    "models": {**GROUPS, "algorithm": mixed.ByGroup(FedAvg())},
    "no validation": {"splits": ("test",)},
}


@pytest.mark.parametrize("name", SIMULATIONS)
def test_metrics_of_predictions_are_those_of_the_run(name):
    sim = simulation(**SIMULATIONS[name])
    run = sim.run(3, progress=False)
    for split in sim.splits:
        part, table = run.predictions.of(split), run.hospitals(split)
        assert (part.row == np.flatnonzero(data().split == part.split[0])).all()
        assert (part.y == data().y[part.row]).all()
        for c, hospital in enumerate(data().hospitals):
            inside = part.owner == c
            row = table.loc[hospital]
            if np.isnan(row["log_loss"]):
                assert np.isnan(part.outputs[inside]).all()
                continue
            logit, y = part.outputs[inside, 0].astype(float), part.y[inside]
            probability = 1 / (1 + np.exp(-logit))
            np.testing.assert_allclose(row["log_loss"], log_loss(y, probability, labels=[0, 1]), rtol=1e-5)
            if 0 < y.mean() < 1:
                np.testing.assert_allclose(row["auroc"], roc_auc_score(y, logit), rtol=1e-6)


def test_a_hospital_without_a_model_has_none():
    run = simulation(algorithm=LocalOnly()).run(1, progress=False)
    untrained = run.predictions.owner == 2
    assert untrained.any()
    assert np.isnan(run.predictions.outputs[untrained]).all()
    assert np.isfinite(run.predictions.outputs[~untrained]).all()


def test_they_are_of_the_best_round_and_survive_going_on():
    rate = jaxfed.schedule(lambda r: 0.05 * 10.0**r)
    sim = simulation(client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=rate), batch_size=None)
    short = sim.run(8, progress=False)
    long = sim.run(1, resume=short, progress=False)
    assert long.best.round == short.best.round < 8
    assert (long.predictions.outputs == short.predictions.outputs).all()


def test_another_federation_is_evaluated():
    other = with_validation(hospitals((4, 6), test=5))
    run = simulation(evaluate_on=other).run(1, progress=False)
    assert run.predictions.hospitals == other.hospitals
    assert len(run.predictions.of("test")) == other.counts[:, 2].sum()


def test_files(tmp_path):
    run = simulation().run(2, progress=False)
    run.save(tmp_path / "with", predictions=True)
    run.save(tmp_path / "without")
    loaded = Run.load(tmp_path / "with").predictions
    assert loaded.to_frame().equals(run.predictions.to_frame())
    with pytest.raises(InvalidInput, match=r"run.save\(folder, predictions=True\)"):
        Run.load(tmp_path / "without").predictions  # noqa: B018
    with pytest.raises(InvalidInput, match="choose from"):
        loaded.of("train")
