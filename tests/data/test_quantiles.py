"""Federated quantiles are the pooled ones up to an interval; winsorising and robust scaling use them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, quantiles, standardize, transform_like, winsorise

Q = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def dataset(x, sizes, split=None):
    N = sum(sizes)
    names = tuple(f"h{c}" for c in range(len(sizes)))
    features = tuple(f"f{j}" for j in range(np.shape(x)[1]))
    parts = np.zeros(N, np.int8) if split is None else split
    y, classes = np.arange(N) % 2, ("0", "1")
    return Dataset(np.asarray(x, float), y, np.array(sizes), parts, names, "binary", classes, features)


@given(
    values=st.lists(
        st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.just(np.nan)),
        min_size=1,
        max_size=60,
    ),
    hospitals=st.integers(1, 5),
    bins=st.sampled_from([2, 7, 64]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_they_are_the_pooled_ones_within_one_interval(values, hospitals, bins):
    values = np.array([1.0, *values])
    sizes = np.bincount(np.arange(len(values)) % hospitals, minlength=hospitals)
    result = quantiles(dataset(values[:, None], sizes), Q, bins=bins)
    known = values[np.isfinite(values)]
    interval = np.ptp(known) / bins**2
    np.testing.assert_allclose(result["f0"], np.quantile(known, Q), rtol=0, atol=interval * (1 + 1e-9) + 1e-9)


@pytest.fixture(scope="module")
def skewed():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.lognormal(1, 1, 400), rng.normal(5, 2, 400), rng.random(400) < 0.1])
    x[::7, 0] = np.nan
    split = rng.choice(3, 400, p=[0.7, 0.1, 0.2]).astype(np.int8)
    return dataset(x, [150, 0, 8, 242], split)


def test_training_rows_only_and_in_any_order(skewed):
    changed = skewed.x.copy()
    changed[skewed.split != 0] = 1e9
    before = quantiles(skewed, Q)
    np.testing.assert_array_equal(before, quantiles(skewed.replace(x=changed), Q))
    np.testing.assert_array_equal(before, quantiles(skewed.select(["h3", "h2", "h0"]), Q))
    np.testing.assert_allclose(
        before["f0"], np.nanquantile(skewed.x[skewed.split == 0, 0], Q), atol=np.nanmax(skewed.x) / 1024**2
    )


def test_small_hospitals_can_be_left_out(skewed):
    np.testing.assert_array_equal(
        quantiles(skewed, Q, min_rows=20), quantiles(skewed.select(["h0", "h3"]), Q)
    )
    with pytest.raises(InvalidInput, match="no hospital has 1000 training rows"):
        quantiles(skewed, min_rows=1000)


def test_robust_scaling_is_that_of_scikit_learn(skewed):
    """Of the features whose interquartile range is not 0; the third one is divided by its deviation."""
    train = skewed.split == 0
    oracle = RobustScaler(unit_variance=True).fit(skewed.x[train])
    scaled = standardize(skewed, robust=True)
    expected = oracle.transform(skewed.x)
    np.testing.assert_allclose(scaled.x[:, :2], expected[:, :2], rtol=1e-4, atol=1e-4)
    spread = np.std(skewed.x[train, 2], ddof=1)
    np.testing.assert_allclose(scaled.x[:, 2], skewed.x[:, 2] / spread, rtol=1e-4, atol=1e-4)
    local = standardize(skewed, "local", robust=True)
    for name in ("h0", "h3"):
        x, _, split = skewed.rows(name)
        own = RobustScaler(unit_variance=True).fit(x[split == 0]).transform(x)
        np.testing.assert_allclose(local.rows(name)[0][:, :2], own[:, :2], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(local.rows("h2")[0], scaled.rows("h2")[0])  # too small for its own


def test_winsorising_moves_extreme_values_to_quantiles(skewed):
    limits = (0.05, 0.9)
    done = winsorise(skewed, limits, columns=["f0", "f1"])
    low, high = np.nanquantile(skewed.x[skewed.split == 0, :2], limits, axis=0)
    np.testing.assert_allclose(done.x[:, :2], np.clip(skewed.x[:, :2], low, high), rtol=1e-4)
    np.testing.assert_array_equal(done.x[:, 2], skewed.x[:, 2])
    local = winsorise(skewed, limits, "local")
    x, _, split = skewed.rows("h0")
    bounds = np.nanquantile(x[split == 0], limits, axis=0)
    np.testing.assert_allclose(local.rows("h0")[0], np.clip(x, *bounds), rtol=1e-12)


@pytest.mark.parametrize("how", ["federated", "local"])
def test_new_rows_get_the_same_numbers(skewed, how):
    ready = standardize(winsorise(skewed, how=how), how, robust=True, columns=["f0"])
    np.testing.assert_array_equal(transform_like(skewed.select(["h3"]), ready).x, ready.rows("h3")[0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d: quantiles(d, 1.5), "q=1.5: give numbers from 0 to 1"),
        (lambda d: quantiles(d, bins=1), "bins=1: give 2 or more"),
        (lambda d: quantiles(d.replace(x={"a": d.x}, features=())), "x is not one matrix"),
        (lambda d: winsorise(d, (0.9, 0.1)), "give two quantiles, as (0.01, 0.99)"),
        (lambda d: winsorise(d, 0.99), "give two quantiles"),
        (lambda d: winsorise(d, how="locl"), "did you mean 'local'"),
        (lambda d: winsorise(d, columns=["f00"]), "no feature 'f00'; did you mean 'f0'"),
        (lambda d: standardize(d, columns=[]), "columns is empty"),
        (lambda d: standardize(d, columns="f0"), "give a list, as ['f0']"),
    ],
)
def test_bad_input(skewed, call, words):
    with pytest.raises(InvalidInput) as caught:
        call(skewed)
    assert words in str(caught.value)


def test_a_constant_feature_is_centred():
    data = dataset(np.column_stack([np.full(40, 0.1), np.arange(40.0)]), [20, 20])
    with pytest.warns(DataWarning, match="'f0' is constant"):
        scaled = standardize(data, robust=True)
    np.testing.assert_allclose(scaled.x[:, 0], 0, atol=1e-12)
