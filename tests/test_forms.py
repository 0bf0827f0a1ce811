"""The form of convolutions as part of the plan: given, measured as on a GPU, remembered, used again."""

import jax
import numpy as np
import optax
import pytest
from federations import same
from flax import linen as nn
from jaxfed.training.federated import Federated

import jaxfed
from jaxfed.models import logistic
from jaxfed.runtime import cache as choices
from jaxfed.training import autotune as tuning

pytestmark = pytest.mark.usefixtures("quick_compilation")


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


@pytest.fixture(autouse=True)
def worthwhile(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choices, "known", {})
    monkeypatch.setattr(Federated, "_worthwhile", lambda self, rounds: True)
    monkeypatch.setattr(tuning, "SAMPLE", 1e-3)


@pytest.fixture
def gpu(monkeypatch):
    """What is asked for the platform hears of a GPU; everything runs here."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def times(monkeypatch, **seconds):
    """What the stopwatch shows for each form; a block of 2 is best."""

    def show(self, recipe, plan, *rest):
        form = recipe.local.problem.model.form or "native"
        return seconds[form] + 0.1 * abs(plan.block - 2)

    monkeypatch.setattr(tuning.Stopwatch, "__call__", show)


def test_both_forms_are_timed_on_a_gpu(gpu):
    plan = simulation().plan(4)
    assert (plan.how, plan.form_how) == ("measured", "measured")
    assert set(plan.seconds) == {"native", "fast"}
    assert plan.form == min(plan.seconds, key=lambda form: min(plan.seconds[form].values()))
    assert plan.seconds[plan.form][plan.block] == min(plan.seconds[plan.form].values())
    assert f"form      {plan.form} operations (measured)" in str(plan)
    assert f"with fast, {min(plan.seconds['fast'])} side by side" in str(plan)


@pytest.mark.parametrize(("times_of", "best"), [((3.0, 2.0), "fast"), ((2.0, 3.0), "native")])
def test_the_faster_one_is_used_and_remembered(gpu, monkeypatch, times_of, best):
    times(monkeypatch, native=times_of[0], fast=times_of[1])
    run = simulation().run(4, progress=False)
    assert run.provenance["form"] == best
    assert run.provenance["block"] == 2
    monkeypatch.setattr(tuning.Stopwatch, "__call__", None)  # nothing is timed again
    choices.known.clear()  # another process
    plan = simulation().plan(4)
    assert (plan.form, plan.form_how, plan.block, plan.how) == (best, "remembered", 2, "remembered")


def test_what_is_given_is_no_candidate(gpu, monkeypatch):
    times(monkeypatch, native=3.0, fast=2.0)
    plan = simulation(form="native").plan(4)
    assert (plan.form, plan.form_how, plan.how) == ("native", "given", "measured")
    assert set(plan.seconds) == {"native"}
    plan = simulation(block=3).plan(4)
    assert (plan.form, plan.form_how, plan.block, plan.how) == ("fast", "measured", 3, "given")
    assert {form: set(column) for form, column in plan.seconds.items()} == {"native": {3}, "fast": {3}}
    monkeypatch.setattr(tuning.Stopwatch, "__call__", None)
    assert simulation(form="native", block=3).plan(4).how == "given"


def test_without_convolutions_and_on_a_cpu_there_is_one_form(gpu, monkeypatch):
    times(monkeypatch, native=3.0, fast=2.0)
    plan = simulation(logistic()).plan(4)
    assert (plan.form, plan.form_how) == ("native", "judged")
    assert set(plan.seconds) == {"native"}
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(tuning.Stopwatch, "__call__", None)
    assert simulation(block=2).plan(4).form == "fast"


def test_a_run_goes_on_in_its_form(gpu, monkeypatch, tmp_path):
    times(monkeypatch, native=3.0, fast=2.0)
    whole = simulation().run(3, progress=False)
    kept = simulation().run(2, checkpoint=tmp_path / "run", progress=False)
    times(monkeypatch, native=1.0, fast=2.0)  # and forgotten: it would be another one now
    choices.keep(next(iter(choices.known)), {"native": {"1": 0.1}})
    assert simulation().plan(4).form == "native"
    for run in (
        simulation().run(3, checkpoint=tmp_path / "run", progress=False),
        simulation().run(1, resume=kept, progress=False),
    ):
        assert run.provenance["form"] == "fast"
        same(run.variables, whole.variables)


def test_forms_change_nothing_but_roundings():
    runs = [simulation(form=form).run(2, progress=False) for form in ("fast", "native")]
    assert [run.provenance["form"] for run in runs] == ["fast", "native"]
    same(runs[0].variables, runs[1].variables, rtol=1e-4)


def test_a_form_that_there_is_not():
    with pytest.raises(jaxfed.InvalidInput, match="form='patches': give 'fast', 'native', or None"):
        simulation(form="patches")
