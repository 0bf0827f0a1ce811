"""Metrics of predicted times, curves from counts and baselines, against scikit-survival."""

import numpy as np
import pandas as pd
import pytest
from sksurv import metrics
from sksurv.compare import compare_survival
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.nonparametric import kaplan_meier_estimator, nelson_aalen_estimator
from sksurv.util import Surv
from survival_oracles import draw, hospitals, naive_cindex

from jaxfed.core.errors import InvalidInput
from jaxfed.data import from_arrays
from jaxfed.evaluation import (
    baseline_hazard,
    brier_score,
    count_life_table,
    dynamic_auc,
    harrell_concordance,
    integrated_brier_score,
    life_table,
    uno_concordance,
)
from jaxfed.figures.survival import survival_figure

TIMES = [0.3, 0.5, 0.8]


@pytest.fixture(scope="module")
def rows():
    """Training rows, test rows, their scores with ties, and predicted survival at TIMES."""
    _, *train = draw(150, seed=1)
    x, *test = draw(90, seed=2)
    risk = np.round(x[:, 0], 1).astype(float)
    survival = np.exp(-np.exp(risk)[:, None] * np.array(TIMES))
    return train, test, risk, survival


def structured(time, event):
    return Surv.from_arrays(event > 0, time)


def test_concordance(rows):
    train, test, risk, _ = rows
    assert harrell_concordance(risk, *test) == pytest.approx(naive_cindex(risk, *test))
    for tau in (0.9, 0.4):
        oracle = metrics.concordance_index_ipcw(structured(*train), structured(*test), risk, tau=tau)[0]
        assert uno_concordance(risk, *test, *train, tau=tau) == pytest.approx(oracle, rel=1e-9)
    everyone = test[0], np.ones_like(test[1])
    same = harrell_concordance(risk, *everyone), uno_concordance(risk, *everyone, *everyone)
    assert same[0] == pytest.approx(same[1])  # nobody is censored
    assert np.isnan(harrell_concordance(risk, test[0], 0 * test[1]))
    assert np.isnan(harrell_concordance(risk * np.nan, *test))


def test_dynamic_auc(rows):
    train, test, risk, _ = rows
    # scikit-survival weighs all test rows, also those that have their events later
    inside = test[0] <= 1.2
    part, scores = [leaf[inside] for leaf in test], risk[inside]
    oracle = metrics.cumulative_dynamic_auc(structured(*train), structured(*part), scores, TIMES)[0]
    np.testing.assert_allclose(dynamic_auc(scores, *part, *train, TIMES), oracle, rtol=1e-9)
    each = dynamic_auc(np.stack([scores, -scores, scores], 1), *part, *train, TIMES)
    np.testing.assert_allclose(each, [oracle[0], 1 - oracle[1], oracle[2]], rtol=1e-9)
    assert np.isnan(dynamic_auc(scores, *part, *train, [1e-9])).all()  # no event so early


def test_brier(rows):
    train, test, _, survival = rows
    oracle = metrics.brier_score(structured(*train), structured(*test), survival, TIMES)[1]
    scores = brier_score(survival, *test, *train, TIMES)
    np.testing.assert_allclose(scores, oracle, rtol=1e-9)
    whole = metrics.integrated_brier_score(structured(*train), structured(*test), survival, TIMES)
    assert integrated_brier_score(scores, TIMES) == pytest.approx(whole, rel=1e-9)


def test_weights_that_do_not_exist_are_refused(rows):
    _, test, risk, survival = rows
    early = np.array([0.1, 0.2]), np.array([1, 0])  # all are censored by 0.2
    with pytest.raises(InvalidInput, match="give tau= below it"):
        uno_concordance(risk, *test, *early)
    with pytest.raises(InvalidInput, match="give times= below it"):
        brier_score(survival, *test, *early, TIMES)
    with pytest.raises(InvalidInput, match="give a column for each of the 3 times"):
        brier_score(survival[:, 0], *test, *test, TIMES)
    with pytest.raises(InvalidInput, match="look at the order of the arguments"):
        harrell_concordance(risk, test[1], test[0])
    with pytest.raises(InvalidInput, match="give one of each for each row"):
        harrell_concordance(risk[1:], *test)


@pytest.mark.parametrize("grid", ["each time", "coarse"])
def test_curves_from_counts_are_the_pooled_ones(grid):
    """On a coarse grid, those of times that are moved to the ends of their intervals."""
    data = hospitals((70, 50, 30), split=None)
    time, event = data.y.astype(float).T
    ends = np.unique(time) if grid == "each time" else np.array([0.2, 0.5, 0.75, 1.0, 20.0])
    table = life_table(data, ends=ends)
    moved = ends[np.searchsorted(ends, time)]
    at, survival, interval = kaplan_meier_estimator(event > 0, moved, conf_type="log-log")
    curve = table.pooled().curve().loc[at]
    np.testing.assert_allclose(curve["kaplan_meier"], survival, rtol=1e-12)
    inner = (survival < 1) & (survival > 0)
    np.testing.assert_allclose(curve[["low", "high"]].T.to_numpy()[:, inner], interval[:, inner], rtol=1e-9)
    np.testing.assert_allclose(curve["nelson_aalen"], nelson_aalen_estimator(event > 0, moved)[1], rtol=1e-12)
    assert curve["at_risk"].iloc[0] == 150
    own = data.owner == 1
    at, survival = kaplan_meier_estimator(event[own] > 0, moved[own])
    np.testing.assert_allclose(table.curve("hospital 1").loc[at, "kaplan_meier"], survival, rtol=1e-12)
    oracle = compare_survival(structured(moved, event), data.owner)
    test = table.logrank()
    assert test.statistic == pytest.approx(oracle[0], rel=1e-9)
    assert test.p == pytest.approx(oracle[1], rel=1e-9)
    assert test.degrees == 2


def test_the_grid_of_the_first_round_shows_no_exact_time():
    table = count_life_table([1234.0, 17.0, 3.0], [1, 1, 0], intervals=13)
    assert table.ends[-1] == pytest.approx(1300)
    assert table.events.sum() + table.censored.sum() == 3


def test_hospitals_tell_nothing_of_few_patients():
    """As long as 10 are at risk; a hospital of 6 nothing at all."""
    data = hospitals((70, 6), split=None)
    table = life_table(data, intervals=30, min_rows=10)
    assert table.silent == ("hospital 1",)
    assert table.at_risk[1].sum() == table.events[1].sum() == table.censored[1].sum() == 0
    counts = table.at_risk[0]
    assert counts[0] == 70
    assert ((counts == 0) | (counts >= 10)).all()
    assert (counts == 0).any()
    left = table.events[0] + table.censored[0]
    assert left.sum() == 70  # the last ones count as censored
    exact = life_table(data, intervals=30, ends=table.ends).curve("hospital 0")["kaplan_meier"]
    told = table.curve("hospital 0")["kaplan_meier"]
    assert told.notna().sum() == (counts > 0).sum() + 1
    np.testing.assert_allclose(told.dropna(), exact[told.notna()], rtol=1e-12)


def test_cuts_have_equal_shares_of_events():
    _, time, event = draw(400, seed=4)
    table = count_life_table(time, event, ends=np.unique(time))
    cuts = table.cuts(4)
    shares = np.histogram(time[event > 0], [0, *np.nextafter(cuts, 9)])[0] / event.sum()
    np.testing.assert_allclose(shares, 0.25, atol=0.1)
    assert cuts[-1] == time[event > 0].max()


def test_arguments_of_life_tables_are_checked():
    data = hospitals((20, 10))
    with pytest.raises(InvalidInput, match="did you mean 'test'"):
        life_table(data, split="tset")
    with pytest.raises(InvalidInput, match="min_rows=0; give a whole number"):
        life_table(data, min_rows=0)
    with pytest.raises(InvalidInput, match="give ascending times"):
        life_table(data, ends=[2, 1])
    with pytest.raises(InvalidInput, match="give survival data"):
        life_table(from_arrays({"a": (np.zeros((9, 1)), np.arange(9) % 2)}))
    with pytest.raises(InvalidInput, match="or call pooled"):
        life_table(data).curve()
    with pytest.raises(InvalidInput, match="two or more groups"):
        life_table(data).pooled().logrank()


def test_baselines_are_those_of_breslow():
    x, time, event = draw(80)
    oracle = CoxPHSurvivalAnalysis().fit(x, structured(time, event))
    risk, ends = oracle.predict(x), np.unique(time)
    base = baseline_hazard(risk, time, event, ends)
    expected = np.array([curve(ends) for curve in oracle.predict_survival_function(x[:5])])
    np.testing.assert_allclose(base.survival(risk[:5], ends), expected, rtol=1e-9)
    between = base.survival(risk[:5], [0.0, (ends[0] + ends[1]) / 2, ends[-1] + 1])
    np.testing.assert_allclose(between[:, 0], 1)
    np.testing.assert_allclose(between[:, 1], expected[:, 0])
    assert np.isnan(between[:, 2]).all()
    names = np.where(np.arange(80) < 50, "north", "south")
    each = baseline_hazard(risk, time, event, ends, names)
    own = baseline_hazard(risk[:50], time[:50], event[:50], ends)
    np.testing.assert_allclose(each.survival(risk[:5], TIMES, "north"), own.survival(risk[:5], TIMES))
    with pytest.raises(InvalidInput, match="give group=, the hospital"):
        each.survival(risk, TIMES)
    with pytest.raises(InvalidInput, match="did you mean 'south'"):
        each.survival(risk, TIMES, "sooth")


def test_the_figure_has_a_step_for_each_group_and_the_numbers_at_risk():
    table = life_table(hospitals((70, 50), split=None), intervals=20)
    curves = {name: table.curve(name) for name in table.groups}
    axes, below = survival_figure(curves, unit="years").axes
    lines = [line for line in axes.lines if line.get_label() in curves]
    assert [line.get_drawstyle() for line in lines] == ["steps-post"] * 2
    np.testing.assert_array_equal(lines[0].get_ydata(), curves["hospital 0"]["kaplan_meier"].dropna())
    written = [text.get_text() for text in below.texts]
    assert {"70", "50"} <= {*written}
    assert [label.get_text() for label in below.get_yticklabels()] == [*curves]
    assert axes.get_xlabel() == "time (years)"
    assert isinstance(curves["hospital 0"], pd.DataFrame)


def test_the_largest_time_is_in_the_last_interval_whatever_its_digits():
    for time in (0.9500000000000001, 0.29999999999999993, 7.7000000000000005, 1e-7 / 3):
        for intervals in (3, 7, 50):
            table = count_life_table([time / 2, time], [0, 1], intervals=intervals)
            assert table.events.sum() == 1
