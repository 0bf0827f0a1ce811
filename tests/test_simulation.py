"""What users hold: runs, interruptions, baselines, and errors before anything is compiled."""

import os
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from federations import hospitals, same

import jaxfed
from jaxfed import FedAvg, FedSGD, FixedCohort, InvalidInput, LocalOnly, Poisson, Simulation
from jaxfed.core.engine import runs as engine
from jaxfed.core.engine import slots
from jaxfed.models import logistic, mlp
from jaxfed.records.recorder import Recorder
from jaxfed.training import stretch as stretches
from jaxfed.training.trainer import Trainer

SMALL = {"model": logistic(), "batch_size": None, "splits": ("test",), "devices": 1}


def simulation(data=None, **changes):
    return Simulation(data or hospitals(test=6), **{**SMALL, **changes})


def quiet(sim, rounds, **how):
    return sim.run(rounds, progress=False, **how)


@pytest.fixture(scope="module")
def sim():
    """Partial participation and a server with memory."""
    algorithm = FedAvg(jaxfed.optimizer(optax.sgd, learning_rate=0.8, momentum=0.5))
    return simulation(algorithm=algorithm, participation=Poisson(0.6), batch_size=4)


@pytest.fixture(scope="module")
def whole(sim):
    return quiet(sim, 7, eval_every=3)


def equal_runs(a, b):
    """Bit for bit: model, state, training log and the evaluations that both have."""
    same(a.variables, b.variables)
    same(a.state, b.state)
    same(a.history.training, b.history.training)
    np.testing.assert_array_equal(a.history.refused, b.history.refused)
    both, i, j = np.intersect1d(a.history.evaluated, b.history.evaluated, return_indices=True)
    assert len(both) > 1
    for name in a.history.single:
        np.testing.assert_array_equal(a.history.single[name][i], b.history.single[name][j])
        np.testing.assert_array_equal(a.history.pooled[name][i], b.history.pooled[name][j])


def test_evaluations_at_the_start_at_every_mark_and_at_the_end(whole):
    assert whole.history.evaluated.tolist() == [0, 3, 6, 7]
    frame = whole.to_frame()
    assert frame["round"].tolist() == [0, 3, 6, 7]
    present = whole.history.training["present"]
    assert present.shape == (7, 5)
    assert frame["present_per_round"].iloc[1] == present[:3].sum() / 3
    assert frame["present_per_round"].iloc[3] == present[6:].sum()


def test_cut_and_continued(sim, whole):
    first = quiet(sim, 3, eval_every=3)
    kept = jax.tree.map(np.array, first.state.server)
    joined = quiet(sim, 4, eval_every=3, resume=first)
    equal_runs(joined, whole)
    assert joined.history.evaluated.tolist() == [0, 3, 6, 7]
    assert joined.config["rounds"] == 7
    same(jax.tree.map(np.asarray, first.state.server), kept)  # the first run can be used again
    assert quiet(sim, 0, eval_every=3, resume=first).history.evaluated.tolist() == [0, 3]


def test_the_distance_of_evaluations_changes_nothing(sim, whole):
    equal_runs(quiet(sim, 7, eval_every=2), whole)


def test_a_resumed_run_keeps_its_seed(sim):
    first = quiet(sim, 3, eval_every=3, seed=4)
    joined = quiet(sim, 4, eval_every=3, resume=first)
    assert joined.config["seed"] == 4
    equal_runs(joined, quiet(sim, 7, eval_every=3, seed=4))


def test_ctrl_c_in_the_middle_of_rounds(sim, whole, monkeypatch):
    """A real signal while the old state is already given away: the rounds in progress still count."""
    calls, advance = [], Trainer.advance

    def interrupted(self, given, slot, stretch, *, fresh):
        calls.append(int(stretch.rounds.sum()))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, given, slot, stretch, fresh=fresh)

    monkeypatch.setattr(stretches, "SECONDS", 0.0)  # a round in a call
    monkeypatch.setattr(Trainer, "advance", interrupted)
    before = signal.getsignal(signal.SIGINT)
    part = quiet(sim, 7, eval_every=3)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    done = sum(calls)
    assert 0 < done < 7
    assert part.config["rounds"] == int(part.state.round[0]) == done
    assert part.history.evaluated[-1] == done
    assert len(part.history.refused) == len(part.history.training["loss"]) == done
    equal_runs(quiet(sim, 7 - done, eval_every=3, resume=part), whole)


@pytest.mark.parametrize(("owner", "place"), [(Trainer, "advance"), (Recorder, "headline")])
def test_an_interrupt_raised_between_rounds(sim, whole, monkeypatch, owner, place):
    calls, function = [], getattr(owner, place)

    def interrupted(self, *arguments, **how):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return function(self, *arguments, **how)

    monkeypatch.setattr(stretches, "SECONDS", 0.0)
    monkeypatch.setattr(owner, place, interrupted)
    part = quiet(sim, 7, eval_every=3)
    monkeypatch.undo()
    done = part.config["rounds"]
    assert 0 < done < 7
    assert int(part.state.round[0]) == part.history.evaluated[-1] == len(part.history.refused) == done
    equal_runs(quiet(sim, 7 - done, eval_every=3, resume=part), whole)


def test_user_arrays_are_theirs():
    data = hospitals(test=6)
    x, y = data.x.copy(), data.y.copy()
    sim = simulation(data)
    run = quiet(sim, 2)
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.y, y)
    data.x[:] = np.nan
    data.y[:] = 0
    with pytest.warns(UserWarning, match="no hospital has test rows of both classes"):
        same(quiet(sim, 2).variables, run.variables)


def test_initial_variables(sim, whole):
    start = quiet(sim, 0, seed=3).variables
    again = quiet(sim, 7, eval_every=3, initial=start, seed=0)
    frame, other = again.to_frame(), whole.to_frame()
    assert frame["log_loss"].iloc[0] == quiet(sim, 0, seed=3).to_frame()["log_loss"].iloc[0]
    assert frame["log_loss"].iloc[0] != other["log_loss"].iloc[0]
    np.testing.assert_array_equal(again.history.training["present"], whole.history.training["present"])
    same(start, quiet(sim, 0, seed=3).variables)  # not donated


def test_pooled_and_one_hospital():
    one = hospitals((30,), test=10)
    alone, pooled = simulation(one), simulation(one).pooled()
    named = one.replace(hospitals=("pooled",))
    same(quiet(pooled, 3).variables, quiet(simulation(named), 3).variables)
    assert quiet(alone, 3).hospitals().shape == (1, 9)


def test_pooled_trains_on_all_rows_and_is_evaluated_per_hospital():
    data = hospitals(test=6)
    run = quiet(simulation(data, batch_size=None, devices=2, client_optimizer=RATE).pooled(), 5)
    federated = quiet(simulation(data, algorithm=FedSGD(RATE), batch_size=None), 5)
    same(run.variables, federated.variables, rtol=1e-4)
    frame, other = run.hospitals(), federated.hospitals()
    assert list(frame.index) == list(data.hospitals)
    np.testing.assert_allclose(frame["log_loss"], other["log_loss"], rtol=1e-4)


RATE = jaxfed.optimizer(optax.sgd, learning_rate=0.3)


def test_local_only_evaluates_each_hospital_with_its_own_model():
    data = hospitals((11, 4, 7), test=6)
    layouts = [{}, {"devices": 2, "block": 2}]
    runs = [quiet(simulation(data, **layout).local_only(), 3) for layout in layouts]
    assert runs[0].personal
    for name in data.hospitals[:2]:
        alone = quiet(simulation(data.select([name])), 3)
        c = data.hospitals.index(name)
        for run in runs:
            same(jax.tree.map(lambda leaf: leaf[c], run.variables), alone.variables, rtol=1e-5)  # noqa: B023
            np.testing.assert_allclose(run.hospitals().loc[name], alone.hospitals().loc[name], rtol=1e-5)


def test_evaluate_on_other_hospitals():
    """Even if they are fewer than those that train on several devices."""
    data = hospitals(test=6)
    few = data.select([data.hospitals[3]])
    run = quiet(simulation(data, devices=4, evaluate_on=few), 2)
    expected = quiet(simulation(data), 2).hospitals().loc[data.hospitals[3]]
    found = run.hospitals().loc[data.hospitals[3]]
    np.testing.assert_allclose(found, expected[found.index], rtol=1e-5)


def test_evaluate_a_model(sim, whole):
    frame = sim.evaluate(whole.variables)
    np.testing.assert_array_equal(frame, whole.hospitals()[frame.columns])


@pytest.mark.filterwarnings("ignore:1 hospitals have no test rows")
def test_evaluation_is_the_same_for_all_layouts(whole):
    data = hospitals((11, 0, 7, 1, 9), test=6)
    variables = whole.variables
    tables = [
        simulation(data, devices=devices, block=block, splits=("test",)).evaluate(variables)
        for devices, block in ((1, 1), (2, 2), (4, 1))
    ]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], rtol=1e-5)
    assert np.isnan(tables[0].loc["hospital 1", "log_loss"])
    x, y, split = data.rows("hospital 4")
    logit = x[split == 2] @ variables.params["head"]["kernel"] + variables.params["head"]["bias"]
    loss = np.mean(np.logaddexp(0, logit[:, 0]) - y[split == 2] * logit[:, 0])
    assert tables[0].loc["hospital 4", "log_loss"] == pytest.approx(loss, rel=1e-5)


def test_more_rows_than_are_evaluated_at_once():
    """A shared model takes thousands of rows at a time, a personal one some hundred."""
    data = hospitals((5, 4), test=3000)
    shared, own = (quiet(simulation(data, algorithm=a), 0) for a in (FedAvg(), LocalOnly()))
    dense = shared.variables.params["head"]
    for run in (shared, own):
        for name in data.hospitals:
            x, y, split = data.rows(name)
            logit = (x[split == 2] @ dense["kernel"] + dense["bias"])[:, 0]
            loss = np.mean(np.logaddexp(0, logit) - y[split == 2] * logit)
            assert run.hospitals().loc[name, "log_loss"] == pytest.approx(loss, rel=1e-5)


def test_64_bits(x64):
    """Mini-batches, blocks, devices and personal models, all in float64."""
    data = hospitals((7, 4, 5), test=6)
    run = quiet(simulation(data, devices=2, block=2, algorithm=LocalOnly(), batch_size=4), 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(run.variables)} == {np.dtype(np.float64)}
    assert run.history.single["log_loss"].dtype == np.float64
    assert np.isfinite(run.history.pooled["log_loss"]).all()


def test_numpy_numbers_are_numbers(sim, tmp_path):
    run = quiet(sim, np.int64(2), seed=np.int32(1), eval_every=np.int64(3))
    assert run.save(tmp_path / "run").exists()
    assert type(run.config["rounds"]) is int


# --- errors, before anything is compiled


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(x))


NAN = float("nan")
BAD = {
    "epochs": ({"epochs": 0}, "epochs=0", ">= 1"),
    "steps": ({"steps": -3}, "steps=-3", ">= 1"),
    "epochs and steps": ({"epochs": 1, "steps": 2}, "epochs=1 and steps=2", "one of them"),
    "batch size": ({"batch_size": 0}, "batch_size=0", "or None"),
    "batch size 2.5": ({"batch_size": 2.5}, "batch_size=2.5", "whole number"),
    "l2": ({"l2": -1.0}, "l2=-1.0", ">= 0"),
    "l2 nan": ({"l2": NAN}, "l2=nan", ">= 0"),
    "weights of all": ({"weights": 2.0}, "weights=2.0", "per_hospital"),
    "weights negative": ({"weights": jaxfed.per_hospital([1, 1, 1, 1, -1])}, "weights=", ">= 0"),
    "weights nan": ({"weights": jaxfed.per_hospital([1, 1, 1, 1, NAN])}, "weights=", ">= 0"),
    "weights zero": ({"weights": jaxfed.per_hospital([0, 0, 0, 0, 0])}, "weights=", "not all of them 0"),
    "cohort too large": ({"participation": FixedCohort(9)}, "size=9", "1 to 5"),
    "cohort zero": ({"participation": FixedCohort(0)}, "size=0", "1 to 5"),
    "rate 1.5": ({"participation": Poisson(1.5)}, "rate=1.5", "at most 1"),
    "rate nan": ({"participation": Poisson(NAN)}, "rate=nan", "probability"),
    "rate 0": ({"participation": Poisson(0.0)}, "rate=0.0", "above 0"),
    "no participation": ({"participation": 0.5}, "participation=0.5", "Poisson"),
    "algorithm by name": ({"algorithm": "fedavg"}, "algorithm='fedavg'", "FedAvg()"),
    "algorithm class": ({"algorithm": FedAvg}, "algorithm=", "FedAvg()"),
    "aggregator": ({"aggregator": "mean"}, "aggregator='mean'", "WeightedMean()"),
    "split": ({"splits": ("tset",)}, "tset", "train, validation, test"),
    "no splits": ({"splits": ()}, "splits=()", "at least one"),
    "devices": ({"devices": 0}, "devices=0", ">= 1"),
    "too many devices": ({"devices": 64}, "devices=64", "smaller number"),
    "block": ({"block": 0}, "block=0", ">= 1"),
    "client optimizer": ({"client_optimizer": optax.sgd(0.1)}, "client_optimizer", "describe it"),
    "model": ({"model": 3}, "model=3", "linen"),
    "width": ({"model": mlp().clone(outputs=3)}, "width 3", "one logit"),
    "loss of the batch": ({"loss": lambda outputs, y: outputs.mean()}, "loss", "per example"),
    "loss that fails": ({"loss": lambda outputs, y: outputs @ y}, "loss", "per example"),
    "batch norm and whole hospitals": (
        {"model": Normed(), "batch_size": None},
        "batch statistics",
        "batch_size",
    ),
    "personal models elsewhere": (
        {"algorithm": LocalOnly(), "evaluate_on": hospitals((3, 4), test=6)},
        "evaluate_on",
        "LocalOnly",
    ),
    "other features": ({"evaluate_on": hospitals(d=5, test=6)}, "evaluate_on", "features"),
}


@pytest.fixture
def no_rounds(monkeypatch):
    def refuse(*arguments, **how):
        raise AssertionError("compiled before the check")

    monkeypatch.setattr(engine, "advance", refuse)
    for program in ("empty", "filled"):
        monkeypatch.setattr(slots, program, refuse)


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name, no_rounds):
    changes, value, remedy = BAD[name]
    with pytest.raises(InvalidInput) as error:
        simulation(**changes)
    assert value in str(error.value)
    assert remedy in str(error.value)


def test_several_problems_in_one_message():
    with pytest.raises(InvalidInput) as error:
        simulation(epochs=0, participation=Poisson(1.5), splits=("tset",))
    text = str(error.value)
    assert text.startswith("Simulation: 3 problems")
    assert all(part in text for part in ("epochs=0", "rate=1.5", "tset"))


def test_missing_features_are_named_by_hospital():
    data = hospitals(test=6)
    x = data.x.copy()
    x[data.owner == 1, 2] = np.nan
    x[-1, 0] = np.inf
    with pytest.raises(InvalidInput) as error:
        simulation(data.replace(x=x, features=("age", "sex", "chol")))
    text = str(error.value)
    assert "'hospital 1': feature 'chol' has 10" in text
    assert "'hospital 4': feature 'age' has 1" in text
    assert "impute" in text


def test_regression_of_another_width(no_rounds):
    with pytest.raises(InvalidInput, match=r"width 3.*need 1"):
        simulation(hospitals(test=6, task="regression"), model=mlp().clone(outputs=3))


def test_no_training_rows(no_rounds):
    data = hospitals(test=6)
    with pytest.raises(InvalidInput, match="no hospital has training rows"):
        simulation(data.replace(split=np.full_like(data.split, 2)))


def test_not_a_dataset(no_rounds):
    with pytest.raises(InvalidInput, match="from_arrays"):
        Simulation({"north": (np.zeros((3, 2)), np.zeros(3))})


def test_hospitals_without_test_rows_are_listed():
    data = hospitals(test=6)
    split = np.where(data.owner == 2, 0, data.split)
    with pytest.warns(UserWarning, match="1 hospitals have no test rows.*hospital 2"):
        simulation(data.replace(split=split))


@pytest.mark.parametrize(
    ("how", "value"),
    [
        ({"rounds": -1}, "rounds=-1"),
        ({"rounds": 2.0}, "rounds=2.0"),
        ({"rounds": 1, "eval_every": 0}, "eval_every=0"),
        ({"rounds": 1, "seed": -1}, "seed=-1"),
        ({"rounds": 1, "seed": 2**40}, f"seed={2**40}"),
        ({"rounds": 1, "initial": jaxfed.Variables({"w": np.zeros(3)}, {})}, "initial"),
    ],
)
def test_bad_arguments_of_run(sim, how, value, no_rounds):
    with pytest.raises(InvalidInput) as error:
        sim.run(**how, progress=False)
    assert value in str(error.value)


def test_resume_of_another_simulation(sim, whole, no_rounds):
    for other in (
        sim.replace(algorithm=FedAvg()),
        sim.replace(model=mlp(3)),
        sim.replace(splits=("train", "test")),
        sim.replace(hospitals=sim.hospitals.select(sim.hospitals.hospitals[:3])),
    ):
        with pytest.raises(InvalidInput, match="resume"):
            quiet(other, 1, resume=whole)
    with pytest.raises(InvalidInput, match="one of them"):
        quiet(sim, 1, resume=whole, initial=whole.variables)


def test_resume_on_other_devices():
    """Hospitals' own states lie on devices: another layout cannot take them over unseen."""
    sim = simulation(algorithm=LocalOnly())
    first = quiet(sim, 1)
    with pytest.raises(InvalidInput, match="resume"):
        quiet(sim.replace(devices=2), 1, resume=first)


def test_optimizers_are_described_with_care():
    with pytest.raises(InvalidInput, match="no argument learning_rat") as error:
        jaxfed.optimizer(optax.sgd, learning_rat=0.1)
    assert "needs learning_rate" in str(error.value)
    for value in (-0.1, NAN, np.float32("nan"), np.float32(-1)):
        with pytest.raises(InvalidInput, match="learning_rate="):
            jaxfed.optimizer(optax.sgd, learning_rate=value)
    with pytest.raises(InvalidInput, match="not a factory"):
        jaxfed.optimizer(optax.sgd(0.1))
    described = jaxfed.optimizer(
        optax.adam, learning_rate=np.float32(0.1), b1=jnp.float32(0.8), nesterov=True
    )
    assert sorted(described.numbers) == ["b1", "learning_rate"]
    assert described.options == (("nesterov", True),)


def test_the_table_of_hospitals_names_who_was_present_and_refused():
    data = hospitals((9, 8, 7), test=3)
    run = quiet(simulation(data, participation=jaxfed.Cyclic()), 4)
    assert sorted(run.hospitals()["rounds"]) == [1, 1, 2]
    assert run.hospitals()["rejected"].tolist() == [0, 0, 0]
    spoiled = data.replace(x=np.where(data.owner[:, None] == 1, 3e38, data.x).astype(np.float32))
    with pytest.warns(jaxfed.data.DataWarning, match="far from 1"):
        refused = quiet(simulation(spoiled, model=jaxfed.models.logistic()), 3).hospitals()["rejected"]
    assert refused.tolist() == [0, 3, 0]


def test_what_resumes_must_train_the_same_hospitals():
    data = hospitals((9, 8, 7), test=3)
    one, other = (
        simulation(data.select(names), evaluate_on=data) for names in (data.hospitals[:2], data.hospitals[1:])
    )
    with pytest.raises(InvalidInput, match="training hospitals"):
        other.run(1, resume=quiet(one, 1), progress=False)


def test_log_loss_is_the_log_loss_whatever_is_minimised():
    data = hospitals((9, 8, 7), test=6)
    plain = simulation(data)
    scaled = simulation(
        data, loss=lambda outputs, y: 100 * jnp.logaddexp(0, outputs[:, 0]) - 100 * outputs[:, 0] * y
    )
    first = [quiet(sim, 0).hospitals()["log_loss"] for sim in (plain, scaled)]
    np.testing.assert_allclose(first[0], first[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"splits": "test"}, "give a tuple"),
        (
            {"algorithm": jaxfed.algorithms.Scaffold(), "client_optimizer": jaxfed.optimizer(
                optax.sgd, learning_rate=jaxfed.schedule(optax.linear_schedule(0.0, 0.1, 3)))},
            "start above 0",
        ),
        (
            {"algorithm": FedAvg(
                jaxfed.optimizer(optax.sgd, learning_rate=jaxfed.per_hospital([1.0, 2.0, 3.0])))},
            "server_optimizer",
        ),
        ({"model": mlp(4).clone(outputs=2), "loss": lambda outputs, y: outputs[:, 0]}, "width 2"),
    ],
)  # fmt: skip
def test_more_that_cannot_work(changes, said):
    with pytest.raises(InvalidInput, match=said):
        simulation(hospitals((9, 8, 7), test=3), **changes)


def test_pooled_needs_one_number_for_all():
    sim = simulation(hospitals((9, 8, 7), test=3), batch_size=4, steps=jaxfed.per_hospital([1, 2, 3]))
    with pytest.raises(InvalidInput, match="give one number"):
        sim.pooled()
    quiet(sim.replace(participation=Poisson(jaxfed.schedule(lambda round: 0.5 + 0.0 * round))), 1)


def test_what_is_inside_is_replaced_by_its_path():
    sim = jaxfed.Simulation(
        hospitals((6, 5), test=2), algorithm=jaxfed.algorithms.FedProx(mu=0.1), splits=("test",)
    )
    settings = {"client_optimizer.learning_rate": 0.3, "algorithm.mu": 1, "batch_size": 4}
    other = sim.replace(**settings)
    assert other.client_optimizer.numbers == {"learning_rate": 0.3}
    assert (other.algorithm, other.batch_size) == (jaxfed.algorithms.FedProx(mu=1.0), 4)
    assert sim.algorithm == jaxfed.algorithms.FedProx(mu=0.1)
    scaffold = sim.replace(**{"algorithm.option": "I"}, algorithm=jaxfed.algorithms.Scaffold())
    assert scaffold.algorithm == jaxfed.algorithms.Scaffold(option="I")
    with pytest.raises(jaxfed.InvalidInput, match=r"did you mean algorithm\.mu"):
        sim.replace(**{"algorithm.nu": 1.0})
    with pytest.raises(jaxfed.InvalidInput, match="mu=-1"):
        sim.replace(**{"algorithm.mu": -1.0})
