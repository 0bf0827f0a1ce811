"""Blocks that are judged, and those that are measured on request."""

import itertools
import math

import jax
import numpy as np
import optax
import pytest
from federations import hospitals, same

import jaxfed
from jaxfed.core.errors import InvalidInput
from jaxfed.core.layout.plan import place
from jaxfed.models import logistic
from jaxfed.runtime import cache
from jaxfed.training import judgement, tuning

MANY = tuple(range(1, 41))
pytestmark = [
    pytest.mark.filterwarnings("ignore:no hospital has test rows of both classes"),
]


@pytest.fixture
def gpu(monkeypatch):
    """Blocks are judged as on a GPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def simulation(**how):
    rate = jaxfed.optimizer(optax.sgd, learning_rate=0.1)
    data = hospitals(MANY, test=1)
    how = {"model": logistic(), "client_optimizer": rate, "batch_size": 1, "splits": ("test",), **how}
    return jaxfed.Simulation(data, devices=1, **how)


def test_candidates():
    assert judgement.candidates(1) == [1]
    assert judgement.candidates(10) == [1, 2, 4, 8]
    assert judgement.candidates(1000) == [1, 2, 4, 8, 16]


def test_candidates_on_a_gpu(gpu):
    assert judgement.candidates(1) == [1]
    assert judgement.candidates(1000) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]


def judged(work, flop):
    return judgement.judged(np.array(work), place(np.array(work), devices=1, block=1), flop)


def test_small_steps_run_side_by_side_and_large_ones_alone():
    equal, ragged = [20] * 64, [1000, 100, 50, 20, 10, 5, 2, 1]
    assert judged(equal, 1e4) > 2
    assert judged(equal, 1e8) == 1
    assert judged(ragged, 1e6) == 1  # most of a block would wait for its largest member
    assert judged([20] * 7, 1e4) == 1


def test_on_a_gpu_small_steps_run_all_together(gpu):
    assert judged([20] * 64, 1e4) == 64
    assert judged([20] * 64, 1e11) == 1  # a single hospital fills the card


def test_expected_seconds_follow_the_longest_of_each_block():
    work = np.array([7, 5, 3, 2, 1])
    alone = place(work, devices=1, block=1)
    step = judgement.OPERATIONS + 2 * (judgement.HOSPITAL + 1e6 / judgement.RATE)
    assert judgement.expected(work, alone, 1e6, 2) == pytest.approx((7 + 3 + 1) * step)


def test_the_busiest_device_counts():
    work = np.array([8, 1, 1, 1])
    two = place(work, devices=2, block=1)
    step = judgement.OPERATIONS + judgement.HOSPITAL
    assert judgement.expected(work, two, 0.0, 1) == pytest.approx(8 * step)


@pytest.mark.parametrize(
    ("start", "tried"),
    [(2, [2, 4, 8]), (8, [8, 16, 4, 2]), (4, [4, 8, 2]), (1, [1, 2, 4, 8]), (3, [2, 4, 8])],
)
def test_candidates_are_tried_until_it_gets_slower(start, tried):
    times = {1: 9.0, 2: 5.0, 4: 3.0, 8: 4.0, 16: 8.0}
    best, found = judgement.fastest([1, 2, 4, 8, 16], start, times.__getitem__)
    assert best == 4
    assert [*found] in (tried, [*tried[:-1]])


def test_a_candidate_that_was_timed_on_a_busy_machine_is_timed_again():
    times = {2: [3.0, 3.0], 4: [9.0, 2.0], 8: [1.0, 1.1], 16: [1.5, 1.6]}
    best, found = judgement.fastest([1, 2, 4, 8, 16], 2, lambda block: times[block].pop(0))
    assert (best, found) == (8, {2: 3.0, 4: 2.0, 8: 1.0, 16: 1.5})


def test_blocks_that_do_not_fit_are_not_timed_again():
    asked = []

    def seconds(block):
        asked.append(block)
        return {1: 2.0, 2: 1.0}.get(block, math.inf)

    assert judgement.fastest([1, 2, 4, 8], 2, seconds)[0] == 2
    assert asked.count(4) == 1
    assert 8 not in asked
    assert judgement.fastest([4, 8], 4, seconds)[1] == {4: math.inf, 8: math.inf}


def test_the_first_call_is_not_timed(monkeypatch):
    clock = itertools.accumulate([0.0, 5.0, 0.0, 2.0, 0.0, 3.0])
    monkeypatch.setattr(judgement.time, "perf_counter", lambda: next(clock))
    calls = []
    assert judgement.least_seconds(lambda: calls.append(0)) == 2.0
    assert len(calls) == 4


def test_nothing_is_measured_unless_asked(monkeypatch):
    """Equal calls give equal bits: a run takes the judged block, or the one given."""
    monkeypatch.setattr(tuning, "seconds", None)
    monkeypatch.setattr(judgement, "least_seconds", None)
    judged = simulation()
    plan = judged.plan(1000)
    assert (plan.how, plan.form_how) == ("judged", "judged")
    assert [plan.block] == judgement.judged_blocks(judged)
    assert judged.run(1, progress=False).provenance["blocks"] == [plan.block]
    given = simulation(block=2).plan(1000)
    assert (given.how, given.block) == ("given", 2)


def test_the_fastest_block_is_taken(monkeypatch):
    measured = {1: 3.0, 2: 2.0, 4: 1.0, 8: 2.0, 16: 9.0}
    asked = []

    def seconds(spec, rounds, block):
        asked.append((spec.form, block, rounds))
        return measured[block]

    monkeypatch.setattr(tuning, "seconds", seconds)
    found = simulation().tuned(3)
    assert (found.block, found.form) == (4, "fast")  # the only form on a CPU
    assert {(form, rounds) for form, _, rounds in asked} == {("fast", 3)}
    assert found.plan(1).how == "given"
    assert found.run(1, progress=False).provenance["blocks"] == [4]


def test_a_given_block_is_the_only_one_tried(monkeypatch):
    monkeypatch.setattr(tuning, "seconds", lambda spec, rounds, block: {2: 1.0}[block])
    assert simulation(block=2).tuned().block == 2


def test_the_faster_form_is_taken(monkeypatch):
    monkeypatch.setattr(tuning, "forms", lambda spec: ("native", "fast"))
    times = {("native", 8): 2.0, ("fast", 4): 1.0}
    monkeypatch.setattr(
        tuning, "seconds", lambda spec, rounds, block: times.get((spec.form, block), 3.0 + block)
    )
    found = simulation().tuned()
    assert found.form == "native" or found.block == 4
    assert times[found.form, found.block] == min(
        times[form, block] for form, block in times if form == found.form
    )


def test_no_block_fits(monkeypatch):
    monkeypatch.setattr(tuning, "seconds", lambda spec, rounds, block: math.inf)
    with pytest.raises(InvalidInput, match="tuned: no block fits into memory"):
        simulation().tuned()


def test_a_real_measurement(monkeypatch):
    """Two blocks with the real program; the run with the faster has the numbers of any other."""
    monkeypatch.setattr(tuning, "candidates", lambda longest: [1, 16])
    timed = {}

    def noted(blocks, start, seconds):
        timed.update({block: seconds(block) for block in blocks})
        return min(timed, key=timed.__getitem__), timed

    monkeypatch.setattr(tuning, "fastest", noted)
    found = simulation().tuned(2)
    assert set(timed) == {1, 16}
    assert all(0 < seconds < 60 for seconds in timed.values())
    assert found.block == min(timed, key=timed.__getitem__)


def test_a_block_that_needs_too_much_memory_takes_forever(monkeypatch):
    monkeypatch.setenv("JAXFED_MEMORY", "1.35e4")  # the rows need 13.1 kB
    assert tuning.seconds(simulation(), 1, 1) == math.inf


def test_blocks_change_nothing_but_roundings():
    runs = [simulation(block=block).run(2, progress=False) for block in (1, 16)]
    same(runs[0].variables, runs[1].variables, rtol=1e-5)


def test_the_place_of_the_folder(monkeypatch):
    monkeypatch.setenv("JAXFED_CACHE", "/given")
    assert str(cache.location()) == "/given"
    monkeypatch.delenv("JAXFED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert str(cache.location()) == "/some/where/jaxfed"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(cache.location()) == "/home/someone/.cache/jaxfed"


@pytest.fixture
def config():
    """What would be set of jax's configuration, instead of setting it; nobody has set up a cache."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    changes = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.config, "update", changes.__setitem__)
        yield changes
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def set_up_cache(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_in_a_folder_of_the_processor(config, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXFED_CACHE", str(tmp_path))
    cache.keep_compiled_programs()
    assert config["jax_compilation_cache_dir"] == str(tmp_path / cache.processor())
    assert (tmp_path / cache.processor()).is_dir()


def test_a_cache_that_a_user_has_set_up_is_left_as_it_is(set_up_cache):
    before = jax.config.jax_compilation_cache_dir
    cache.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == before


def test_a_cache_that_is_switched_off_or_cannot_be_used_is_no_error(config, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXFED_CACHE", "off")
    cache.keep_compiled_programs()
    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv("JAXFED_CACHE", str(tmp_path / "file"))
    cache.keep_compiled_programs()
    assert config == {}


def test_programs_of_other_flags_are_kept_apart(monkeypatch):
    here = cache.processor()
    monkeypatch.setenv("XLA_FLAGS", "--xla_another=1")
    assert cache.processor() != here
