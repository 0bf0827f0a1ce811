"""Metrics of several classes and of numbers with intervals, against scikit-learn and loops."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t
from sklearn import metrics as sk

from jaxfed.evaluation import multiclass_estimates, regression_estimates
from jaxfed.evaluation.auroc import newcombe_variance
from jaxfed.evaluation.intervals import wilson

SEGMENT = np.repeat([0, 1, 2, 3, -1], [150, 50, 1, 2, 7]).astype(np.int32)
N = len(SEGMENT)


def of_segment(s):
    """Whose rows these are."""
    return np.equal(SEGMENT, s)


@pytest.fixture(scope="module")
def classes():
    """Three classes; the second hospital lacks one, the third has one row, the fourth a NaN."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, N)
    y[(of_segment(1)) & (y == 2)] = 0
    outputs = np.round(rng.normal(size=(N, 3)) + 1.2 * np.eye(3)[y], 1).astype(np.float32)
    outputs[np.flatnonzero(of_segment(3))[0], 1] = np.nan
    estimates, marks = multiclass_estimates(jnp.asarray(outputs), jnp.asarray(y), SEGMENT, 5)
    return outputs, y, {name: np.asarray(e) for name, e in estimates.items()}, marks


@pytest.mark.parametrize("s", [0, 1])
def test_classes_are_scored_as_by_scikit_learn(classes, s):
    outputs, y, found, _ = classes
    x, labels = outputs[of_segment(s)].astype(float), y[of_segment(s)]
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    there = np.unique(labels)
    areas = [sk.roc_auc_score(labels == k, x[:, k]) for k in there]
    expected = {
        "accuracy": sk.accuracy_score(labels, x.argmax(1)),
        "auroc": np.mean(areas),
        "log_loss": sk.log_loss(labels, p, labels=[0, 1, 2]),
        "brier": ((p - np.eye(3)[labels]) ** 2).sum(1).mean(),
        "balanced_accuracy": np.mean([(x.argmax(1) == k)[labels == k].mean() for k in there]),
    }
    for name, value in expected.items():
        assert found[name][0, s] == pytest.approx(value, abs=2e-6), name
        assert found[name][1, s] < value < found[name][2, s], name


def test_balanced_accuracy_of_one_class_has_wilsons_interval(classes):
    outputs, y, found, marks = classes
    right = outputs[of_segment(2)].argmax(1) == y[of_segment(2)]
    low, high = wilson(right.sum(), np.array([1]), 0.95)
    np.testing.assert_allclose(found["balanced_accuracy"][1:3, 2], np.array([low[0], high[0]]), atol=1e-6)
    assert np.isnan(found["auroc"][:, 2]).all()  # one row
    assert np.isnan([values[0, 3:] for values in found.values()]).all()
    assert marks["broken"].tolist() == [False, False, False, True, False]


def test_error_of_the_area_is_that_of_a_jackknife(classes):
    """Of the mean over classes, whose placements in the same rows go together."""
    outputs, y, found, _ = classes
    x, labels = outputs[of_segment(0)], y[of_segment(0)]

    def area(x, labels):
        wins = [x[labels == k, k][:, None] - x[labels != k, k] for k in range(3)]
        return np.mean([((w > 0) + 0.5 * (w == 0)).mean() for w in wins])

    n = len(labels)
    without = np.array([area(np.delete(x, i, 0), np.delete(labels, i)) for i in range(n)])
    se = np.sqrt((n - 1) * without.var())
    inside = expit(found["auroc"][3, 0])
    assert found["auroc"][4, 0] * inside * (1 - inside) == pytest.approx(se, rel=0.03)


def test_an_area_of_few_rows_has_the_error_of_independent_classes_also_at_1():
    y, segment = np.tile([0, 1, 2], 10), np.repeat([0, 1], 15)
    outputs = np.where(segment[:, None] == 0, 10, 1) * np.eye(3)[y] + np.random.default_rng(0).normal(
        size=(30, 3)
    )
    found = multiclass_estimates(jnp.asarray(outputs), jnp.asarray(y), jnp.asarray(segment), 2)[0]["auroc"]
    value, low, high, centre, se = (np.asarray(part, float) for part in found)
    assert (value[0], high[0]) == (1, 1)
    assert 0.5 < low[0] < 1
    assert low[1] < value[1] < high[1] < 1
    for s in (0, 1):
        inside, parts = [], []
        for k in range(3):
            own = segment == s
            area = sk.roc_auc_score(y[own] == k, outputs[own, k])
            inside.append((50 * area + 0.5) / 51)
            parts.append(float(newcombe_variance(jnp.asarray(inside[-1]), jnp.asarray(5), jnp.asarray(10))))
        assert expit(centre[s]) == pytest.approx(np.mean(inside), abs=1e-6)
        spread = np.sqrt(np.sum(parts)) / 3
        assert se[s] * np.mean(inside) * (1 - np.mean(inside)) == pytest.approx(spread, rel=1e-4)


def test_numbers():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(N, 2)).astype(np.float32)
    outputs = (0.7 * y + 0.4 * rng.normal(size=(N, 2))).astype(np.float32)
    found = {name: np.asarray(e) for name, e in regression_estimates(outputs, y, SEGMENT, 5)[0].items()}
    for s in (0, 1):
        x, labels = outputs[of_segment(s)].astype(float), y[of_segment(s)].astype(float)
        n, mse, mae = len(x), sk.mean_squared_error(labels, x), sk.mean_absolute_error(labels, x)
        assert found["rmse"][0, s] == pytest.approx(np.sqrt(mse), rel=1e-5)
        assert found["mae"][0, s] == pytest.approx(mae, rel=1e-5)
        r2 = sk.r2_score(labels, x, multioutput="variance_weighted")
        assert found["r2"][0, s] == pytest.approx(r2, abs=1e-5)
        error = abs(labels - x).mean(1)
        half = t.ppf(0.975, n - 1) * error.std(ddof=1) / np.sqrt(n)
        np.testing.assert_allclose(found["mae"][1:3, s], [mae - half, mae + half], rtol=1e-4)

        def of(weight, x=x, labels=labels):
            return sk.r2_score(labels, x, sample_weight=weight, multioutput="variance_weighted")

        step = 1e-5
        slope = [
            (of(np.ones(n) + step * row) - of(np.ones(n) - step * row)) / (2 * step) for row in np.eye(n)
        ]
        np.testing.assert_allclose(
            found["r2"][4, s], np.sqrt(np.sum(np.square(slope)) * n / (n - 1)), rtol=1e-3
        )
        log = np.log(found["rmse"][:3, s])
        assert log[2] - log[0] == pytest.approx(log[0] - log[1], rel=1e-4)
    assert np.isnan(found["r2"][:, 2]).all()
    assert np.isnan(found["mae"][1:, 2]).sum() == 3  # one row has no spread: low, high and error
