"""Blocks that are judged, measured and remembered."""

import json
import logging

import jax
import numpy as np
import optax
import pytest
from federations import Lab, hospitals, recipe, same

import jaxfed
from jaxfed.core.layout.plan import place
from jaxfed.models import logistic
from jaxfed.runtime import cache as choices
from jaxfed.training import autotune as tuning

MANY = tuple(range(1, 41))
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choices, "known", {})
    return tmp_path / "cache"


@pytest.fixture
def always(monkeypatch):
    """Every run is worth measuring, and a part of a round is quick."""
    monkeypatch.setattr(tuning, "WORTHWHILE", 0.0)
    monkeypatch.setattr(tuning, "SAMPLE", 1e-3)


def simulation(**how):
    rate = jaxfed.optimizer(optax.sgd, learning_rate=0.1)
    data = hospitals(MANY, test=1)
    how = {"model": logistic(), "client_optimizer": rate, "batch_size": 1, "splits": ("test",), **how}
    return jaxfed.Simulation(data, devices=1, **how)


def test_candidates():
    assert tuning.candidates(1, cpu=True) == [1]
    assert tuning.candidates(10, cpu=True) == [1, 2, 4, 8]
    assert tuning.candidates(1000, cpu=True) == [1, 2, 4, 8, 16]
    assert tuning.candidates(1000, cpu=False) == [1, 2, 4, 8, 16, 32, 63, 125, 250, 500, 1000]


def test_small_steps_run_side_by_side_and_large_ones_alone():
    def judged(work, flop, cpu=True):
        return tuning.judged(np.array(work), place(np.array(work), devices=1, block=1), flop, cpu)

    equal, ragged = [20] * 64, [1000, 100, 50, 20, 10, 5, 2, 1]
    assert judged(equal, 1e4) > 2
    assert judged(equal, 1e8) == 1
    assert judged(ragged, 1e6) == 1  # most of a block would wait for its largest member
    assert judged([20] * 7, 1e4) == 1
    assert judged(equal, 1e8, cpu=False) == 64


def test_expected_seconds_follow_the_longest_of_each_block():
    work = np.array([7, 5, 3, 2, 1])
    one = place(work, devices=1, block=1)
    step = tuning.OPERATIONS + 2 * (tuning.HOSPITAL + 1e6 / tuning.RATE)
    assert tuning.expected(work, one, 1e6, 2) == pytest.approx((7 + 3 + 1) * step)


@pytest.mark.parametrize(
    ("start", "tried"), [(2, [2, 4, 8]), (8, [8, 16, 4, 2]), (4, [4, 8, 2]), (1, [1, 2, 4, 8])]
)
def test_candidates_are_tried_until_it_gets_slower(start, tried):
    times = {1: 9.0, 2: 5.0, 4: 3.0, 8: 4.0, 16: 8.0}
    assert list(tuning.climb([1, 2, 4, 8, 16], times.__getitem__, start)) in (tried, [*tried[:-1]])


def test_a_candidate_that_was_timed_on_a_busy_machine_is_timed_again():
    times = {2: [3.0, 3.0], 4: [9.0, 2.0], 8: [1.0, 1.1], 16: [1.5, 1.6]}
    found = tuning.climb([1, 2, 4, 8, 16], lambda block: times[block].pop(0), 2)
    assert found == {2: 3.0, 4: 2.0, 8: 1.0, 16: 1.5}


def test_a_part_of_the_hospitals_is_timed_in_the_same_program(caplog):
    lab = Lab(recipe(hospitals(MANY)), hospitals(MANY), devices=2, block=2)
    plan, federation = lab.placement.plan, lab.federation
    watch = tuning.Stopwatch(cpu=True)
    for part in (1.0, 0.5, 0.1):
        cut = watch.cut(federation, plan, part)
        assert np.array_equal(cut.sizes, cut.train.size)
        assert cut.sizes.sharding == federation.sizes.sharding
        assert cut.train.size.sharding == federation.train.size.sharding
        assert (np.asarray(cut.sizes) <= np.asarray(federation.sizes)).all()
        rows = np.asarray(cut.sizes).sum() / np.asarray(federation.sizes).sum()
        assert part <= rows <= part + 0.1
    caplog.set_level(logging.WARNING)
    with jax.log_compiles():
        assert watch(lab.recipe, plan, federation, lab.start(), 4) > 0
        lab.rounds(1, capacity=4)
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if m.startswith("Compiling jit(advance)")]) == 1


def test_a_measured_block_is_used_and_remembered(empty_cache, always, monkeypatch):
    measured = {1: 3.0, 2: 2.0, 4: 1.0, 8: 2.0, 16: 9.0}
    monkeypatch.setattr(tuning.Stopwatch, "__call__", lambda self, recipe, plan, *rest: measured[plan.block])
    first = simulation()
    assert first.trainer.choice.how == "judged"
    run = first.run(40, eval_every=40, progress=False)
    assert run.provenance["block"] == 4
    assert first.plan(40, eval_every=40).seconds["fast"][4] == 1.0
    monkeypatch.setattr(tuning.Stopwatch, "__call__", None)  # nothing is timed again
    again = simulation()
    assert again.plan(40, eval_every=40).how == "remembered"
    choices.known.clear()  # another process
    assert simulation().plan(40, eval_every=40).block == 4
    kept = json.loads((empty_cache / "choices.json").read_text())
    assert [*kept.values()] == [{"fast": {"2": 2.0, "4": 1.0, "8": 2.0}}]
    more = again.run(1, resume=run, progress=False)
    assert more.provenance["block"] == 4


def test_a_real_measurement(empty_cache, always):
    plan = simulation().plan(40, eval_every=40)
    assert plan.how == "measured"
    assert [*plan.seconds] == ["fast"]  # the only one on a CPU
    assert plan.form_how == "judged"
    assert plan.block in plan.seconds["fast"]
    assert len(plan.seconds["fast"]) >= 2
    assert "ms a round with" in str(plan)
    assert plan.devices == 1
    assert plan.balance == 1


def test_short_runs_and_given_blocks_measure_nothing(empty_cache, monkeypatch):
    monkeypatch.setattr(tuning.Stopwatch, "__call__", None)
    assert simulation().plan(5).how == "judged"
    monkeypatch.setattr(tuning, "WORTHWHILE", 0.0)
    assert simulation(block=2).plan(40).how == "given"
    assert not empty_cache.exists()


def test_blocks_change_nothing_but_roundings():
    runs = [simulation(block=block).run(2, progress=False) for block in (1, 16)]
    same(runs[0].variables, runs[1].variables, rtol=1e-5)


def test_a_folder_that_cannot_be_used_is_no_error(empty_cache):
    empty_cache.write_text("a file where the folder should be")
    choices.keep("name", 3)
    assert choices.recall("name") == 3
    assert choices.recall("other") is None
    empty_cache.unlink()
    empty_cache.mkdir()
    (empty_cache / "choices.json").write_text("no json")
    assert choices.recall("other") is None
    choices.keep("other", 4)
    assert json.loads((empty_cache / "choices.json").read_text()) == {"other": 4}


def test_the_place_of_the_file(monkeypatch):
    monkeypatch.delenv("JAXFED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert str(choices.location()) == "/some/where/jaxfed/choices.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(choices.location()) == "/home/someone/.cache/jaxfed/choices.json"


def test_names_do_not_depend_on_addresses():
    assert choices.name_of("<function at 0x7f01>", 3) == choices.name_of("<function at 0x1234>", 3)
    assert choices.name_of("a") != choices.name_of("b")
