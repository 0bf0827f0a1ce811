import dataclasses

import numpy as np
import pytest

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, impute, standardize, transform_like
from jaxfed.data.moments import Moments, combine, hospital_moments


def _dataset(x, sizes, seed=0) -> Dataset:
    N = sum(sizes)
    return Dataset(
        x=x,
        y=np.arange(N, dtype=np.int32) % 2,
        size=np.array(sizes),
        split=np.random.default_rng(seed).choice(3, N, p=[0.7, 0.1, 0.2]).astype(np.int8),
        hospitals=tuple(f"h{c}" for c in range(len(sizes))),
        task="binary",
    )


def _normal(sizes, d=3, offset=0.0, seed=1):
    rng = np.random.default_rng(seed)
    shift = np.repeat(rng.normal(size=(len(sizes), d)) * 3, sizes, axis=0)
    return offset + shift + rng.normal(size=(sum(sizes), d)) * np.arange(1, d + 1)


SIZES = [40, 0, 3, 200, 1, 77, 13]


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_federated_statistics_are_the_pooled_ones(offset):
    data = _dataset(_normal(SIZES, offset=offset), SIZES)
    moments = combine(hospital_moments(data, data.x))
    train = np.concatenate([x[split == 0] for x, _, split in map(data.rows, data.hospitals)])
    np.testing.assert_allclose(moments.mean, train.mean(0), rtol=1e-12)
    # At 1e6 the hospitals' means themselves are only known to 1e-10.
    near = 1e-10 if offset else 1e-12
    np.testing.assert_allclose(moments.sd, train.std(0, ddof=1), rtol=near)
    expected = (data.x - train.mean(0)) / train.std(0, ddof=1)
    np.testing.assert_allclose(standardize(data).x, expected, rtol=near, atol=1e-9 if offset else 1e-12)


def test_large_means_keep_their_digits():
    x = 1e9 + np.arange(60.0)[:, None]
    data = dataclasses.replace(_dataset(x, [20, 20, 20]), split=np.zeros(60, np.int8))
    moments = combine(hospital_moments(data, data.x))
    np.testing.assert_allclose(moments.sd, np.arange(60.0).std(ddof=1), rtol=1e-12)


def test_combining_does_not_depend_on_the_order():
    data = _dataset(_normal(SIZES), SIZES)
    own = hospital_moments(data, data.x)
    turned = combine(Moments(*(part[::-1] for part in own)))
    for a, b in zip(combine(own), turned, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("how", ["federated", "local"])
def test_only_training_rows_are_looked_at(how):
    x = _normal([50, 60])
    data = _dataset(x, [50, 60])
    changed = x.copy()
    changed[data.split != 0] += 100
    before, after = standardize(data, how), standardize(data.replace(x=changed), how)
    train = data.split == 0
    np.testing.assert_array_equal(before.x[train], after.x[train])
    assert (before.x[~train] != after.x[~train]).all()


def test_local_uses_each_hospitals_own_rows():
    data = standardize(_dataset(_normal([50, 60], offset=5), [50, 60]), "local")
    for name in data.hospitals:
        x, _, split = data.rows(name)
        np.testing.assert_allclose(x[split == 0].mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(x[split == 0].std(0, ddof=1), 1, rtol=1e-12)


def test_small_hospitals_use_the_federated_statistics():
    data = _dataset(_normal([50, 8, 60]), [50, 8, 60])
    local, federated = standardize(data, "local"), standardize(data)
    np.testing.assert_allclose(local.rows("h1")[0], federated.rows("h1")[0], rtol=1e-12)
    assert not np.allclose(local.rows("h0")[0], federated.rows("h0")[0])
    own = standardize(data, "local", min_rows=2)
    assert not np.allclose(own.rows("h1")[0], federated.rows("h1")[0])


def test_small_hospitals_can_be_left_out_of_the_federated_statistics():
    data = _dataset(_normal([50, 8, 60]), [50, 8, 60])
    without = standardize(data, min_rows=10)
    alone = standardize(data.select(["h0", "h2"]))
    np.testing.assert_allclose(without.rows("h2")[0], alone.rows("h2")[0], rtol=1e-12)
    with pytest.raises(InvalidInput, match="no hospital has 1000 training rows"):
        standardize(data, min_rows=1000)


def test_constant_features_are_centred_and_named():
    x = _normal([30, 30])
    x[:, 1] = 0.1
    data = _dataset(x, [30, 30]).replace(features=("a", "b", "c"))
    with pytest.warns(DataWarning, match="feature 'b' is constant") as caught:
        done = standardize(data)
    assert len(caught) == 1
    np.testing.assert_allclose(done.x[:, 1], 0, atol=1e-15)
    x[30:, 1] = np.arange(30)
    with pytest.warns(DataWarning, match=r"feature 'b' is constant .*hospital 'h0'\)"):
        done = standardize(data.replace(x=x), "local")
    assert np.isfinite(done.x).all()


def test_missing_values_are_left_out_and_stay():
    x = _normal([50, 60])
    data = _dataset(x, [50, 60])
    holes = x.copy()
    holes[::3, 0] = np.nan
    done = standardize(data.replace(x=holes))
    kept = x[(data.split == 0) & ~np.isnan(holes[:, 0]), 0]
    expected = (holes[:, 0] - kept.mean()) / kept.std(ddof=1)
    np.testing.assert_allclose(done.x[:, 0], expected, rtol=1e-12, atol=1e-12)
    assert np.isnan(done.x[::3, 0]).all()


def test_trees_images_and_whole_numbers():
    N = 40
    rng = np.random.default_rng(0)
    scan = rng.normal(size=(N, 5, 5, 2)).astype(np.float32) * [1, 4] + [0, 9]
    x = {
        "scan": scan.astype(np.float32),
        "tokens": rng.integers(0, 9, (N, 7)),
        "age": np.arange(40.0),
    }
    data = _dataset(x, [20, 20])
    done = standardize(data).x
    np.testing.assert_array_equal(done["tokens"], x["tokens"])
    assert done["scan"].dtype == np.float32
    train = done["scan"][data.split == 0]
    np.testing.assert_allclose(train.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(train.std((0, 1, 2)), 1, rtol=2e-3)
    assert done["age"].shape == (N,)
    assert done["age"][data.split == 0].mean() == pytest.approx(0, abs=1e-12)
    whole = standardize(_dataset(rng.integers(0, 50, (N, 3)), [20, 20]))
    assert whole.x.dtype == np.float32
    assert abs(whole.x[whole.split == 0].mean()) < 1e-6


def test_none_changes_nothing_and_unknown_ways_are_named():
    data = _dataset(_normal([5, 5]), [5, 5])
    assert standardize(data, "none") is data
    with pytest.raises(InvalidInput, match="did you mean 'federated'"):
        standardize(data, "federate")
    with pytest.raises(InvalidInput, match="min_rows=0"):
        standardize(data, min_rows=0)


def test_imputing_uses_training_rows_of_all_hospitals():
    x = _normal([50, 60])
    x[5, 0] = x[70, 2] = np.nan
    x[6, 1] = np.inf
    data = _dataset(x, [50, 60])
    train = data.split == 0
    for how, fit in [("mean", np.mean), ("median", np.median)]:
        done = impute(data, how).x
        for row, j in [(5, 0), (70, 2), (6, 1)]:
            column = x[train & np.isfinite(x[:, j]), j]
            assert done[row, j] == pytest.approx(fit(column), rel=1e-12)
        kept = np.isfinite(x)
        np.testing.assert_array_equal(done[kept], x[kept])
    assert impute(data, "zero").x[5, 0] == 0
    with pytest.raises(InvalidInput, match="did you mean 'mean'"):
        impute(data, "meen")


@pytest.mark.parametrize("how", ["federated", "local"])
@pytest.mark.parametrize("fill", ["mean", "flag"])
def test_new_rows_are_put_through_the_training_numbers(how, fill):
    """Rows of the training data, given again as new ones, come out as they were."""
    rng = np.random.default_rng(0)
    x = rng.normal(50, 9, (40, 3))
    x[::7, 1] = np.nan
    y, size = np.arange(40) % 2, np.array([20, 20])
    raw = Dataset(x, y, size, np.zeros(40, np.int8), ("a", "b"), "binary", ("0", "1"), ("u", "v", "w"))
    ready = standardize(impute(raw, fill), how)
    again = transform_like(raw.select(["b"]), ready)
    np.testing.assert_allclose(again.x, ready.rows("b")[0], rtol=1e-6)
    assert again.features == ready.features
    with pytest.raises(InvalidInput, match="standardised already"):
        transform_like(ready, ready)
    with pytest.raises(InvalidInput, match="have the features 'u', 'v', 'z'"):
        transform_like(raw.replace(features=("u", "v", "z")), ready)
    other = raw.replace(hospitals=("a", "c"))
    if how == "local":
        with pytest.raises(InvalidInput, match="hospital 'c': each hospital was standardised by itself"):
            transform_like(other, ready)
    else:
        np.testing.assert_allclose(transform_like(other, ready).x, ready.x, rtol=1e-6)


@pytest.mark.parametrize("how", ["federated", "local"])
def test_a_feature_that_no_training_row_has_is_left_as_it_is(how):
    """It has neither a mean nor a deviation: nothing is divided by 0, and values of other rows stay."""
    x = np.column_stack([np.arange(8.0), np.full(8, np.nan)]).astype(np.float32)
    x[[3, 7], 1] = 5, -2  # test rows
    data = Dataset(
        x, np.array([0, 1] * 4, np.int32), np.array([4, 4]), np.array([0, 0, 0, 2] * 2, np.int8), ("a", "b"),
        "binary", ("0", "1"), ("one", "two"),
    )  # fmt: skip
    scaled = standardize(data, how, min_rows=2)
    np.testing.assert_array_equal(scaled.x[:, 1], x[:, 1])


def test_a_hospital_that_measured_a_feature_once_uses_everyone_s_numbers():
    x = np.random.default_rng(0).normal(3, 2, (12, 2)).astype(np.float32)
    x[7:, 1] = np.nan  # the second hospital has a single value of the second feature
    data = Dataset(
        x, np.array([0, 1] * 6, np.int32), np.array([6, 6]), np.zeros(12, np.int8), ("a", "b"), "binary",
        ("0", "1"), ("one", "two"),
    )  # fmt: skip
    scaled, pooled = (standardize(data, how, min_rows=2) for how in ("local", "federated"))
    np.testing.assert_allclose(scaled.x[6, 1], pooled.x[6, 1], rtol=1e-5)
    np.testing.assert_allclose(scaled.x[6:, 0].std(ddof=1), 1, rtol=1e-5)  # of the first one its own
