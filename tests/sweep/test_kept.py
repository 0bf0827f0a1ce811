"""Sweeps that are cut and go on from their checkpoints equal those that were not, bit for bit."""

import numpy as np
import pytest
from federations import hospitals

from jaxfed import CheckpointError, FedAvg, Halving, InvalidInput, Simulation
from jaxfed.algorithms import Scaffold
from jaxfed.models import logistic
from jaxfed.storage.checkpoint import read
from jaxfed.sweep import checkpoint as saving
from jaxfed.sweep import executor as loop


@pytest.fixture(scope="module")
def sim():
    return Simulation(
        hospitals(test=6, sizes=(20, 9, 7)).replace(
            split=np.tile([0, 0, 1, 2], 14)[: 20 + 9 + 7 + 18].astype(np.int8)
        ),
        model=logistic(),
        batch_size=4,
        devices=1,
    )


FIELDS = {
    "algorithm": {"FedAvg": FedAvg(), "Scaffold": Scaffold()},  # two programs
    "client_optimizer.learning_rate": [0.05, 0.3, 1e30],  # the last one dies
    "seed": [0, 1],
}
HOW = {"rounds": 6, "eval_every": 2, "progress": False, "halving": Halving(2, eta=2)}


@pytest.fixture(scope="module")
def whole(sim):
    return sim.sweep(FIELDS, **HOW)


@pytest.fixture
def cut(monkeypatch):
    """Let a sweep crash, or be interrupted, in its so-manieth call of a program."""

    def after(calls, error=MemoryError):
        done, call = [], loop.ProgramRunner.call

        def crash(self):
            if len(done) == calls:
                raise error
            done.append(1)
            return call(self)

        monkeypatch.setattr(loop.ProgramRunner, "call", crash)
        return done

    yield after
    monkeypatch.undo()


def equal(a, b):
    assert a.data.identical(b.data)
    assert a.config == b.config


def test_cut_anywhere_and_called_again(sim, whole, cut, tmp_path, monkeypatch):
    """In each rung, in each program, with runs parked between rungs."""
    calls = 0
    while True:
        done = cut(1 + calls % 3)  # the first call of a program does one round: the cut is inside a run
        try:
            found = sim.sweep(FIELDS, **HOW, checkpoint=tmp_path, every=1)
            break
        except MemoryError:
            calls += len(done)
            monkeypatch.undo()
            assert calls < 200
    assert calls >= 6
    equal(found, whole)
    monkeypatch.undo()
    done = cut(0)
    equal(sim.sweep(FIELDS, **HOW, checkpoint=tmp_path), whole)  # nothing is left to do
    assert not done


def test_a_checkpoint_does_not_change_while_it_is_written(sim, tmp_path, monkeypatch):
    """A thread writes it while the sweep goes on."""
    checkpoints, make = [], saving.checkpoint

    def remember(*arguments):
        made = make(*arguments)
        checkpoints.append((made.arrays, {name: values.copy() for name, values in made.arrays.items()}))
        return made

    monkeypatch.setattr(saving, "checkpoint", remember)
    sim.sweep(FIELDS, **HOW, checkpoint=tmp_path, every=1)
    assert len(checkpoints) > 3
    for later, before in checkpoints:
        for name, values in before.items():
            np.testing.assert_array_equal(later[name], values, err_msg=name)


def test_ctrl_c_writes_a_last_one(sim, whole, cut, tmp_path, monkeypatch):
    cut(4, KeyboardInterrupt)
    part = sim.sweep(FIELDS, **HOW, checkpoint=tmp_path)
    monkeypatch.undo()
    assert not part.data.identical(whole.data)
    assert len([*tmp_path.iterdir()]) == 2  # the first, and this
    equal(sim.sweep(FIELDS, **HOW, checkpoint=tmp_path), whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {**FIELDS, "seed": [0, 2]}}, ["fields: ", "values: "]),
        ({"halving": None}, ["halving: "]),
        ({"rounds": 8}, ["rounds: 6 there, 8 here"]),
        ({"eval_every": 3}, ["eval_every: 2 there, 3 here"]),
    ],
)
def test_a_folder_of_another_sweep(sim, cut, tmp_path, changes, said, monkeypatch):
    cut(0)
    with pytest.raises(MemoryError):
        sim.sweep(FIELDS, **HOW, checkpoint=tmp_path)
    with pytest.raises(CheckpointError) as error:
        sim.sweep(**{"fields": FIELDS, **HOW, **changes}, checkpoint=tmp_path)
    assert error.value.reason == "configuration"
    assert all(part in str(error.value) for part in said)


def test_other_hospitals(sim, cut, tmp_path):
    cut(0)
    with pytest.raises(MemoryError):
        sim.sweep(FIELDS, **HOW, checkpoint=tmp_path)
    other = sim.replace(hospitals=sim.hospitals.replace(y=1 - sim.hospitals.y))
    with pytest.raises(CheckpointError, match=r"hospitals: "):
        other.sweep(FIELDS, **HOW, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="is of another run"):
        sim.run(6, checkpoint=tmp_path, progress=False)


def test_how_many_run_side_by_side_is_kept(sim, whole, cut, tmp_path, monkeypatch):
    """It may have been chosen by the memory that was free."""
    cut(3)
    with pytest.raises(MemoryError):
        sim.sweep(FIELDS, **HOW, checkpoint=tmp_path, every=1)
    monkeypatch.undo()
    assert {tuple(one) for one in read(sorted(tmp_path.iterdir())[-1]).notes["cuts"]} == {(1, 1)}


def test_bad_arguments(sim):
    with pytest.raises(InvalidInput, match=r"every=2: give checkpoint=folder too"):
        sim.sweep(FIELDS, **HOW, every=2)
