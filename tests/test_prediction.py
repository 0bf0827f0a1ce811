"""Predictions for new patients are those that the run was measured by, in this process and in another."""

import subprocess
import sys

import numpy as np
import optax
import pandas as pd
import pytest
from federations import hospitals

import jaxfed
from jaxfed import InvalidInput, LocalOnly, Run, Simulation
from jaxfed.algorithms import FineTuned, mixed
from jaxfed.data import from_frame, prepare, standardize
from jaxfed.models import logistic, mlp

ROUNDS = 3


def table():
    rng = np.random.default_rng(0)
    n = 90
    frame = pd.DataFrame({"age": rng.normal(60, 10, n), "crp": rng.lognormal(3, 1, n), "id": np.arange(n)})
    frame["died"] = (frame["age"] + rng.normal(0, 8, n) > 60).map({True: "yes", False: "no"})
    frame["site"] = np.repeat(["north", "east", "south"], n // 3)
    frame.loc[::7, "crp"] = np.nan
    return frame


def prepared(how="federated", flag=False):
    frame, way = table().drop(columns="id"), "flag" if flag else "mean"
    data = from_frame(frame, hospital="site", label="died", classes=["no", "yes"], impute=way)
    return standardize(data, how)


def simulation(data=None, **changes):
    rate = jaxfed.optimizer(optax.sgd, learning_rate=0.1)
    settings = {"model": mlp(3), "client_optimizer": rate, "batch_size": None, "devices": 1, "block": 1}
    return Simulation(data or prepared(), **{**settings, **changes})


def log_loss(data, predicted, hospital):
    """The log loss on the test rows of a hospital, from the predictions for all rows of the table."""
    rows = np.flatnonzero((data.owner == data.hospitals.index(hospital)) & (data.split == 2))
    p = predicted["yes"].to_numpy()[rows]
    return -np.mean(np.where(data.y[rows] == 1, np.log(p), np.log1p(-p)))


SIMULATIONS = {
    "one model": (lambda: simulation(), mlp(3)),
    "flags of missing values": (lambda: simulation(prepared(flag=True)), mlp(3)),
    "each hospital standardised by itself": (lambda: simulation(prepared("local")), mlp(3)),
    "personal models": (lambda: simulation(algorithm=LocalOnly()), mlp(3)),
    "models": (
        lambda: simulation(
            model=mlp(3), models={"a": logistic(), "b": mlp(2)}, groups=["a", "b", "a"],
            algorithm=mixed.ByGroup(LocalOnly()),
        ),
        {"a": logistic(), "b": mlp(2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIMULATIONS)
def test_predictions_are_those_that_were_measured(name, tmp_path):
    make, model = SIMULATIONS[name]
    sim = make()
    run = sim.run(ROUNDS, progress=False)
    loaded = Run.load(run.save(tmp_path / "run"))
    raw = table()
    for each in (run, loaded):
        predicted = each.predict(raw, model, hospital=raw["site"])
        assert list(predicted) == ["no", "yes"]
        np.testing.assert_allclose(predicted.sum(axis=1), 1)
        for hospital in sim.hospitals.hospitals:
            expected = run.hospitals().loc[hospital, "log_loss"]
            assert log_loss(sim.hospitals, predicted, hospital) == pytest.approx(expected, rel=1e-4)
    assert predicted.index.equals(raw.index)


def test_codes_for_missing_values_are_missing_in_new_rows_too(tmp_path):
    raw = table()
    coded = raw.assign(age=raw["age"].where(raw.index % 7 > 0, -9))
    coded["crp"] = coded["crp"].astype(object).where(coded.index % 5 > 0, "?")
    data = from_frame(
        coded, label="died", drop=["id"], missing=["?", -9, np.nan], impute="mean", classes=["no", "yes"]
    )
    run = simulation(standardize(data)).run(1, progress=False)
    blank = coded.replace({"?": np.nan}).assign(age=raw["age"].where(raw.index % 7 > 0)).infer_objects()
    expected = run.predict(blank, mlp(3))
    for of in (run, Run.load(run.save(tmp_path / "run"))):
        np.testing.assert_array_equal(of.predict(coded, mlp(3)), expected)


def test_columns_whose_names_are_no_text():
    rng = np.random.default_rng(0)
    raw = pd.DataFrame(rng.normal(size=(60, 2))).assign(site=["a", "b"] * 30, died=[0, 1, 1] * 20)
    for data in (from_frame(raw), prepare(raw)):
        run = simulation(data).run(1, progress=False)
        named = run.predict(raw.set_axis(map(str, raw.columns), axis=1), mlp(3))
        np.testing.assert_array_equal(run.predict(raw, mlp(3)), named)
    with pytest.raises(InvalidInput, match=r"columns given twice: '0'; rename them"):
        run.predict(pd.concat([raw, raw[[0]]], axis=1), mlp(3))


def test_a_folder_has_the_files_of_the_run_that_was_saved_last(tmp_path):
    first, second = (simulation().run(rounds, progress=False) for rounds in (1, 2))
    first.save(tmp_path / "run", predictions=True)
    with pytest.raises(InvalidInput, match="saved or copied without them"):
        Run.load(second.save(tmp_path / "run")).performance()


def test_in_another_process(tmp_path):
    """Of a table with text, which the other process reads from a file."""
    rows = table().drop(columns="id").assign(sex=["f", "m", None] * 30)
    data = prepare(rows, hospital="site", label="died", classes=["no", "yes"])
    run = simulation(data).run(ROUNDS, progress=False)
    run.save(tmp_path / "run")
    rows.to_csv(tmp_path / "new.csv", index=False)
    script = (
        "import jaxfed, pandas; from jaxfed.models import mlp;"
        "new = jaxfed.Run.load('run').predict(pandas.read_csv('new.csv'), mlp(3)); new.to_csv('p.csv')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    found = pd.read_csv(tmp_path / "p.csv", index_col=0)
    np.testing.assert_allclose(found, run.predict(rows, mlp(3)), rtol=1e-5)
    for hospital in data.hospitals:
        expected = run.hospitals().loc[hospital, "log_loss"]
        assert log_loss(data, found, hospital) == pytest.approx(expected, rel=1e-4)


def test_arrays_classes_and_numbers():
    for task, names in (("multiclass", ["a", "b", "c"]), ("regression", ["prediction"])):
        data = hospitals(test=6, task=task)
        run = Simulation(data, model=logistic(), splits=("test",)).run(1, progress=False)
        predicted = run.predict(data.x, logistic())
        assert list(predicted) == names
        x, y, split = data.rows(data.hospitals[0])
        if task == "regression":
            error = np.square(run.predict(x, logistic())["prediction"] - y)[split == 2].mean()
            assert error == pytest.approx(run.hospitals()["mse"].iloc[0], rel=1e-4)
        else:
            right = (run.predict(x, logistic()).to_numpy().argmax(1) == y)[split == 2].mean()
            assert right == pytest.approx(run.hospitals()["accuracy"].iloc[0])


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({}, (table().drop(columns="crp").rename(columns={"age": "aeg"}), mlp(3)), "no column 'age', 'crp'"),
        ({}, (table().astype({"age": str}).assign(age="old"), mlp(3)), "column 'age' is not numeric"),
        ({}, (table(), logistic()), "give the model of the run"),
        ({"algorithm": LocalOnly()}, (table(), mlp(3)), "give hospital="),
        ({"algorithm": LocalOnly()}, (table(), mlp(3), "nroth"), "no model; did you mean 'north'"),
        ({"algorithm": LocalOnly()}, (table(), mlp(3), ["north"]), "1 names for 90 rows"),
        ({"algorithm": FineTuned()}, (table(), mlp(3)), "adapts the model"),
    ],
)
def test_what_cannot_be_predicted(changes, arguments, words):
    run = simulation(**changes).run(0, progress=False)
    with pytest.raises(InvalidInput) as error:
        run.predict(*arguments)
    assert words in str(error.value)
