"""Sweeps over numbers of parts of the road, and over hospitals with different models, equal single runs."""

import numpy as np
import optax
import pytest
from federations import hospitals

from jaxfed import Poisson, Simulation, aggregators, algorithms, optimizer, transforms
from jaxfed.aggregators import chain
from jaxfed.algorithms import mixed
from jaxfed.core.engine import runs
from jaxfed.models import logistic, mlp

ROUNDS, EVERY = 4, 2
FML_GROUPS = {f"hospital {c}": "clinic" if c in (0, 2) else "university" for c in range(5)}


def simulation(**changes):
    given = {
        "model": logistic(),
        "client_optimizer": optimizer(optax.sgd, learning_rate=0.2),
        "batch_size": 4,
        "splits": ("test",),
        "devices": 1,
    }
    return Simulation(hospitals(test=6), **{**given, **changes})


def fml(**changes):
    groups = {"models": {"clinic": logistic(), "university": mlp(3)}, "groups": FML_GROUPS}
    return simulation(algorithm=mixed.FML(mlp(2), alpha=0.5), **groups, **changes)


def sweep(sim, fields, **how):
    return sim.sweep(fields, ROUNDS, eval_every=EVERY, progress=False, **how)


def equal(entry, sim, seed=0):
    """All numbers of an entry are those of the single run, bit for bit; nothing is missing."""
    history = sim.run(ROUNDS, seed=seed, eval_every=EVERY, progress=False).history
    assert entry["round"].values.tolist() == history.evaluated.tolist() == [0, 2, 4]
    assert history.single
    for name, expected in history.single.items():
        np.testing.assert_array_equal(entry[name].transpose("round", "hospital", "split"), expected)
        np.testing.assert_array_equal(
            entry[f"{name}_pooled"].transpose("round", "split"), history.pooled[name]
        )


def test_a_number_of_hospitals_with_different_models():
    sim = fml()
    found = sweep(sim, {"algorithm.alpha": [0.2, 0.9], "seed": [0, 3]})
    assert found.provenance["programs"] == 1
    loss = found.data["log_loss"].sel(round=ROUNDS, split="test")
    assert (loss.sel({"algorithm.alpha": 0.2}) != loss.sel({"algorithm.alpha": 0.9})).all()
    for alpha, seed in ((0.2, 3), (0.9, 0)):
        entry = found.data.sel({"algorithm.alpha": alpha, "seed": seed})
        equal(entry, sim.replace(**{"algorithm.alpha": alpha}), seed)


def test_hospitals_with_different_models_side_by_side():
    """Under vmap, in blocks, on two devices: equal up to the order of additions."""
    sim = fml(devices=2, block=2)
    found = sweep(sim, {"algorithm.alpha": [0.2, 0.9]}, together=2).data
    history = sim.replace(**{"algorithm.alpha": 0.9}).run(ROUNDS, eval_every=EVERY, progress=False).history
    entry = found["log_loss"].sel({"algorithm.alpha": 0.9}).transpose("round", "hospital", "split")
    np.testing.assert_allclose(entry, history.single["log_loss"], rtol=1e-5)


PARTS = {
    "Krum f": (aggregators.Krum(f=0), "aggregator.f", [0, 1]),
    "TrimmedMean trim": (aggregators.TrimmedMean(0.1), "aggregator.trim", [0.0, 0.4]),
    "Clip bound": (transforms.Clip(0.5), "aggregator.bound", [0.01, 0.5]),
    "Clip bound in a chain": (
        chain(transforms.Clip(0.5), aggregators.NNM(f=1), aggregators.TrimmedMean(0.2)),
        "aggregator.transforms.0.bound",
        [0.01, 0.5],
    ),
    "TrimmedMean trim in a chain": (
        chain(transforms.Clip(0.5), aggregators.TrimmedMean(0.2)),
        "aggregator.rule.trim",
        [0.0, 0.4],
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_number_of_a_part(name):
    part, path, values = PARTS[name]
    sim = simulation(aggregator=part)
    found = sweep(sim, {path: values})
    assert found.provenance["programs"] == 1
    loss = found.data["log_loss_pooled"].isel(round=-1).values
    assert loss[0] != loss[1]
    for i, value in enumerate(values):
        equal(found.data.isel({path: i}), sim.replace(**{path: value}))


def test_the_distance_of_evaluations_needs_no_program_of_its_own():
    sim = simulation()
    first = sim.run(6, eval_every=1, progress=False)
    programs = runs.advance._cache_size()
    second = sim.run(6, eval_every=5, progress=False)
    assert runs.advance._cache_size() == programs
    assert second.history.evaluated.tolist() == [0, 5, 6]
    np.testing.assert_array_equal(
        second.history.single["log_loss"], first.history.single["log_loss"][second.history.evaluated]
    )
    sim.sweep({"seed": [0, 1]}, 6, eval_every=1, progress=False)
    programs = runs.advance._cache_size()
    sim.sweep({"seed": [0, 1]}, 6, eval_every=5, progress=False)
    assert runs.advance._cache_size() == programs


def test_going_on_needs_no_program_of_its_own(tmp_path):
    """After a run of this session, and after a checkpoint."""
    sim = simulation()
    first = sim.run(2, progress=False)
    programs = runs.advance._cache_size()
    sim.run(2, resume=first, progress=False)
    sim.run(2, checkpoint=tmp_path, progress=False)
    sim.run(4, checkpoint=tmp_path, progress=False)
    sim.run(2, seed=3, progress=False)
    assert runs.advance._cache_size() == programs


def test_a_run_is_the_same_on_repeat_resumed_from_a_checkpoint_and_in_a_sweep(tmp_path):
    sim = fml(participation=Poisson(0.6))
    whole = sim.run(ROUNDS, eval_every=EVERY, progress=False).history.arrays()
    again = sim.run(ROUNDS, eval_every=EVERY, progress=False)
    first = sim.run(2, eval_every=EVERY, progress=False)
    resumed = sim.run(2, eval_every=EVERY, resume=first, progress=False)
    sim.run(2, eval_every=EVERY, checkpoint=tmp_path, progress=False)
    stored = sim.run(ROUNDS, eval_every=EVERY, checkpoint=tmp_path, progress=False)
    for run in (again, resumed, stored):
        found = run.history.arrays()
        assert found.keys() == whole.keys()
        for name, values in whole.items():
            np.testing.assert_array_equal(found[name], values)
    equal(sweep(sim, {"seed": [0]}).data.isel(seed=0), sim)


def test_models_are_evaluated_without_training(monkeypatch):
    """No round is done, and what hospitals train with is of no account."""
    sim = simulation(algorithm=algorithms.FedSGD(), client_optimizer=None)
    run = sim.run(2, progress=False)
    commands, advance = [], runs.advance
    monkeypatch.setattr(runs, "advance", Watched(advance, commands))
    frame = sim.evaluate(run.variables)
    np.testing.assert_array_equal(frame, run.hospitals()[frame.columns])
    assert commands
    assert not any(command.rounds.any() for command in commands)


class Watched:
    """The program, and what it is told."""

    def __init__(self, program, commands):
        self.program, self.commands, self.trace = program, commands, program.trace

    def __call__(self, given, slots, command, *rest, **how):
        self.commands.append(command)
        return self.program(given, slots, command, *rest, **how)
