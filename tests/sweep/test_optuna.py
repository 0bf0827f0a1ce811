"""The adapter for Optuna, on made-up sweeps: asked in batches, run as a zip, told."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from sweeps import made

from jaxfed.core.errors import InvalidInput
from jaxfed.core.task import Measure
from jaxfed.core.tasks import BINARY
from jaxfed.sweep import tune

STEP, MU = "client_optimizer.learning_rate", "algorithm.mu"
SPACE = {STEP: FloatDistribution(1e-3, 1.0, log=True), MU: CategoricalDistribution([0.0, 0.1])}
optuna.logging.set_verbosity(optuna.logging.WARNING)


def loss(settings, round):
    return 0.5 + 0.1 * np.log10(settings[STEP] / 0.1) ** 2 + 0.01 * settings["seed"]


def died(settings):
    return 1.0 if settings[STEP] > 0.5 and settings["seed"] == 1 else np.nan


class MadeUp:
    """A simulation as far as tuning knows it; steps above 0.5 kill every second seed."""

    def __init__(self):
        self.calls = []
        self.splits = ("validation", "test")
        self.measure = Measure(BINARY)

    def sweep(self, fields, rounds, *, mode, eval_every):
        assert mode == "zip"
        assert len({tuple(row) for row in zip(*fields.values(), strict=True)}) == len(fields["seed"])
        self.calls.append(len(fields["seed"]))
        return made(fields, loss, zipped=True, died=died, rounds=(0, rounds))


def study_of(seed=0):
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def test_batches_are_sweeps_and_trials_are_told():
    sim = MadeUp()
    study = tune(sim, SPACE, 5, trials=40, batch=16, seeds=2, study=study_of())
    assert sim.calls == [32, 32, 16]
    assert len(study.trials) == 40
    for trial in study.trials:
        if trial.params[STEP] > 0.5:
            assert (trial.state, trial.user_attrs["dead"]) == (TrialState.PRUNED, 1)
            continue
        expected = loss({**trial.params, "seed": 0.5}, 5)
        assert trial.state == TrialState.COMPLETE
        assert trial.value == pytest.approx(expected)
        assert trial.user_attrs["test"] == pytest.approx(expected + 0.1)
    assert study.best_params[STEP] == pytest.approx(0.1, rel=0.5)
    assert any(trial.state == TrialState.PRUNED for trial in study.trials)


def test_equal_trials_run_once_and_are_told_both():
    sim = MadeUp()
    space = {STEP: CategoricalDistribution([0.01, 0.1])}
    study = tune(sim, space, 5, trials=8, batch=8, study=study_of())
    assert sim.calls == [2]
    assert [trial.value for trial in study.trials] == pytest.approx(
        [loss({**trial.params, "seed": 0}, 5) for trial in study.trials]
    )


def test_the_metric_gives_the_direction():
    study = tune(MadeUp(), SPACE, 5, trials=2, batch=2, metric="auroc_worst")
    assert study.direction.name == "MAXIMIZE"
    with pytest.raises(InvalidInput, match="is to maximize"):
        tune(MadeUp(), SPACE, 5, trials=2, metric="auroc", study=study_of())
    with pytest.raises(InvalidInput, match="did you mean 'auroc'"):
        tune(MadeUp(), SPACE, 5, trials=2, metric="auorc")


def test_wrong_arguments_are_listed():
    with pytest.raises(InvalidInput) as found:
        tune(MadeUp(), {**SPACE, "seed": SPACE[MU]}, 5, trials=0, batch=-1, seeds=0.5, by="test")
    for said in ("trials=0", "batch=-1", "seeds=0.5", "by='test'", "the seed is nothing to choose"):
        assert said in str(found.value)
