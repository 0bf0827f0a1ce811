"""Random effects against PyMARE and statsmodels, and AUROCs pooled on the logit scale."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import t
from statsmodels.stats.meta_analysis import combine_effects

from jaxfed.evaluation import pool_auroc, random_effects

SIZE = 12


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def pymare():
    with warnings.catch_warnings():  # its import leaves a file open
        warnings.simplefilter("ignore")
        from pymare import Dataset, estimators
    return Dataset, estimators


def draw(tau, seed=0, k=SIZE):
    rng = np.random.default_rng(seed)
    se = rng.uniform(0.1, 0.5, k)
    return 1.5 + rng.normal(0, tau, k) + rng.normal(0, se), se


def pooled(y, se, **settings):
    """With hospitals that are left out, so that all calls have the same shape."""
    nan = np.full(SIZE - len(y), np.nan)
    return random_effects(jnp.append(jnp.asarray(y), nan), jnp.append(jnp.asarray(se), nan), **settings)


@pytest.mark.parametrize("tau", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("method", ["dl", "reml"])
def test_mean_and_tau_are_those_of_pymare(tau, method, pymare):
    y, se = draw(tau)
    dataset, estimators = pymare
    reml = estimators.VarianceBasedLikelihoodEstimator(method="REML")
    estimator = estimators.DerSimonianLaird() if method == "dl" else reml
    other = estimator.fit_dataset(dataset(y=y, v=se**2)).summary()
    found = pooled(y, se, method=method)
    assert float(found.tau) ** 2 == pytest.approx(float(np.ravel(other.tau2)[0]), abs=2e-4)
    assert float(found.mean) == pytest.approx(float(np.ravel(other.fe_params)[0]), abs=1e-4)
    i2 = other.get_heterogeneity_stats()["I^2"]
    assert 100 * float(found.i2) == pytest.approx(float(np.ravel(i2)[0]), abs=1e-6)


@pytest.mark.parametrize("k", [3, 12])
def test_intervals_are_those_of_statsmodels(k):
    y, se = draw(0.4, seed=1, k=k)
    other = combine_effects(y, se**2, method_re="dl", use_t=True)
    found = pooled(y, se, method="dl")
    assert float(found.se) == pytest.approx(other.sd_eff_w_re_hksj, rel=1e-6)
    half = t.ppf(0.975, k - 1) * other.sd_eff_w_re_hksj
    assert float(found.high - found.mean) == pytest.approx(half, rel=1e-5)
    wide = t.ppf(0.975, k - 2) * np.sqrt(other.tau2 + other.sd_eff_w_re_hksj**2)
    assert float(found.mean - found.prediction_low) == pytest.approx(wide, rel=1e-5)
    wald = pooled(y, se, method="dl", hartung_knapp=False)
    assert float(wald.se) == pytest.approx(other.sd_eff_w_re, rel=1e-6)


def test_one_and_two_hospitals():
    one = pooled([0.3], [0.2])
    assert (float(one.mean), int(one.hospitals)) == (pytest.approx(0.3), 1)
    assert np.isnan([one.low, one.high, one.tau, one.i2, one.prediction_low]).all()
    two = pooled([0.3, 0.5], [0.2, 0.2])
    assert np.isfinite([two.low, two.tau]).all()
    assert np.isnan(two.prediction_low)
    assert np.isnan(pooled([], []).mean)


def test_prediction_interval_of_many_equal_hospitals():
    """Without heterogeneity it is that of the mean, with one degree of freedom less."""
    found = pooled(np.full(10, 0.7), np.full(10, 0.1))
    assert float(found.tau) == 0
    np.testing.assert_allclose([found.low, found.high, found.prediction_low], 0.7, atol=1e-6)


def test_areas_of_many_rows_are_pooled_as_logits():
    rng = np.random.default_rng(0)
    logit = 1.5 + rng.normal(0, 0.3, SIZE)
    area = 1 / (1 + np.exp(-logit))
    rows = np.full(SIZE, 40_000.0)
    se = np.sqrt(area * (1 - area) * 20_000 * ((1 - area) / (2 - area) + area / (1 + area))) / rows
    se = se / (area * (1 - area))
    linear, direct = pool_auroc(area, rows, rows, se), random_effects(logit, se)
    np.testing.assert_allclose(np.array(linear), np.array(direct), rtol=3e-3)


def test_small_hospitals_do_not_bend_the_pooled_area():
    """200 hospitals of 3 events with one true area: the plain logits are off, these are not."""
    rng = np.random.default_rng(2)
    k, m, n, truth = 200, 3, 20, 0.85
    shift = 1.4657  # of two unit normals with that area
    wins = rng.normal(shift, 1, (k, m))[:, :, None] > rng.normal(0, 1, (k, n))[:, None]
    area = wins.mean((1, 2))
    inside = (m * n * area + 0.5) / (m * n + 1)
    half = (m + n) / 2 - 1
    variance = inside * (1 - inside) * (1 + half * (1 - inside) / (2 - inside) + half * inside / (1 + inside))
    se = np.sqrt(variance / (m * n)) / (inside * (1 - inside))
    found = pool_auroc(area, np.full(k, 1.0 * m), np.full(k, 1.0 * n), se)
    plain = random_effects(np.log(inside / (1 - inside)), se)
    target = np.log(truth / (1 - truth))
    assert abs(float(found.mean) - target) < 0.1
    assert abs(float(plain.mean) - target) > 0.25


def test_areas_of_one_and_nothing_to_pool():
    found = pool_auroc(np.ones(SIZE), np.full(SIZE, 5.0), np.full(SIZE, 9.0), np.ones(SIZE))
    assert np.isfinite(float(found.mean))
    assert float(found.mean) > 4
    nothing = pool_auroc(*np.full((4, SIZE), np.nan))
    assert np.isnan(float(nothing.mean))
    assert int(nothing.hospitals) == 0
