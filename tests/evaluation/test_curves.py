"""Calibration and decision curves, and the threshold that hospitals choose from their counts."""

import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import confusion_matrix

from jaxfed.evaluation import (
    calibration_bins,
    calibration_curve,
    choose_threshold,
    decision_curve,
    histogram,
)
from jaxfed.evaluation.thresholds import edges

N, SEGMENTS = 400, 3


@pytest.fixture(scope="module")
def store():
    """One hospital of 300 rows, one of 60 without events, and rows that belong to none; shuffled."""
    rng = np.random.default_rng(0)
    logit = rng.normal(-1, 1.5, N).astype(np.float32)
    y = (rng.random(N) < 1 / (1 + np.exp(-0.5 * logit + 0.2 * logit**2))).astype(np.int32)
    segment = np.repeat([0, 1, 7], [300, 60, 40]).astype(np.int32)
    y[segment == 1] = 0
    order = rng.permutation(N)
    return logit[order], y[order], segment[order]


def test_bins_of_equal_mass(store):
    logit, y, segment = store
    found = calibration_bins(*store, SEGMENTS)
    mine = segment == 0
    order = np.argsort(logit[mine])
    p, labels = 1 / (1 + np.exp(-logit[mine][order])), y[mine][order]
    np.testing.assert_array_equal(found["rows"], [[30] * 10, [6] * 10, [0] * 10])
    np.testing.assert_allclose(found["predicted"][0], p.reshape(10, 30).mean(1), rtol=1e-5)
    np.testing.assert_allclose(found["observed"][0], labels.reshape(10, 30).mean(1), rtol=1e-5)
    assert (found["low"][0] <= found["observed"][0]).all()
    assert (found["observed"][0] <= found["high"][0]).all()
    assert np.isnan(found["observed"][2]).all()


@pytest.fixture(scope="module")
def small():
    """A hospital of 40 rows, whose cubes have coefficients of some hundreds; other rows belong to none."""
    rng = np.random.default_rng(2)
    logit = rng.normal(1, 1.8, 40).astype(np.float32)
    y = rng.random(40) < 1 / (1 + np.exp(-0.5 - 0.6 * logit))
    rest = N - 40
    segment = np.repeat([0, 7], [40, rest]).astype(np.int32)
    return (
        np.append(logit, np.zeros(rest, np.float32)),
        np.append(y, np.zeros(rest)).astype(np.int32),
        segment,
    )


@pytest.mark.parametrize("name", ["store", "small"])
def test_flexible_curve_is_a_regression_on_harrells_spline(name, request):
    logit, y, segment = rows = request.getfixturevalue(name)
    found = calibration_curve(*rows, SEGMENTS, points=20)
    mine = segment == 0
    x = np.sort(logit[mine]).astype(float)

    def quantile(q):
        return x[np.round(np.asarray(q) * (len(x) - 1)).astype(int)]

    k1, k2, k3, k4 = quantile([0.05, 0.35, 0.65, 0.95])

    def basis(x):
        def cube(k):
            return np.maximum(x - k, 0) ** 3

        bent = [cube(k) - cube(k3) * (k4 - k) / (k4 - k3) + cube(k4) * (k3 - k) / (k4 - k3) for k in (k1, k2)]
        return np.column_stack([np.ones_like(x), x, *bent])

    fit = sm.GLM(y[mine], basis(logit[mine].astype(float)), family=sm.families.Binomial()).fit()
    at = np.linspace(*quantile([0.01, 0.99]), 20)
    other = fit.get_prediction(basis(at)).summary_frame()
    np.testing.assert_allclose(found["predicted"][0], 1 / (1 + np.exp(-at)), rtol=1e-5)
    for ours, theirs in {"observed": "mean", "low": "mean_ci_lower", "high": "mean_ci_upper"}.items():
        np.testing.assert_allclose(found[ours][0], other[theirs], rtol=2e-3, atol=1e-4, err_msg=ours)
    assert np.isnan(found["observed"][1:]).all()  # one class, and no rows


def test_decision_curve_counts(store):
    logit, y, segment = store
    at = np.array([0.1, 0.3, 0.8], np.float32)
    found = decision_curve(*store, SEGMENTS, jnp.asarray(at))
    p, mine = 1 / (1 + np.exp(-logit)), segment == 0
    for j, t in enumerate(at):
        _, fp, _, tp = confusion_matrix(y[mine], p[mine] >= t).ravel()
        expected = tp / 300 - fp / 300 * t / (1 - t)
        assert found["net_benefit"][0, j] == pytest.approx(expected, abs=1e-6)
        everyone = y[mine].mean() - (1 - y[mine].mean()) * t / (1 - t)
        assert found["treat_all"][0, j] == pytest.approx(everyone, abs=1e-5)
    assert (found["net_benefit"][1] <= 0).all()  # nobody to treat


@pytest.mark.parametrize("rule", ["youden", "f1"])
def test_threshold_from_counts_is_the_best_edge(store, rule):
    logit, y, segment = store
    counts = np.asarray(histogram(*store, SEGMENTS))
    assert counts.sum() == 360
    assert counts.sum((1, 2)).tolist() == [300, 60, 0]
    inside = segment < SEGMENTS
    x, labels = logit[inside], y[inside]
    called = x[:, None] >= np.asarray(edges())
    tp, fp = (called[labels == k].sum(0) for k in (1, 0))
    positives = labels.sum()
    scores = tp / positives - fp / (labels == 0).sum() if rule == "youden" else 2 * tp / (tp + fp + positives)
    chosen = float(choose_threshold(counts.sum(0), rule))
    place = np.argmin(abs(np.asarray(edges()) - np.log(chosen / (1 - chosen))))
    assert scores[place] == pytest.approx(max(scores), abs=1e-6)


def test_threshold_without_a_class_is_a_half():
    counts = np.asarray(histogram(jnp.zeros(4), jnp.zeros(4, int), jnp.zeros(4, int), 1))
    assert float(choose_threshold(counts[0])) == 0.5
    assert 0.0 in np.asarray(edges())
