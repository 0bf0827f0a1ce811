"""Metrics of two classes with intervals, against scikit-learn, statsmodels and naive counts."""

import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import t
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from jaxfed.evaluation import binary_estimates
from jaxfed.evaluation.intervals import normal_quantile

N, SEGMENTS, THRESHOLD = 480, 9, 0.4
PLAIN, ROUNDED, SMALL = 0, 1, 2  # segments with both classes
EMPTY, ONE_CLASS, ONE_ROW, EQUAL, SEPARATED, BROKEN = range(3, 9)
SIZES = {PLAIN: 180, ROUNDED: 120, SMALL: 12, ONE_CLASS: 9, ONE_ROW: 1, EQUAL: 20, SEPARATED: 14, BROKEN: 10}


@pytest.fixture(scope="module")
def store():
    """Logits, labels and segments; the last rows belong to no segment."""
    rng = np.random.default_rng(0)
    segment = np.concatenate([np.full(n, s) for s, n in SIZES.items()])
    segment = np.append(segment, np.resize([-1, 9, 77], N - len(segment))).astype(np.int32)
    logit = rng.normal(-0.5, 1.5, N).astype(np.float32)
    y = (rng.random(N) < 1 / (1 + np.exp(-0.7 * logit - 0.3))).astype(np.int32)
    logit[segment == ROUNDED] = np.round(logit[segment == ROUNDED])  # ties
    logit[segment == EQUAL] = 0.3
    y[segment == ONE_CLASS] = 0
    y[segment == SEPARATED] = np.arange(SIZES[SEPARATED]) % 2
    logit[segment == SEPARATED] = 2.0 * y[segment == SEPARATED] + 0.1 * rng.random(SIZES[SEPARATED])
    logit[np.flatnonzero(segment == BROKEN)[0]] = np.nan
    return logit, y, segment


@pytest.fixture(scope="module")
def result(store):
    estimates, marks = binary_estimates(*map(jnp.asarray, store), SEGMENTS, THRESHOLD)
    return {name: np.asarray(e) for name, e in estimates.items()}, marks  # name: [5, segments]


def rows(store, s):
    logit, y, segment = store
    mine = segment == s
    logit, y = logit[mine].astype(float), y[mine]
    return logit, 1 / (1 + np.exp(-logit)), y


def placements(score, y):
    """The area and DeLong's variance, from all pairs."""
    wins = (score[y == 1][:, None] > score[y == 0]) + 0.5 * (score[y == 1][:, None] == score[y == 0])
    variance = wins.mean(1).var(ddof=1) / len(wins) + wins.mean(0).var(ddof=1) / wins.shape[1]
    return wins.mean(), variance


@pytest.mark.parametrize("s", [PLAIN, ROUNDED, SMALL])
def test_values_are_those_of_scikit_learn(store, result, s):
    logit, p, y = rows(store, s)
    called = p >= THRESHOLD
    brier = sk.brier_score_loss(y, p)
    tn, fp, fn, tp = sk.confusion_matrix(y, called).ravel()
    expected = {
        "auroc": sk.roc_auc_score(y, logit),
        "auprc": sk.average_precision_score(y, logit),
        "brier": brier,
        "brier_scaled": 1 - brier / (y.mean() * (1 - y.mean())),
        "log_loss": sk.log_loss(y, p),
        "oe": y.sum() / p.sum(),
        "sensitivity": sk.recall_score(y, called),
        "specificity": sk.recall_score(1 - y, ~called),
        "ppv": sk.precision_score(y, called),
        "npv": sk.precision_score(1 - y, ~called),
        "f1": sk.f1_score(y, called),
        "net_benefit": tp / len(y) - fp / len(y) * THRESHOLD / (1 - THRESHOLD),
    }
    for name, value in expected.items():
        assert result[0][name][0, s] == pytest.approx(value, abs=2e-6), name
    for name, (count, of) in {"sensitivity": (tp, tp + fn), "npv": (tn, tn + fn)}.items():
        ends = proportion_confint(count, of, method="wilson")
        np.testing.assert_allclose(result[0][name][1:3, s], ends, atol=1e-6)
    star = np.array(proportion_confint(tp, tp + fp + fn, method="wilson"))
    np.testing.assert_allclose(result[0]["f1"][1:3, s], 2 * star / (1 + star), atol=1e-6)
    assert result[0]["f1"][3, s] == pytest.approx(np.log(2 * (tp + 0.5) / (fp + fn + 0.5)), abs=1e-5)


@pytest.mark.parametrize("s", [PLAIN, ROUNDED])
def test_delong_on_the_logit_scale(store, result, s):
    logit, _, y = rows(store, s)
    area, variance = placements(logit, y)
    half = normal_quantile(0.95) * np.sqrt(variance) / (area * (1 - area))
    ends = 1 / (1 + np.exp(-(np.log(area / (1 - area)) + np.array([-half, half]))))
    np.testing.assert_allclose(result[0]["auroc"][:3, s], [area, *ends], atol=2e-6)
    assert result[0]["auroc"][4, s] == pytest.approx(np.sqrt(variance) / (area * (1 - area)), rel=2e-2)


@pytest.mark.parametrize("s", [SMALL, SEPARATED])
def test_few_rows_of_a_class_have_newcombes_interval(store, result, s):
    """The limits solve |A - T| = z sqrt(V(T)), and a perfect area has a lower limit."""
    _, _, y = rows(store, s)
    m, n = y.sum(), len(y) - y.sum()
    area, low, high = result[0]["auroc"][:3, s].astype(float)
    k = (m + n) / 2 - 1

    def distance(t):
        variance = t * (1 - t) * (1 + k * (1 - t) / (2 - t) + k * t / (1 + t)) / (m * n)
        return abs(area - t) / np.sqrt(variance)

    assert 0 < low < area <= high
    assert distance(low) == pytest.approx(1.96, abs=1e-3)
    assert high == 1.0 if area == 1 else distance(high) == pytest.approx(1.96, abs=1e-3)


@pytest.mark.parametrize("s", [PLAIN, ROUNDED, SMALL])
def test_recalibration_is_that_of_statsmodels(store, result, s):
    logit, _, y = rows(store, s)
    family = sm.families.Binomial()
    large = sm.GLM(y, np.ones((len(y), 1)), family=family, offset=logit).fit()
    slope = sm.GLM(y, sm.add_constant(logit), family=family).fit()
    for name, fit in {"calibration_intercept": large, "calibration_slope": slope}.items():
        expected = [fit.params[-1], *fit.conf_int()[-1], fit.params[-1], fit.bse[-1]]
        np.testing.assert_allclose(result[0][name][:, s], expected, rtol=2e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("s", [PLAIN, ROUNDED, SMALL])
def test_intervals_of_means(store, result, s):
    """Student's, from the rows; the scaled Brier score against a numerical derivative of its formula."""
    _, p, y = rows(store, s)
    error, n = (p - y) ** 2, len(y)
    se = error.std(ddof=1) / np.sqrt(n)
    np.testing.assert_allclose(result[0]["brier"][4, s], se, rtol=1e-4)
    half = t.ppf(0.975, n - 1) * se
    np.testing.assert_allclose(
        result[0]["brier"][1:3, s], [error.mean() - half, error.mean() + half], rtol=1e-4
    )

    def scaled(weight):
        share = weight / weight.sum()
        rate = share @ y
        return 1 - share @ error / (rate * (1 - rate))

    unit, step = np.ones(n), 1e-5
    influence = [(scaled(unit + step * row) - scaled(unit - step * row)) / (2 * step) for row in np.eye(n)]
    expected = np.sqrt(np.sum(np.square(influence)) * n / (n - 1))
    np.testing.assert_allclose(result[0]["brier_scaled"][4, s], expected, rtol=1e-3)


@pytest.mark.parametrize("s", [PLAIN, ROUNDED, SMALL])
def test_expected_calibration_error(store, result, s):
    logit, p, y = rows(store, s)
    middle = np.array([((logit < x).sum() + (logit <= x).sum()) / 2 for x in logit]) / len(logit)
    cell = np.minimum((middle * 10).astype(int), 9)
    gaps = [abs((y[cell == b] - p[cell == b]).sum()) / len(y) for b in range(10)]
    assert result[0]["ece"][0, s] == pytest.approx(sum(gaps), abs=1e-6)
    assert np.isnan(result[0]["ece"][1:3, s]).all()


def test_what_is_undefined(result):
    estimates, marks = result
    every = np.array([values[0] for values in estimates.values()])
    assert np.isnan(every[:, [EMPTY, BROKEN]]).all()
    assert marks["broken"].tolist() == [s == BROKEN for s in range(SEGMENTS)]
    assert marks["separated"].tolist() == [s in (EQUAL, SEPARATED) for s in range(SEGMENTS)]
    for s in (ONE_CLASS, ONE_ROW):
        for name in ("auroc", "auprc", "brier_scaled", "calibration_intercept", "calibration_slope"):
            assert np.isnan(estimates[name][:, s]).all(), name
        assert np.isfinite([estimates[name][0, s] for name in ("brier", "log_loss", "ece")]).all()
    assert np.isnan(estimates["brier"][1:3, ONE_ROW]).all()  # one row has no spread
    assert np.isnan(estimates["calibration_slope"][:, [EQUAL, SEPARATED]]).all()
    assert np.isfinite(estimates["calibration_intercept"][:, [EQUAL, SEPARATED]]).all()
    assert estimates["auroc"][0, [EQUAL, SEPARATED]].tolist() == [0.5, 1.0]
    assert estimates["auprc"][0, SEPARATED] == 1
    assert 0 < estimates["auprc"][1, SEPARATED] < 1


def test_order_of_rows_and_of_hospitals_and_rows_outside(store, result):
    """Permuted rows, renumbered segments, and other values in rows that belong to no segment."""
    logit, y, segment = store
    rng = np.random.default_rng(1)
    order, number = rng.permutation(N), rng.permutation(SEGMENTS)
    outside = (segment < 0) | (segment >= SEGMENTS)
    renamed = np.where(outside, -5, number[np.where(outside, 0, segment)]).astype(np.int32)
    others = np.where(outside, np.nan, logit).astype(np.float32)
    changed, _ = binary_estimates(others[order], y[order], renamed[order], SEGMENTS, THRESHOLD)
    for name, values in result[0].items():
        moved = np.asarray(changed[name])[:, number]
        np.testing.assert_allclose(moved, values, rtol=2e-4, atol=2e-5, err_msg=name)


def test_a_hospital_where_nobody_is_called_positive_has_an_error_of_its_net_benefit():
    """As if half a patient more were called rightly and half a patient wrongly."""
    y = jnp.asarray([1, 0, 0, 0] * 5)
    found = binary_estimates(jnp.full(20, -3.0), y, jnp.zeros(20, jnp.int32), 1, 0.2)[0]["net_benefit"]
    kinds, odds = np.array([0.0, 1.0, -0.25]), np.array([20.0, 0.5, 0.5]) / 21
    se = np.sqrt(((odds @ kinds**2) - (odds @ kinds) ** 2) / 19)
    assert found.value[0] == 0
    assert float(found.se[0]) == pytest.approx(se, rel=1e-5)
    assert float(found.high[0]) == pytest.approx(t.ppf(0.975, 19) * se, rel=1e-4)
