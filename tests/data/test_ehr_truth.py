"""The truth of the generator is what its data are drawn from."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from jaxfed.core.errors import InvalidInput
from jaxfed.data import (
    oracle_auroc,
    oracle_concordance,
    synthetic_diagnoses,
    synthetic_ehr,
    synthetic_survival,
    truth_table,
)

C, ROWS = 120, 400


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "extreme"},
        {"preset": "iid", "label_shift": 0.1},
        {"prevalence": 0.3, "sensitivity": 0.8, "specificity": 0.9},
        {"periods": 4, "drift": 0.2, "s_bt": 0.2, "groups": 3, "s_gb": 0.3},
    ],
)
def test_aurocs_of_the_true_risk_are_the_exact_ones_up_to_chance(options):
    data = synthetic_ehr(C, sizes=[ROWS] * C, split=None, **options)
    risk = "p_observed" if "p_observed" in data.truth else "eta"
    exact = truth_table(data)["auroc"].iloc[:-1].to_numpy()
    inside = []
    for h in range(C):
        rows = slice(h * ROWS, (h + 1) * ROWS)
        y = data.y[rows]
        if np.ptp(y):
            a, pos, neg = exact[h], y.sum(), ROWS - y.sum()
            # Standard error of Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747.
            q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
            variance = (a * (1 - a) + (pos - 1) * (q1 - a * a) + (neg - 1) * (q2 - a * a)) / (pos * neg)
            inside.append(abs(roc_auc_score(y, data.truth[risk][rows]) - a) < 3 * np.sqrt(variance))
    assert len(inside) > 0.9 * C
    assert np.mean(inside) >= 0.95


@pytest.mark.parametrize("options", [{}, {"sensitivity": 0.9, "specificity": 0.95, "prevalence": 0.3}])
def test_bayes_scores_are_those_of_the_risk_against_the_labels(options):
    data = synthetic_ehr(4, sizes=[20_000] * 4, split=None, **options)
    p = data.truth.get("p_observed", data.truth["p"])
    table = truth_table(data)
    assert table.loc["(pooled)", "log_loss"] == pytest.approx(log_loss(data.y, p), abs=0.006)
    assert table.loc["(pooled)", "brier"] == pytest.approx(brier_score_loss(data.y, p), abs=0.003)
    assert table.loc["(pooled)", "auroc"] == pytest.approx(roc_auc_score(data.y, p), abs=0.01)
    assert table.loc["(pooled)", "auroc"] == oracle_auroc(p)


def test_errors_of_labels_cost_the_oracle_some_skill():
    clean = truth_table(synthetic_ehr(5, sizes=[500] * 5, prevalence=0.3))
    coded = truth_table(synthetic_ehr(5, sizes=[500] * 5, prevalence=0.3, sensitivity=0.8, specificity=0.9))
    assert (coded["auroc"] < clean["auroc"] - 0.03).all()


def _p_values(data):
    """Chi-square over the prevalences, and two-sample KS of each hospital's features with all others."""
    positive = np.array([data.y[a : a + n].sum() for a, n in zip(data.start, data.size, strict=True)])
    rates = stats.chi2_contingency(np.stack([positive, data.size - positive])).pvalue
    ks = [
        stats.ks_2samp(data.x[data.owner == h, j], data.x[data.owner != h, j]).pvalue
        for h in range(len(data))
        for j in range(0, 20, 5)
    ]
    return rates, np.array(ks)


def test_iid_hospitals_differ_by_sampling_noise_only():
    options = {"sizes": [300] * 40, "prevalence": 0.3, "split": None}
    rates, ks = _p_values(synthetic_ehr(40, preset="iid", **options))
    assert rates > 1e-3
    assert stats.kstest(ks, "uniform").pvalue > 1e-3
    # The same reference rejects hospitals that differ by little.
    rates, ks = _p_values(synthetic_ehr(40, preset="mild", **options))
    assert rates < 1e-3
    assert stats.kstest(ks, "uniform").pvalue < 1e-3


def test_iid_hospitals_have_one_risk_given_the_features():
    data = synthetic_ehr(6, preset="iid", sizes=[100] * 6, features=5)
    design = np.c_[data.x.astype(float), np.ones(600)]
    w = np.linalg.lstsq(design[:100], data.truth["eta"][:100], rcond=None)[0]
    np.testing.assert_allclose(design @ w, data.truth["eta"], atol=1e-5)


# Survival.


@pytest.mark.parametrize("censoring", [0.5, 0.9])
def test_censoring_has_the_stated_share(censoring):
    data = synthetic_survival(400, preset="iid", sizes=[50] * 400, censoring=censoring)
    event = data.y[:, 1]
    assert abs(event.mean() - 1 + censoring) < 4.5 * np.sqrt(censoring * (1 - censoring) / len(event))


@pytest.mark.parametrize("shape", [1.0, 2.0])
def test_times_follow_proportional_hazards(shape):
    options = {"sizes": [3000] * 2, "s_a": 0.5, "seed": 3}
    data = synthetic_survival(2, censoring=0.6, shape=shape, **options)
    binary = synthetic_ehr(2, prevalence=0.4, **options)
    (time, event), hazard = data.y.T.astype(float), np.exp(data.truth["eta"])
    np.testing.assert_array_equal(data.x, binary.x)
    np.testing.assert_array_equal(event, binary.y)
    np.testing.assert_array_equal(data.split, binary.split)
    # Both hazards together turn the time into a standard exponential variable, independent of the event.
    scale = 365 / np.log(2) ** (1 / shape)
    total = (time / scale) ** shape * (1 + hazard)
    for rows in (event == 0, event == 1):
        assert stats.kstest(total[rows], "expon").pvalue > 1e-3
    assert (time > 0).all()
    # The hazard of the event alone does so with the time had nobody been censored.
    whole = data.truth["time"]
    assert stats.kstest((whole / scale) ** shape * hazard, "expon").pvalue > 1e-3
    np.testing.assert_allclose(whole[event == 1], time[event == 1], rtol=1e-6)
    assert (whole[event == 0] > time[event == 0] * (1 - 1e-6)).all()


def test_median_follow_up_is_that_of_the_censoring():
    # Events that hardly occur leave the censoring times alone.
    data = synthetic_survival(1, preset="iid", sizes=[20_000], censoring=0.999, follow_up=100, shape=1.5)
    assert np.median(data.y[:, 0]) == pytest.approx(100, rel=0.04)


def test_a_hospital_has_the_same_times_however_many_there_are():
    few, many = (synthetic_survival(n, n_max=100, shape=2) for n in (2, 4))
    np.testing.assert_array_equal(few.y, many.y[: len(few.y)])


def test_a_cox_model_recovers_the_log_hazard_ratios():
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    data = synthetic_survival(1, preset="iid", sizes=[4000], features=4, censoring=0.5)
    y = np.array([(event == 1, time) for time, event in data.y], dtype=[("e", bool), ("t", float)])
    fitted = CoxPHSurvivalAnalysis().fit(data.x, y).coef_
    truth = np.linalg.lstsq(np.c_[data.x, np.ones(4000)], data.truth["eta"], rcond=None)[0][:-1]
    np.testing.assert_allclose(fitted, truth, atol=0.12)


def test_expected_concordance_is_the_double_sum_and_that_of_the_data():
    from sksurv.metrics import concordance_index_censored

    rng = np.random.default_rng(0)
    for eta in (rng.normal(size=30), np.round(rng.normal(size=30)), np.zeros(4)):
        for censored in (True, False):
            concordant = comparable = 0.0
            for i in range(len(eta)):
                for j in range(len(eta)):
                    if i != j:
                        first = np.exp(eta[i]) / (np.exp(eta[i]) + np.exp(eta[j]) + 2 * censored)
                        comparable += first
                        concordant += first * ((eta[i] > eta[j]) + 0.5 * (eta[i] == eta[j]))
            assert oracle_concordance(eta, censored) == pytest.approx(concordant / comparable)
    assert np.isnan(oracle_concordance(np.ones(1)))
    data = synthetic_survival(1, censoring=0.6, sizes=[1500], seed=1)
    eta, (time, event) = data.truth["eta"], data.y.T
    measured = concordance_index_censored(event == 1, time, eta)[0]
    assert measured == pytest.approx(oracle_concordance(eta), abs=0.03)
    table = truth_table(data)
    assert list(table) == ["n", "events", "concordance"]
    assert table.loc["(pooled)"].tolist() == [1500, event.sum(), oracle_concordance(eta)]


def test_quantiles_stand_for_many_patients():
    eta = np.random.default_rng(0).normal(size=8000)
    whole = np.mean([oracle_concordance(part) for part in eta.reshape(40, 200)])
    assert oracle_concordance(eta) == pytest.approx(whole, abs=0.003)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"censoring": 1}, "censoring=1: give a number between 0 and 1"),
        ({"censoring": "half"}, "censoring='half'"),
        ({"shape": 0}, "shape=0"),
        ({"follow_up": -5}, "follow_up=-5"),
        ({"prevalence": 0.3}, "here censoring=0.7"),
        ({"task": "binary"}, "task='binary': give a task of time and event"),
        ({"hospitals": 0}, "hospitals=0"),
        ({"s_c": 0.3}, "no argument 's_c'"),
    ],
)
def test_wrong_options_of_survival_are_named(options, message):
    with pytest.raises(InvalidInput) as caught:
        synthetic_survival(**{"hospitals": 2, **options})
    assert message in str(caught.value)


# Several diagnoses.


def test_probabilities_of_diagnoses_are_those_of_bayes():
    options = {"features": 3, "classes": 3, "signal": 1.5, "rho": 0.5, "split": None}
    data = synthetic_diagnoses(2, sizes=[30_000, 500], label_shift=0.0, **options)
    # The means of the diagnoses from the data themselves; the shares are equal.
    mean = np.stack([data.x[data.y == k].mean(0) for k in range(3)])
    R = 0.5 ** np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    density = np.stack([stats.multivariate_normal(m, R).pdf(data.x) for m in mean], axis=1)
    np.testing.assert_allclose(data.truth["p"], density / density.sum(1, keepdims=True), atol=0.03)
    np.testing.assert_allclose(
        np.sqrt(np.einsum("ki,ij,kj->k", mean, np.linalg.inv(R), mean)), 1.5, rtol=0.02
    )


def test_diagnoses_follow_their_probabilities_and_mixes_differ():
    K, spread = 4, 0.2
    data = synthetic_diagnoses(300, sizes=[200] * 300, classes=K, label_shift=spread, s_x=0.3, split=None)
    share = np.stack([np.bincount(y, minlength=K) for y in data.y.reshape(300, 200)]) / 200
    variance = 1 / K * (1 - 1 / K)
    np.testing.assert_allclose(share.mean(0), 1 / K, atol=4 * np.sqrt(variance * spread / 300))
    assert share.var(0).mean() == pytest.approx(variance * (spread + (1 - spread) / 200), rel=0.15)
    p, y = data.truth["p"], data.y
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    for k in range(K):
        for low, high in ((0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 1.01)):
            inside = (p[:, k] >= low) & (p[:, k] < high)
            expected = p[inside, k]
            error = np.sqrt((expected * (1 - expected)).sum())
            assert abs((y[inside] == k).sum() - expected.sum()) < 4 * error
    table = truth_table(data)
    assert list(table) == ["n", "log_loss", "brier", "accuracy"]
    assert table.loc["(pooled)", "log_loss"] == pytest.approx(log_loss(y, p), abs=0.01)
    assert table.loc["(pooled)", "accuracy"] == pytest.approx((p.argmax(1) == y).mean(), abs=0.01)
    onehot = (np.eye(K)[y] - p) ** 2
    assert table.loc["(pooled)", "brier"] == pytest.approx(onehot.sum(1).mean(), abs=0.01)


def test_hospitals_of_diagnoses_do_not_depend_on_their_number():
    few, many = (synthetic_diagnoses(n, n_max=200, s_x=0.2) for n in (2, 5))
    rows = len(few.y)
    np.testing.assert_array_equal(few.x, many.x[:rows])
    np.testing.assert_array_equal(few.y, many.y[:rows])
    assert not np.isnan(truth_table(few)["log_loss"]).any()
    assert np.isnan(truth_table(synthetic_diagnoses(2, sizes=[0, 30])).loc["h0000", "accuracy"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "classes=1: give a whole number, 2 or more"),
        ({"label_shift": 1}, "label_shift=1"),
        ({"rho": 1}, "rho=1"),
        ({"signal": -1}, "signal=-1"),
        ({"sizes": [1, 2]}, "pass hospitals=2"),
        ({"alpha": 0.5}, "no argument 'alpha'"),
        ({"split": (1, 2)}, "three fractions"),
    ],
)
def test_wrong_options_of_diagnoses_are_named(options, message):
    with pytest.raises(InvalidInput, match="synthetic_diagnoses") as caught:
        synthetic_diagnoses(**{"hospitals": 3, **options})
    assert message in str(caught.value)
