"""Run.performance: the tables, what they say of scarce classes, and what they refuse."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import jaxfed
from jaxfed import InvalidInput
from jaxfed.core.meaning import Meaning
from jaxfed.core.tasks import MULTICLASS, REGRESSION, SURVIVAL
from jaxfed.models import logistic
from jaxfed.records.history import History
from jaxfed.records.predictions import Predictions
from jaxfed.results.measuring import performance_of


@pytest.fixture(scope="module")
def heart(heart_folder):
    return jaxfed.data.heart_disease(heart_folder)


@pytest.fixture(scope="module")
def run(heart):
    sim = jaxfed.Simulation(
        heart,
        model=logistic(),
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.05),
        batch_size=16,
        devices=1,
    )
    return sim.run(3, progress=False)


@pytest.fixture(scope="module")
def result(run):
    return run.performance()


def test_hospitals_and_all_rows(run, result):
    table, history = result.hospitals, run.hospitals()
    assert [*table.index] == ["cleveland", "hungary", "switzerland", "va"]
    assert (table["rows"] == history["test_rows"]).all()
    np.testing.assert_allclose(table["prevalence"], history["prevalence"])
    for metric in ("auroc", "brier", "log_loss"):
        np.testing.assert_allclose(table[metric], history[metric], rtol=1e-5)
    part = run.predictions.of("test")
    pooled = result.pooled.loc["(pooled)"]
    assert pooled["auroc"] == pytest.approx(roc_auc_score(part.y, part.outputs[:, 0]), abs=1e-6)
    assert pooled["events"] == part.y.sum()
    every = [f"{metric}{end}" for metric in result.metrics for end in ("", "_low", "_high")]
    about = ["rows", "events", "non_events", "prevalence"]
    assert [*table] == [*about, *every, "counted", "note"]
    assert [*result.pooled] == [*table]
    assert result.first == "auroc"


def test_switzerlands_single_negative_is_said(result):
    row = result.hospitals.loc["switzerland"]
    assert (row["events"], row["non_events"], row["counted"]) == (15, 1, False)
    assert row["note"] == "1 non-event: AUROC not counted in worst and range"
    assert np.isfinite([row["auroc"], row["auroc_low"], row["auroc_high"]]).all()
    across = result.across.loc["auroc"]
    counted = result.hospitals.drop("switzerland")["auroc"]
    assert (across["hospitals"], across["left_out"]) == (3, 1)
    assert across["worst"] == counted.min()
    assert across["worst_hospital"] == counted.idxmin()
    assert across["macro"] == pytest.approx(result.hospitals["auroc"].mean())
    text = repr(result)
    line = next(line for line in text.splitlines() if line.strip().startswith("switzerland"))
    assert "1 non-event" in line  # where its AUROC would stand
    assert f"{row['auroc']:.3f}" not in line
    assert "switzerland, 1 non-event among 16 rows" in text
    assert "positive class disease" in text
    assert "1 non-event" in result._repr_html_()


def test_everyone_counts_on_request(run, result):
    everyone = run.performance(minimum_events=1)
    assert everyone.hospitals["counted"].all()
    assert (everyone.hospitals["note"] == "").all()
    assert everyone.across.loc["auroc", "hospitals"] == 4


def test_threshold(run, result):
    assert result.threshold == 0.5  # the heart data have no validation rows
    assert "no validation rows" in result.threshold_from
    low = run.performance(threshold=0.2)
    assert (low.hospitals["sensitivity"] >= result.hospitals["sensitivity"]).all()
    assert low.threshold_from == "given"


def test_curves(result):
    calibration = result.calibration("all")
    assert [*calibration] == ["hospital", "kind", "predicted", "observed", "low", "high", "rows"]
    assert [*calibration["hospital"].unique()] == ["(pooled)", "cleveland", "hungary", "va"]
    bins = calibration[calibration["kind"] == "bins"].groupby("hospital")["rows"].sum()
    assert bins["(pooled)"] == result.pooled["rows"].iloc[0]
    assert bins["va"] == 45
    curve = result.decision_curve(hospitals="all")
    assert [*curve] == ["hospital", "threshold", "net_benefit", "low", "high", "treat_all", "treat_none"]
    benefit = curve.set_index(["hospital", "threshold"])["net_benefit"]
    assert len(benefit) == 4 * 99
    assert benefit.loc["va"].iloc[49] == pytest.approx(result.hospitals.loc["va", "net_benefit"], abs=1e-6)


def test_subgroups(heart, result):
    sex = np.where(heart.x[:, heart.features.index("sex")] > 0, "male", "female")
    groups = result.subgroups(sex)
    assert [*groups.index] == ["female", "male"]
    assert groups["rows"].sum() == result.pooled["rows"].iloc[0]
    assert groups["reference"].tolist() == [False, True]
    gap = groups.loc["female", "sensitivity_gap"]
    assert gap == pytest.approx(groups["sensitivity"].diff(-1).iloc[0])
    assert groups.loc["female", "sensitivity_gap_low"] < gap < groups.loc["female", "sensitivity_gap_high"]
    assert groups.loc["male", ["auroc_gap"]].tolist() == [0]
    assert np.isnan(groups.loc["male", "auroc_gap_low"])
    sizes = result.subgroups("hospital size", reference="small")
    assert sizes["hospitals"].tolist() == [2, 1, 1]
    countries = {"cleveland": "US", "va": "US", "hungary": "EU", "switzerland": "EU"}
    assert result.subgroups(countries)["hospitals"].tolist() == [2, 2]


def test_users_metric_and_variance(run, result):
    def hits(outputs, y, mask):
        return (((outputs[:, 0] > 0) == y) * mask).sum() / mask.sum()

    mine = run.performance(metrics={"hits": jaxfed.Metric(hits, label="accuracy")})
    table = mine.hospitals
    np.testing.assert_allclose(table["hits"], run.hospitals()["accuracy"], rtol=1e-6)
    assert ((table["hits_low"] <= table["hits"]) & (table["hits"] <= table["hits_high"])).all()
    assert mine.labels["hits"] == "accuracy"
    assert mine.pooled["hits"].notna().all()
    parts = result.variance([result])
    assert parts.loc["seeds", "variance"] == 0
    assert parts["share"].sum() == pytest.approx(1)
    assert parts.loc["patients", "variance"] > 0


def test_files(result, tmp_path):
    folder = result.save(tmp_path / "new")
    read = pd.read_csv(folder / "performance_hospitals.csv", index_col="hospital")
    np.testing.assert_allclose(read["auroc"], result.hospitals["auroc"])
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "performance_across.csv",
        "performance_pooled.csv",
        "calibration.csv",
        "decision_curve.csv",
    }
    assert json.loads((folder / "performance.json").read_text())["threshold"] == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split": "tset"}, "split='tset': did you mean 'test'"),
        ({"threshold": 1.5}, "threshold=1.5: give a probability between 0 and 1"),
        ({"threshold": "yuden"}, "one of youden, f1"),
        ({"threshold": "f1"}, "no.*validation rows|none was evaluated"),
        ({"level": 95}, "level=95: give a number between 0 and 1"),
        ({"minimum_events": 0}, "minimum_events=0: give a whole number"),
        ({"metrics": {"auroc": max}}, "'auroc' is the name of a metric of the task"),
        ({"treshold": 0.2}, "did you mean 'threshold'"),
    ],
)
def test_wrong_arguments(run, given, message):
    with pytest.raises(InvalidInput, match=message):
        run.performance(**given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.calibration(["vaa"]), "no hospital 'vaa'; did you mean 'va'"),
        (lambda p: p.decision_curve([0, 0.5]), "give numbers between 0 and 1"),
        (lambda p: p.subgroups("sex"), "a value for each row of the data set"),
        (lambda p: p.subgroups(np.arange(740)), "254 different values; give at most 50"),
        (lambda p: p.subgroups([0, 1]), "by has 2 values; give one value for each row"),
        (lambda p: p.subgroups({"va": 1}), "no value for hospital 'cleveland'"),
        (lambda p: p.subgroups("hospital size", "big"), "reference='big'"),
        (lambda p: p.variance(metric="auc"), "did you mean 'auroc'"),
    ],
)
def test_wrong_questions(result, call, message):
    with pytest.raises(InvalidInput, match=message):
        call(result)


def stand_in(task, scoring, outputs, y):
    """Three hospitals with four rows each; a history of one round."""
    hospitals = ("a", "b", "c")
    rows = np.tile([0, 0, 4], (3, 1))
    n = len(y)
    history = History(
        hospitals, task, scoring, ("test",), rows, np.full((3, 1), np.nan), evaluated=np.array([1])
    )
    owner = np.repeat(np.arange(3), 4)
    predictions = Predictions(outputs, y, owner, np.full(n, 2, np.int8), np.arange(n), hospitals, task, ())
    return history, predictions


def test_numbers_and_a_hospital_without_a_model():
    rng = np.random.default_rng(0)
    y = rng.normal(size=12).astype(np.float32)
    outputs = (y + 0.1 * rng.normal(size=12).astype(np.float32))[:, None]
    outputs[8:] = np.nan
    history, predictions = stand_in("regression", REGRESSION.scoring, outputs, y)
    p = performance_of("name", history, predictions, minimum_events=2)
    assert p.hospitals["note"].tolist() == ["", "", "no trained model"]
    assert p.hospitals["counted"].tolist() == [True, True, False]
    assert p.pooled["rows"].tolist() == [8]
    error = np.abs(outputs[:8, 0] - y[:8])
    assert p.pooled["mae"].iloc[0] == pytest.approx(error.mean(), rel=1e-5)
    assert np.isnan(p.hospitals.loc["c", "r2"])
    assert p.across.loc["r2", "undefined"] == 1
    assert "c, no trained model" in repr(p)
    table = p.bootstrap(replicates=20)
    assert table.loc["mae", "macro"] == pytest.approx(p.across.loc["mae", "macro"])
    assert table.loc["mae", "weighted"] == pytest.approx(table.loc["mae", "pooled"])
    assert table.loc["mae", "pooled"] == pytest.approx(p.pooled["mae"].iloc[0], rel=1e-5)
    assert (table["pooled_low"] < table["pooled_high"]).all()
    with pytest.raises(InvalidInput, match="for two classes only"):
        p.calibration()
    with pytest.raises(InvalidInput, match="which has none"):
        performance_of("name", history, predictions, threshold=0.5)


def test_hospitals_whose_area_is_1_are_pooled_with_several_classes():
    """30 hospitals of 15 rows, of which most order all rows rightly."""
    rng, names = np.random.default_rng(3), tuple(map(str, range(30)))
    y, owner = np.tile(np.repeat([0, 1, 2], 5), 30), np.repeat(np.arange(30), 15)
    outputs = (3 * np.eye(3)[y] + rng.normal(size=(450, 3))).astype(np.float32)
    rows = np.tile([0, 0, 15], (30, 1))
    history = History(
        names, "multiclass", MULTICLASS.scoring, ("test",), rows, np.full((30, 1), np.nan),
        evaluated=np.array([1]),
    )  # fmt: skip
    split = np.full(450, 2, np.int8)
    predictions = Predictions(
        outputs, y, owner, split, np.arange(450), names, "multiclass", ("x", "y", "z"),
        Meaning("softmax", ("x", "y", "z")),
    )  # fmt: skip
    p = performance_of("name", history, predictions)
    a = p.across.loc["auroc"]
    assert (p.hospitals["auroc"] == 1).sum() > 5
    assert (a["hospitals"], a["pooled"]) == (30, 30)
    truth = 0.983  # of one class against the rest, Phi(3 / sqrt 2)
    assert a["mean_low"] < truth < a["mean_high"]
    assert a["mean"] == pytest.approx(a["macro"], abs=0.004)


def test_a_users_task_has_users_metrics():
    y = np.arange(12.0, dtype=np.float32)
    scoring = dataclasses.replace(REGRESSION.scoring, loss="mine", first="mine")
    history, predictions = stand_in("counts", scoring, y[:, None] + 1, y)
    with pytest.raises(InvalidInput, match="task 'counts' is not jaxfed's"):
        performance_of("name", history, predictions)

    def off(outputs, y, mask):
        return (jnp.abs(outputs[:, 0] - y) * mask).sum() / mask.sum()

    metrics = {"off": jaxfed.Metric(off, higher_is_better=False)}
    p = performance_of("name", history, predictions, metrics=metrics)
    assert p.hospitals["off"].tolist() == [1, 1, 1]
    assert not p.hospitals["counted"].any()
    assert p.hospitals["note"].iloc[0] == "4 rows: not counted in worst and range"
    assert p.across.loc["off", "left_out"] == 3
    assert "off: mean of 3 hospitals 1.000" in repr(p)


def test_a_task_without_a_table_has_bootstrapped_metrics_of_training():
    """Survival: the concordance of each hospital, as training measures it."""
    rng = np.random.default_rng(0)
    y = np.stack([rng.exponential(size=12), rng.integers(0, 2, 12)], axis=1).astype(np.float32)
    outputs = (-y[:, :1] + rng.normal(size=(12, 1))).astype(np.float32)
    history, predictions = stand_in("survival", SURVIVAL.scoring, outputs, y)
    p = performance_of("name", history, predictions, minimum_events=2)
    assert p.first == SURVIVAL.scoring.first
    owner = jnp.asarray(predictions.owner)
    measured = SURVIVAL.measures(jnp.asarray(outputs), jnp.zeros(12), jnp.asarray(y), owner, 3)
    np.testing.assert_allclose(p.hospitals[p.first], measured[p.first], rtol=1e-6)
    assert p.first in p.higher
    assert p.pooled[f"{p.first}_low"].iloc[0] < p.pooled[f"{p.first}_high"].iloc[0]
