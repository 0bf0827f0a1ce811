"""Differences between hospitals against dealing rows at random, and areas against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

from jaxfed.data import check, heterogeneity, synthetic_ehr
from jaxfed.data.check.giveaways import PERFECT, _may_separate, auroc
from jaxfed.data.check.page import page_of
from jaxfed.data.check.survey import survey_dataset


def table(rng, C=5, n=60):
    """Hospitals of different sizes; a normal, a skewed and a rare column, some values missing."""
    size = rng.integers(20, n, C)
    N = size.sum()
    df = pd.DataFrame(
        {
            "site": np.repeat([f"s{c}" for c in range(C)], size),
            "died": rng.integers(0, 3, N),
            "normal": rng.standard_normal(N),
            "skewed": rng.lognormal(0, 1, N),
            "rare": (rng.random(N) < 0.1).astype(float),
        }
    )
    df.loc[rng.random(N) < 0.2, "normal"] = np.nan
    return df


def naive(site, df):
    """The measures, hospital by hospital."""
    sums = dict.fromkeys(["labels (EMD)", "labels (JS)", "normal", "skewed", "rare", "missing"], 0.0)
    columns = {name: df[name].clip(*df[name].quantile([0.01, 0.99])) for name in ("normal", "skewed", "rare")}
    pool = np.bincount(df["died"], minlength=3) / len(df)
    for name in np.unique(site):
        own = site == name
        share = np.bincount(df["died"][own], minlength=3) / own.sum()
        sums["labels (EMD)"] += own.mean() * np.abs(share - pool).sum() / 2
        sums["labels (JS)"] += own.mean() * jensenshannon(share, pool, base=2)
        for column, values in columns.items():
            weight = values[own].count() / values.count()
            sums[column] += weight * abs(values[own].mean() - values.mean()) / values.std()
        gone = df["normal"].isna()
        sums["missing"] += own.mean() * abs(gone[own].mean() - gone.mean())
    return [*sums.values()]


def test_the_reference_is_that_of_dealing_rows_at_random():
    rng = np.random.default_rng(0)
    df = table(rng)
    found = check(df, classes=["0", "1", "2"]).tables["differences"]
    site = df["site"].to_numpy()
    np.testing.assert_allclose(found["seen"], naive(site, df), atol=6e-4)
    drawn = np.array([naive(rng.permutation(site), df) for _ in range(100)])
    assert (np.abs(drawn.mean(0) - found["chance"]) < 4 * drawn.std(0) / np.sqrt(100) + 0.001).all()
    np.testing.assert_allclose(np.quantile(drawn, 0.975, axis=0), found["chance_high"], rtol=0.2)


def test_means_are_drawn_without_replacement():
    df = pd.DataFrame({"site": ["a", "b"] * 50, "x": np.arange(100) % 10, "died": np.arange(100) % 2})
    chance = check(df).tables["differences"].loc[("features", "x"), "chance"]
    assert chance == pytest.approx(np.sqrt(2 / np.pi * (1 / 50 - 1 / 100)), abs=0.015)


def test_labels_differ_as_heterogeneity_says():
    data = synthetic_ehr(12, preset="strong", n_med=100)
    found = check(data).tables["differences"]["seen"]
    attrs = heterogeneity(data).attrs
    assert found["labels (EMD)", "label"] == round(attrs["mean_emd"], 3)
    assert found["labels (JS)", "label"] == round(attrs["mean_js"], 3)


def test_differences_are_those_that_are_planted():
    rng = np.random.default_rng(1)
    df = table(rng, C=8, n=400).drop(columns="skewed")
    first = df["site"].isin(["s0", "s1", "s2", "s3"])
    df["shifted"] = rng.standard_normal(len(df)) + first  # half of them one deviation up
    df["gone"] = np.where(first & (rng.random(len(df)) < 0.5), np.nan, rng.standard_normal(len(df)))
    found = check(df, classes=["0", "1", "2"]).tables["differences"]
    beyond = found.index[found["beyond_chance"]]
    assert set(beyond) == {("features", "shifted"), ("missingness", "gone")}
    share = first.mean()
    expected = 2 * share * (1 - share) / np.sqrt(1 + share * (1 - share))
    assert found.loc[("features", "shifted"), "seen"] == pytest.approx(expected, abs=0.06)
    assert found.loc[("missingness", "gone"), "seen"] == pytest.approx(share * (1 - share), abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 60).astype(bool)
    values = np.round(rng.standard_normal(60) + seed * y, 1)
    area = auroc(values, y)
    assert area == pytest.approx(roc_auc_score(y, values))
    if max(area, 1 - area) >= PERFECT:
        assert _may_separate(values, y)


def test_separated_classes_are_never_passed_over():
    rng = np.random.default_rng(0)
    for _ in range(200):
        y = rng.random(50) < 0.4
        values = rng.integers(0, 3, 50) + rng.choice([-1, 1]) * rng.uniform(1, 4) * y
        area = auroc(values, y)
        assert _may_separate(values, y) or max(area, 1 - area) < PERFECT


@pytest.mark.parametrize("labels", ["binary", "classes", "real"])
def test_pages_of_all_kinds_of_labels(labels):
    df = table(np.random.default_rng(0))
    if labels == "binary":
        df["died"] = df["died"] // 2
    elif labels == "real":
        df["died"] = df["skewed"] * 3.7
    html = page_of(check(df, name="<i>t</i>")).html()
    assert "&lt;i&gt;t&lt;/i&gt;" in html
    assert html.count("<svg") == {"binary": 4, "classes": 3, "real": 3}[labels]


def test_images_are_counted_and_labelled_only():
    data = synthetic_ehr(3, sizes=[50, 50, 50])
    images = data.replace(x=data.x.reshape(150, 4, 5, 1), features=())
    assert survey_dataset(images, 5).x.shape == (150, 0)
    checked = check(images)
    assert checked.tables["hospitals"]["rows"].tolist() == [50, 50, 50]
    page_of(checked).html()
