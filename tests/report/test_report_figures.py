"""Figures of hospitals' results: what is drawn where, and what is said of it."""

import numpy as np
import pandas as pd
import performances
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from jaxfed.figures import calibration, decisions, federation, forest, subgroups
from jaxfed.pages.text import count, interval, number, span, together

ACROSS = performances.across()


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()]]


def points(axes, colour):
    """Points of a colour that are drawn as markers."""
    markers = [part for part in axes.collections if isinstance(part, PathCollection)]
    every = [part.get_offsets() for part in markers if to_hex(part.get_edgecolor()[0]) == colour]
    return np.concatenate(every) if every else np.zeros((0, 2))


def test_a_forest_plot_has_every_hospital_in_order_and_greys_those_that_do_not_count():
    table = performances.hospitals(6, few=2)
    table.loc["hospital 5", ["auroc", "auroc_low", "auroc_high"]] = np.nan
    figure = forest.forest_figure(table, "auroc", label="AUROC", across=ACROSS)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    counted = table[table["counted"]].sort_values("auroc", ascending=False)
    assert names == [*counted.index, "hospital 4", "hospital 5", "random-effects mean"]
    assert "not defined" in texts(figure)
    row = table.loc["hospital 1"]
    assert interval(row["auroc"], row["auroc_low"], row["auroc_high"]) in texts(figure)
    assert f"{row['events']:,}" in texts(figure)
    assert points(figure.axes[0], forest.GREY)[:, 0] == pytest.approx(table.loc[["hospital 4"], "auroc"])
    np.testing.assert_allclose(np.sort(points(figure.axes[0], "#0b6e99")[:, 0]), np.sort(counted["auroc"]))
    low, high = figure.axes[0].get_xlim()
    assert low < ACROSS["prediction_low"] < ACROSS["prediction_high"] < high


def test_of_many_hospitals_the_forest_plot_shows_the_extremes_and_the_caterpillar_all():
    table = performances.hospitals(100, few=20)
    names = [text.get_text() for text in forest.forest_figure(table, "auroc").axes[0].get_yticklabels()]
    counted = table[table["counted"]]["auroc"].sort_values(ascending=False)
    assert names == [*counted.index[:15], *counted.index[-15:]]
    axes = forest.caterpillar_figure(table, "auroc", across=ACROSS).axes[0]
    np.testing.assert_allclose(points(axes, "#0b6e99")[:, 1], counted.sort_values())
    assert len(points(axes, "#a8a8a8")) == 20
    assert "80 hospitals from" in forest.forest_alt(table, "auroc")


def test_a_prediction_interval_that_is_far_too_wide_does_not_squeeze_the_hospitals():
    table = performances.hospitals(4, few=0)
    across = ACROSS.copy()
    across["prediction_low"], across["prediction_high"] = -50.0, 60.0
    low, high = forest.forest_figure(table, "auroc", across=across).axes[0].get_xlim()
    assert high - low < 5 * (table["auroc_high"].max() - table["auroc_low"].min())


def test_calibration_draws_curve_bins_and_the_predictions_of_both_classes():
    table = performances.calibration(["(pooled)"])
    predicted = np.array([0.1, 0.2, 0.9, 0.9])
    figure = calibration.calibration_figure(table, predicted, np.array([False, False, True, False]), "ill")
    curve = table[table["kind"] == "curve"]
    line = next(line for line in figure.axes[0].lines if line.get_label() == "flexible curve with band")
    np.testing.assert_array_equal(line.get_ydata(), curve["observed"])
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    assert sum(h for h in heights if h > 0) == pytest.approx(1)
    assert sum(h for h in heights if h < 0) == pytest.approx(-1)
    assert "0.03 0.01" in calibration.calibration_alt(table, "ill")
    by_hospital = calibration.calibration_by_hospital_figure(
        performances.calibration(["(pooled)", "a", "b"]), "ill"
    )
    assert [axes.get_title() for axes in by_hospital.axes] == ["a", "b"]


def test_decision_curves_say_where_the_model_is_better_than_both():
    table = performances.decisions(["(pooled)"])
    better = decisions.useful(table)
    low, high = table["threshold"][better].min(), table["threshold"][better].max()
    assert f"at thresholds from {span(low, high)}." in decisions.decision_alt(table)
    never = table.assign(net_benefit=-1.0)
    assert "at no threshold" in decisions.decision_alt(never)
    gap = table.assign(net_benefit=table["net_benefit"].where(table.index % 2 == 0, -1.0))
    assert "with gaps" in decisions.decision_alt(gap)
    labels = [line.get_label() for line in decisions.decision_figure(table).axes[0].lines]
    assert labels == ["model, with band", "treat all", "treat none"]
    panels = decisions.decision_by_hospital_figure(performances.decisions(["(pooled)", "a", "b", "c", "d"]))
    assert [axes.get_title() for axes in panels.axes] == ["a", "b", "c", "d"]


def test_subgroups_are_drawn_as_differences_from_the_reference():
    table = performances.subgroups()
    metrics = ["auroc", "sensitivity", "specificity", "calibration_intercept"]
    figure = subgroups.subgroups_figure(table, metrics, {"auroc": "AUROC"})
    assert [axes.get_title() for axes in figure.axes] == ["AUROC", *metrics[1:]]
    np.testing.assert_allclose(points(figure.axes[0], "#0b6e99"), [[-0.05, 2], [-0.1, 1]])
    assert "small (80)" in texts(figure)
    assert "difference from large: medium -0.05 (-0.10 to 0.00)" in subgroups.subgroups_alt(
        table, "auroc", "AUROC"
    )


@pytest.mark.parametrize("classes", [0, 1, 3])
@pytest.mark.parametrize("count", [3, 40])
def test_sizes_and_labels_of_hospitals(count, classes):
    table = performances.hospitals(count, few=0)
    names = [f"class {k}" for k in range(classes)]
    labels = pd.DataFrame(1 / max(classes, 2), index=table.index, columns=names)
    figure = federation.federation_figure(table["rows"], labels)
    assert [bar.get_height() for bar in figure.axes[0].patches] == sorted(table["rows"], reverse=True)
    assert len(figure.axes) == {0: 1, 1: 2, 3: 3}[classes]  # a heat map has a scale
    assert f"{table['rows'].min():,} to" in federation.federation_alt(table["rows"], labels)


def test_numbers_in_sentences():
    assert number(1e-9) == "1e-09"
    assert number(99.94) == "99.9"
    assert number(-0.001, 0.5) == "0.00"  # no negative zero
    assert number(float("inf")) == "∞"
    assert interval(0.5, float("nan"), float("nan")) == "0.50"
    assert together(["a", "b"]) == "a and b"
    assert together([]) == ""
    assert count(2, "row with a tie", "rows with a tie") == "2 rows with a tie"
