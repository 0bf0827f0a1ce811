"""Arms beside each other: differences paired by hospital, and what these leave out. Nothing is compiled."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from jaxfed import InvalidInput
from jaxfed.core.tasks import BINARY, REGRESSION
from jaxfed.evaluation import paired
from jaxfed.pages.text import interval
from jaxfed.results.comparison import Comparison

HOSPITALS = ("a", "b", "c", "d")
EVENTS = np.array([20, 5, 6, 15])
OTHERS = np.array([20, 9, 30, 1])


def made(task=BINARY, seeds=3, **changes):
    """Arms with known values: hospital d has one row without an event."""
    rng = np.random.default_rng(0)
    base = np.array([0.6, 0.7, 0.8, 0.2])
    gain = {"local-only": 0.0, "pooled": 0.1, "federated": np.array([0.05, 0.02, -0.01, 0.7])}
    values = np.stack([base + g + 0.01 * rng.normal(size=(seeds, 4)) for g in gain.values()])
    sizes = pd.DataFrame(
        {"train_rows": 2 * (EVENTS + OTHERS), "test_rows": EVENTS + OTHERS},
        index=pd.Index(HOSPITALS, name="hospital"),
    )
    if task is BINARY:
        sizes = sizes.assign(events=EVENTS, non_events=OTHERS)
    first, loss = task.scoring.first, task.scoring.loss
    given = {loss: 1 - values, first: values}
    arms = tuple(gain)
    parts = {
        "arms": arms, "sizes": sizes, "metrics": given, "scoring": task.scoring, "notes": (), "config": {},
        "pooled": {name: v.mean(2) for name, v in given.items()}, "provenance": {"seconds": 1.0},
        "rounds": np.full((3, seeds, 4), 7), "settings": dict.fromkeys(arms, ""),
    }  # fmt: skip
    return Comparison(**{**parts, **changes})


def test_t_interval_and_p_value_are_those_of_scipy():
    d = np.array([0.1, np.nan, 0.3, -0.05, 0.2])
    interval, p = paired.mean_interval(d)
    known = d[np.isfinite(d)]
    expected = stats.ttest_1samp(known, 0)
    low, high = expected.confidence_interval()
    np.testing.assert_allclose([*interval, p], [known.mean(), low, high, expected.pvalue], rtol=1e-12)


def test_one_hospital_or_none_has_no_interval():
    interval, p = paired.mean_interval(np.array([0.1, np.nan]))
    np.testing.assert_array_equal([*interval, p], [0.1, np.nan, np.nan, np.nan])
    assert np.isnan(paired.mean_interval(np.full(3, np.nan))[0]).all()
    assert np.isnan(paired.bootstrap_interval(np.full((2, 3), np.nan))).all()
    assert np.isnan(paired.share_interval(np.full(3, np.nan))).all()
    assert np.isnan(paired.ratio_interval(np.full(3, np.nan), np.ones(3))).all()


def test_shares_and_adjusted_p_values_are_those_of_statsmodels():
    interval = paired.share_interval(np.array([0.1, -0.2, 0.3, 0.4, 0.0, np.nan]))
    np.testing.assert_allclose(interval, [3 / 5, *proportion_confint(3, 5, method="wilson")], rtol=1e-12)
    p = np.array([0.04, 0.01, np.nan, 0.03, 0.005])
    expected = multipletests(p[np.isfinite(p)], method="holm")[1]
    np.testing.assert_allclose(paired.holm(p)[np.isfinite(p)], expected)
    assert np.isnan(paired.holm(p)[2])


def test_fieller_has_the_ratios_that_a_t_test_does_not_reject():
    rng = np.random.default_rng(1)
    b = rng.normal(0.1, 0.05, 9)
    a = 0.6 * b + rng.normal(0, 0.02, 9)
    interval = paired.ratio_interval(a, b)
    ends = [stats.ttest_1samp(a - r * b, 0).pvalue for r in (interval.low, interval.high)]
    np.testing.assert_allclose(ends, 0.05, rtol=1e-6)
    assert interval.value == pytest.approx(a.mean() / b.mean())
    assert interval.low < interval.value < interval.high
    turned = paired.ratio_interval(-a, b)
    np.testing.assert_allclose(turned, [-interval.value, -interval.high, -interval.low])
    noise = rng.normal(0, 1, 9)
    assert paired.ratio_interval(a, noise - noise.mean() + 1e-3)[1:] == (-np.inf, np.inf)


def test_bootstrap_knows_hospitals_and_seeds():
    rng = np.random.default_rng(2)
    of_hospital, of_seed = rng.normal(size=60), rng.normal(size=40)
    for d, sd in (
        (np.tile(of_hospital, (40, 1)), of_hospital.std() / np.sqrt(60)),  # hospitals alone differ
        (np.tile(of_seed[:, None], (1, 60)), of_seed.std() / np.sqrt(40)),
    ):
        interval = paired.bootstrap_interval(d, draws=4000)
        assert interval.value == pytest.approx(d.mean())
        assert (interval.high - interval.low) / (2 * 1.96 * sd) == pytest.approx(1, abs=0.06)
    assert paired.bootstrap_interval(np.full((2, 3), 0.5)) == (0.5, 0.5, 0.5)


def test_few_events_set_no_worst_value_and_enter_no_interval():
    comparison = made()
    table, values = comparison.table, comparison.metrics["auroc"]
    assert comparison.hospitals["counted"].tolist() == [True, True, True, False]
    np.testing.assert_allclose(table["auroc"], values.mean((1, 2)))  # all hospitals count in the mean
    np.testing.assert_allclose(table["worst"], values[..., :3].mean(1).min(1))
    assert table["worst_hospital"].tolist() == ["a", "a", "a"]
    np.testing.assert_allclose(table["seeds_low"], values.mean(2).min(1))
    np.testing.assert_allclose(
        table["weighted"], values.mean(1) @ (EVENTS + OTHERS) / (EVENTS + OTHERS).sum()
    )
    row = comparison.differences().loc["federated"]
    d = (values[2] - values[0]).mean(0)
    assert row["hospitals"] == 3
    expected = stats.ttest_rel(values[2, :, :3].mean(0), values[0, :, :3].mean(0))
    np.testing.assert_allclose([row["gain"], row["p"]], [d[:3].mean(), expected.pvalue])
    assert row["share"] == (d[:3] > 0).mean()
    everyone = comparison.differences(few=True).loc["federated"]
    assert everyone["hospitals"] == 4
    assert everyone["gain"] == pytest.approx(d.mean())
    gap = comparison.gap_closed()
    np.testing.assert_allclose(gap.value, d[:3].mean() / (values[1] - values[0]).mean(0)[:3].mean())


def test_less_loss_is_a_gain():
    comparison = made()
    loss = comparison.metrics["log_loss"]
    gain = comparison.differences(metric="log_loss").loc["pooled", "gain"]
    assert gain == pytest.approx((loss[0] - loss[1])[:, :3].mean())
    judged = comparison.summary("log_loss")
    np.testing.assert_allclose(judged["worst"], loss[..., :3].mean(1).max(1))
    np.testing.assert_allclose(comparison.gap_closed(metric="log_loss").value, comparison.gap_closed().value)


def test_gains_are_sorted_and_have_intervals_over_seeds():
    gains = made().gains()
    assert gains.index[0] == "d"
    assert not gains["counted"].iloc[0]
    assert (np.diff(gains["gain"]) <= 0).all()
    values = made().metrics["auroc"]
    expected = stats.ttest_1samp((values[2] - values[0])[:, 1], 0).confidence_interval()
    np.testing.assert_allclose(gains.loc["b", ["low", "high"]].astype(float), [*expected])
    np.testing.assert_allclose(gains["p_holm"], multipletests(gains["p"], method="holm")[1])


def test_seeds_that_diverged_and_hospitals_without_a_metric_are_left_out():
    values = {name: v.copy() for name, v in made().metrics.items()}
    values["auroc"][2, 0] = np.nan
    values["auroc"][:, :, 1] = np.nan
    comparison = made(metrics=values)
    rest = values["auroc"][2, 1:]
    np.testing.assert_allclose(comparison.table.loc["federated", "auroc"], np.nanmean(rest))
    assert comparison.table["undefined"].tolist() == [1, 1, 1]
    assert comparison.differences().loc["federated", "hospitals"] == 2


def test_numbers_have_no_events():
    comparison = made(REGRESSION)
    assert "events" not in comparison.hospitals
    assert comparison.hospitals["counted"].all()
    assert comparison.differences().loc["federated", "hospitals"] == 4


def test_words_files_and_figure(tmp_path):
    comparison = made(notes=("A note.",))
    text = repr(comparison)
    for part in ("2 of 3 hospitals gain", "leave out 1 of the hospitals", "A note."):
        assert part in text
    assert "<td>a</td>" in comparison._repr_html_()
    assert isinstance(comparison.plot("log_loss"), Figure)
    folder = comparison.save(tmp_path / "new" / "folder")
    names = {
        "table.csv",
        "hospitals.csv",
        "differences.csv",
        "values.csv",
        "comparison.json",
        "comparison.png",
    }
    assert {path.name for path in folder.iterdir()} == names
    read = pd.read_csv(folder / "values.csv")
    assert len(read) == 3 * 3 * 4
    one = read[(read["arm"] == "pooled") & (read["seed"] == 2) & (read["hospital"] == "c")]
    np.testing.assert_allclose(one["auroc"], comparison.metrics["auroc"][1, 2, 2])
    for wrong in (lambda: comparison.differences("local"), lambda: comparison.gains(metric="aurok")):
        with pytest.raises(InvalidInput, match=r"did you mean 'local-only'|did you mean 'auroc'"):
            wrong()


def test_a_report_has_the_sentences_the_arms_and_the_differences(tmp_path, monkeypatch):
    comparison = made(settings={"local-only": "", "pooled": "learning_rate 0.1", "federated": ""})
    page = comparison.report(tmp_path / "report.html", figures=tmp_path / "figures").read_text()
    assert html.escape(comparison.sentences()[1], quote=False) in page.replace("&#x27;", "'")
    row = comparison.differences().loc["federated"]
    assert interval(row["gain"], row["low"], row["high"]) in page
    headings = ["In short", "Arms", "What an arm is worth", "Hospitals", "Settings", "Provenance"]
    assert re.findall("<h2>(.*?)</h2>", page) == headings
    assert "learning_rate 0.1" in page
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"comparison.png", "comparison.svg"}
    monkeypatch.setattr("jaxfed.results.report.comparison.MANY", 3)
    page = (
        made(arms=("x", "pooled", "federated")).report(tmp_path / "other.html", metric="log_loss").read_text()
    )
    assert re.findall("<h2>(.*?)</h2>", page) == [*headings[:2], *headings[3:], "All hospitals"]
    with pytest.raises(InvalidInput, match="metric='auc'"):
        comparison.report(tmp_path / "report.html", metric="auc")
