"""The form of convolutions as part of the plan: given, judged, or measured as on a GPU, on request."""

import jax
import numpy as np
import optax
import pytest
from federations import same
from flax import linen as nn

import jaxfed
from jaxfed.models import logistic
from jaxfed.training import judgement, tuning


class Net(nn.Module):
    """One convolution and pooling."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(2, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(1)(x.reshape(len(x), -1))


def simulation(model=None, **how):
    rng = np.random.default_rng(0)
    sizes = {"a": 30, "b": 20, "c": 9}
    images = {name: rng.normal(size=(n, 4, 4, 1)) for name, n in sizes.items()}
    data = jaxfed.data.from_arrays(
        {name: (x, (x.sum((1, 2, 3)) > 0).astype(int)) for name, x in images.items()}, split=(0.8, 0.0, 0.2)
    )
    rate = jaxfed.optimizer(optax.sgd, learning_rate=0.1)
    how = {"client_optimizer": rate, "batch_size": 8, "splits": ("test",), "devices": 1, **how}
    return jaxfed.Simulation(data, model=model or Net(), **how)


@pytest.fixture
def gpu(monkeypatch):
    """What is asked for the platform hears of a GPU; everything runs here."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def times(monkeypatch, **seconds):
    """What the stopwatch shows for each form; a block of 2 is best. The list gets what is timed."""
    timed = []

    def show(spec, rounds, block):
        timed.append((spec.form, block))
        return seconds[spec.form] + 0.1 * abs(block - 2)

    monkeypatch.setattr(tuning, "seconds", show)
    return timed


def never(*arguments):
    raise AssertionError("measured")


def test_both_forms_are_timed_on_a_gpu(gpu, monkeypatch):
    shown, seconds = {}, tuning.seconds

    def watched(spec, rounds, block):
        found = seconds(spec, rounds, block)
        shown[spec.form, block] = min(found, shown.get((spec.form, block), found))
        return found

    monkeypatch.setattr(tuning, "seconds", watched)
    sim = simulation().tuned(2)
    assert {form for form, _ in shown} == {"native", "fast"}
    assert (sim.form, sim.block) == min(shown, key=shown.get)
    plan = sim.plan(4)
    assert (plan.how, plan.form_how, plan.block, plan.form) == ("given", "given", sim.block, sim.form)
    assert f"form      {sim.form} operations (given)" in str(plan)


@pytest.mark.parametrize(("times_of", "best"), [((3.0, 2.0), "fast"), ((2.0, 3.0), "native")])
def test_the_faster_one_is_used(gpu, monkeypatch, times_of, best):
    times(monkeypatch, native=times_of[0], fast=times_of[1])
    sim = simulation().tuned(4)
    monkeypatch.setattr(tuning, "seconds", never)
    run = sim.run(4, progress=False)
    assert run.provenance["form"] == best
    assert run.provenance["blocks"] == [2]


def test_nothing_is_measured_unless_that_is_asked_for(gpu, monkeypatch):
    monkeypatch.setattr(tuning, "seconds", never)
    monkeypatch.setattr(judgement, "least_seconds", never)
    plan = simulation().plan(1000)
    assert (plan.how, plan.form, plan.form_how) == ("judged", "native", "judged")
    assert simulation().run(4, progress=False).provenance["form"] == "native"


def test_what_is_given_is_no_candidate(gpu, monkeypatch):
    timed = times(monkeypatch, native=3.0, fast=2.0)
    sim = simulation(form="native").tuned(4)
    assert (sim.form, sim.block) == ("native", 2)
    assert {form for form, _ in timed} == {"native"}
    timed.clear()
    sim = simulation(block=3).tuned(4)
    assert (sim.form, sim.block) == ("fast", 3)
    assert {*timed} == {("native", 3), ("fast", 3)}
    plan = simulation(form="native", block=3).plan(4)
    assert (plan.form, plan.form_how, plan.block, plan.how) == ("native", "given", 3, "given")


def test_without_convolutions_and_on_a_cpu_there_is_one_form(gpu, monkeypatch):
    timed = times(monkeypatch, native=3.0, fast=2.0)
    assert simulation(logistic()).tuned(4).form == "native"
    assert {form for form, _ in timed} == {"native"}
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    timed.clear()
    assert simulation(block=2).tuned(4).form == "fast"
    assert {form for form, _ in timed} == {"fast"}
    assert simulation(block=2).plan(4).form == "fast"


def test_a_run_goes_on_in_its_form(gpu, monkeypatch, tmp_path):
    times(monkeypatch, native=3.0, fast=2.0)
    tuned = simulation().tuned(4)
    whole = tuned.run(3, progress=False)
    first = tuned.run(2, checkpoint=tmp_path / "run", progress=False)
    times(monkeypatch, native=1.0, fast=2.0)  # it would be another form now
    other = simulation().tuned(4)
    assert other.form == "native"
    for run in (
        tuned.run(3, checkpoint=tmp_path / "run", progress=False),
        tuned.run(1, resume=first, progress=False),
    ):
        assert run.provenance["form"] == "fast"
        same(run.variables, whole.variables)
    with pytest.raises(jaxfed.CheckpointError, match="form: 'fast' there, 'native' here"):
        other.run(3, checkpoint=tmp_path / "run", progress=False)
    with pytest.raises(jaxfed.InvalidInput, match="that run has other form"):
        other.run(1, resume=first, progress=False)


def test_forms_change_nothing_but_roundings():
    runs = [simulation(form=form).run(2, progress=False) for form in ("fast", "native")]
    assert [run.provenance["form"] for run in runs] == ["fast", "native"]
    same(runs[0].variables, runs[1].variables, rtol=1e-4)


def test_a_form_that_there_is_not():
    with pytest.raises(jaxfed.InvalidInput, match="form='patches': give 'fast', 'native', or None"):
        simulation(form="patches")
