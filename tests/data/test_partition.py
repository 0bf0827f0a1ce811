import numpy as np
import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.data import (
    by_id,
    classes_per_hospital,
    dirichlet,
    dirichlet_by_class,
    dirichlet_lognormal,
    dirichlet_sizes,
    feature_skew,
    gamma_similarity,
    heterogeneity,
    iid,
    lognormal_sizes,
    shards,
    synthetic_ehr,
    zipf_sizes,
)
from jaxfed.data.examples import RULES
from jaxfed.data.heterogeneity import gini
from jaxfed.data.quantity import round_sizes

LABELS = np.random.default_rng(0).integers(0, 10, 1000)
WITH_MINIMUM = [name for name in RULES if name not in ("shards", "classes_per_hospital")]


def _table(assignment, C, labels=LABELS):
    return np.stack([np.bincount(labels[assignment == h], minlength=10) for h in range(C)])


@pytest.mark.parametrize("rule", RULES)
def test_every_row_goes_to_one_hospital_and_none_is_empty(rule):
    assignment = RULES[rule](LABELS, 20, 3)
    assert assignment.shape == (1000,)
    assert assignment.dtype.kind == "i"
    assert np.bincount(assignment, minlength=20).min() >= 1
    assert assignment.max() == 19


@pytest.mark.parametrize("rule", RULES)
def test_draws_follow_the_seed(rule):
    first, again, other = (RULES[rule](LABELS, 20, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("rule", WITH_MINIMUM)
def test_the_minimum_holds_by_construction(rule):
    options = {"dirichlet_by_class": {"alpha": 0.01}, "dirichlet_sizes": {"alpha": 0.01}}
    for least in (1, 17, 50):
        assignment = RULES[rule](LABELS, 20, 0, min_rows=least, **options.get(rule, {}))
        assert np.bincount(assignment, minlength=20).min() >= least


@pytest.mark.parametrize("rule", RULES)
def test_what_cannot_be_done_is_refused(rule):
    with pytest.raises(InvalidInput, match="1001 hospitals for 1000 rows"):
        RULES[rule](LABELS, 1001, 0)
    with pytest.raises(InvalidInput, match="give 1 or more"):
        RULES[rule](LABELS, 0, 0)
    if rule in WITH_MINIMUM:
        with pytest.raises(InvalidInput, match="20 hospitals with at least 51 rows need 1020"):
            RULES[rule](LABELS, 20, 0, min_rows=51)


@pytest.mark.parametrize("rule", [dirichlet, dirichlet_by_class, dirichlet_sizes])
@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_positive(rule, alpha):
    with pytest.raises(InvalidInput, match="alpha="):
        rule(LABELS, 5, 0, alpha=alpha)


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (gamma_similarity, {"gamma": 1.5}, r"gamma=1\.5"),
        (classes_per_hospital, {"classes": 11}, "the labels have 10"),
        (classes_per_hospital, {"classes": 1}, "leave some of 10 classes to nobody"),
        (shards, {"per_hospital": 0}, "per_hospital=0"),
        (shards, {"per_hospital": 300}, "need 1500"),
        (lognormal_sizes, {"sigma": -1}, "sigma=-1"),
        (dirichlet, {"sizes": [1, 2]}, "give 5 shares"),
        (dirichlet_lognormal, {"sigma": -1}, "sigma=-1"),
        (dirichlet_lognormal, {"alpha": 0}, "alpha=0"),
    ],
)
def test_bad_options_are_named(rule, options, message):
    with pytest.raises(InvalidInput, match=message):
        rule(LABELS, 5, 0, **options)


def test_a_class_too_small_to_share_is_refused():
    labels = np.repeat([0, 1], [100, 2])
    with pytest.raises(InvalidInput, match="2 rows cannot be shared by 5"):
        classes_per_hospital(labels, 5, 0, classes=2)


def test_iid_sizes_are_equal():
    assert set(np.bincount(iid(LABELS, 30, 0))) == {33, 34}


def test_dirichlet_alpha_sets_the_skew_at_equal_sizes():
    spread = []
    for alpha in (1e-6, 0.5, 5.0, 1e5):
        table = _table(dirichlet(LABELS, 20, 0, alpha=alpha), 20)
        assert (table.sum(1) == 50).all()
        share = table / 50
        spread.append(np.abs(share - share.mean(0)).sum(1).mean() / 2)
    assert spread == sorted(spread, reverse=True)
    assert spread[0] > 0.75
    # Fifty rows of ten classes differ from the whole by .17 even where they are drawn alike.
    assert spread[-1] < 0.25


def test_dirichlet_class_shares_have_the_right_spread():
    # Large hospitals out of a far larger pool: their shares are the Dirichlet draws themselves.
    labels = np.tile([0, 1, 1, 1], 50_000)
    sizes = np.r_[np.full(150, 100.0), 185_000]
    assignment = dirichlet(labels, 151, 0, alpha=4.0, sizes=sizes)
    share = np.array([labels[assignment == h].mean() for h in range(150)])
    assert share.mean() == pytest.approx(0.75, abs=0.05)
    # Variance of Beta(3, 1) and of 100 binomial draws from it.
    expected = 0.75 * 0.25 / 5
    assert share.var() == pytest.approx(expected + (0.1875 - expected) / 100, rel=0.3)


@pytest.mark.parametrize("rule", RULES)
def test_rows_of_one_class_are_dealt_at_random(rule):
    options = {
        "classes_per_hospital": {"classes": 1},
        "dirichlet_by_class": {"alpha": 50.0},
        "dirichlet_sizes": {"alpha": 50.0},
    }
    assignment = RULES[rule](np.zeros(400, int), 2, 0, **options.get(rule, {}))
    where = np.flatnonzero(assignment == assignment[0])
    # Dealt in blocks or in turns, the places of one hospital's rows would be evenly spaced.
    assert len(np.unique(np.diff(where))) > 3


def test_dirichlet_takes_given_sizes():
    assignment = dirichlet(LABELS, 4, 0, alpha=0.1, sizes=[1, 2, 3, 4])
    assert np.bincount(assignment).tolist() == [100, 200, 300, 400]


def test_shards_limit_the_classes():
    labels = np.repeat(np.arange(10), 100)
    table = _table(shards(labels, 50, 0), 50, labels)
    assert (table.sum(1) == 20).all()
    assert ((table > 0).sum(1) <= 2).all()


def test_classes_per_hospital_is_exact_and_uses_all_classes():
    table = _table(classes_per_hospital(LABELS, 15, 0, classes=3), 15)
    assert ((table > 0).sum(1) == 3).all()
    assert (table.sum(0) == np.bincount(LABELS)).all()


def test_gamma_runs_from_sorted_to_iid():
    kinds = [
        (_table(gamma_similarity(LABELS, 20, 0, gamma=gamma), 20) > 0).sum(1).mean()
        for gamma in (0.0, 0.2, 1.0)
    ]
    assert kinds[0] <= 2
    assert kinds[0] < kinds[1] < kinds[2]
    sizes = np.bincount(gamma_similarity(LABELS, 20, 0, gamma=0.3))
    assert (sizes == 50).all()


def test_quantity_rules_change_sizes_not_labels():
    zipf = np.bincount(zipf_sizes(LABELS, 4, 0))
    assert zipf.tolist() == [480, 240, 160, 120]
    large = np.bincount(lognormal_sizes(LABELS, 20, 0, sigma=2.0))
    equal = np.bincount(lognormal_sizes(LABELS, 20, 0, sigma=0.0))
    assert set(equal) == {50}
    assert large.max() > 200
    even = np.bincount(dirichlet_sizes(LABELS, 20, 0, alpha=1e6))
    assert even.max() <= 52


def test_label_and_quantity_skew_have_a_strength_each():
    labels = np.repeat(np.arange(10), 1000)
    for alpha, sigma in ((0.05, 0.0), (0.05, 1.5), (1e5, 1.5)):
        table = _table(dirichlet_lognormal(labels, 20, 0, alpha=alpha, sigma=sigma), 20, labels)
        spread = np.abs(table / table.sum(1, keepdims=True) - 0.1).sum(1).mean() / 2
        assert (spread > 0.6) == (alpha == 0.05)
        assert (gini(table.sum(1)) > 0.4) == (sigma == 1.5)
    # The sizes do not depend on the label skew.
    sizes = [np.bincount(dirichlet_lognormal(labels, 20, 0, alpha=alpha)) for alpha in (0.05, 5.0)]
    np.testing.assert_array_equal(*sizes)


def test_ids_are_not_cut():
    ids = np.random.default_rng(0).zipf(1.5, 2000) % 97
    natural = by_id(ids)
    assert natural.max() + 1 == len(np.unique(ids))
    assert natural[0] == 0
    assert [len(np.unique(ids[natural == h])) for h in range(5)] == [1] * 5
    shared = by_id(ids, 4, 1)
    assert all(len(np.unique(shared[ids == i])) == 1 for i in np.unique(ids))
    np.testing.assert_array_equal(shared, by_id(ids, 4, 1))


@pytest.mark.parametrize("hospitals", [2, 3, 8])
def test_whole_ids_are_shared_out_evenly(hospitals):
    rows = np.random.default_rng(hospitals).integers(1, 40, 8)
    size = np.bincount(by_id(np.repeat(np.arange(8), rows), hospitals))
    assert len(size) == hospitals
    # In the order of their sizes these fit exactly; from the smallest they would not.
    assert np.bincount(by_id([*"abcde", *"fffff"], 2)).tolist() == [5, 5]
    if hospitals == 8:
        assert sorted(size) == sorted(rows)
        return
    every = np.stack(np.meshgrid(*[np.arange(hospitals)] * 8)).reshape(8, -1)
    loads = np.stack([rows @ (every == h) for h in range(hospitals)])
    assert loads.max(0).min() <= size.max() <= 4 / 3 * loads.max(0).min()


@pytest.mark.parametrize(
    ("ids", "hospitals", "message"),
    [
        (["a", None, "b"], None, r"rows 1 have no id"),
        (["a", "b"], 3, "there are 2 ids"),
        (["a", "b"], 0, "hospitals=0"),
        (["a", "b"], 1.5, r"hospitals=1\.5"),
        ([[1, 2]], None, r"ids have shape \(1, 2\)"),
        ([], None, r"ids have shape \(0,\)"),
    ],
)
def test_ids_that_cannot_be_used_are_refused(ids, hospitals, message):
    with pytest.raises(InvalidInput, match=f"by_id: .*{message}"):
        by_id(ids, hospitals)


def test_feature_skew_is_affine_in_each_hospital():
    data = synthetic_ehr(30, preset="iid", sizes=[50] * 30, features=4)
    skewed = feature_skew(data, shift=0.5, scale=0.3)
    before, after = (d.x.reshape(30, 50, 4).astype(float) for d in (data, skewed))
    gain = (after[:, 1] - after[:, 0]) / (before[:, 1] - before[:, 0])
    offset = after[:, 0] - gain * before[:, 0]
    np.testing.assert_allclose(gain[:, None] * before + offset[:, None], after, atol=1e-4)
    assert np.log(gain).std() == pytest.approx(0.3, rel=0.25)
    assert offset.std() == pytest.approx(0.5, rel=0.25)
    np.testing.assert_array_equal(skewed.y, data.y)
    np.testing.assert_array_equal(feature_skew(data).x, data.x)
    # A hospital's draws belong to its name.
    few = feature_skew(data.select(data.hospitals[:5]).replace(split=np.zeros(250, np.int8)), shift=1000)
    many = feature_skew(data, shift=1000)
    np.testing.assert_allclose(few.x.mean(0), many.x[:250].mean(0), rtol=0.2)


def test_feature_noise_grows_to_the_last_hospital():
    data = synthetic_ehr(4, preset="iid", sizes=[2000] * 4, features=3)
    noise = (feature_skew(data, noise=0.8).x - data.x).reshape(4, -1)
    np.testing.assert_allclose(noise.std(1), [0.2, 0.4, 0.6, 0.8], rtol=0.06)
    other = (feature_skew(data, noise=0.8, seed=1).x - data.x).reshape(4, -1)
    assert abs(np.corrcoef(noise[3], other[3])[0, 1]) < 0.1


def test_feature_skew_of_images_is_by_channel():
    from jaxfed.data import digits

    data = digits(4)
    moved = feature_skew(data, shift=1.0)
    difference = (moved.x - data.x)[: data.size[0]]
    assert np.ptp(difference) < 1e-5
    assert abs(difference.mean()) > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shift": -1}, "shift=-1"), ({"noise": "much"}, "noise='much'"), ({"seed": 1.5}, r"seed=1\.5"),
     ({"sclae": 1}, "did you mean 'scale'")],
)  # fmt: skip
def test_wrong_strengths_of_feature_skew_are_named(options, message):
    with pytest.raises(InvalidInput, match=message):
        feature_skew(synthetic_ehr(1, sizes=[40]), **options)


def test_round_sizes_adds_up_and_keeps_proportions():
    assert round_sizes(np.array([1.0, 1.0, 98.0]), 100, 5).tolist() == [5, 5, 90]
    assert round_sizes(np.array([0.0, 0.0]), 5, 0).sum() == 5
    rng = np.random.default_rng(0)
    for _ in range(200):
        weight, N = rng.random(7) ** 5, int(rng.integers(14, 90))
        size = round_sizes(weight, N, 2)
        assert size.sum() == N
        assert size.min() >= 2


@pytest.mark.parametrize(("sizes", "expected"), [([5, 5, 5], 0.0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25)])
def test_gini(sizes, expected):
    naive = np.abs(np.subtract.outer(sizes, sizes)).mean() / (2 * np.mean(sizes))
    assert gini(np.array(sizes)) == pytest.approx(expected)
    assert gini(np.array(sizes)) == pytest.approx(naive)


def test_heterogeneity_by_hand():
    from scipy.spatial.distance import jensenshannon

    from jaxfed.data import from_arrays

    def own(positives, n):
        return np.zeros((n, 1), np.float32), (np.arange(n) < positives).astype(int)

    data = from_arrays({"a": own(1, 10), "b": own(6, 20), "c": ([], [])})
    table = heterogeneity(data)
    pool = 7 / 30
    assert table.loc["a", "n"] == 10
    assert table.loc["b", "share"] == pytest.approx(2 / 3)
    assert table.loc["b", "prevalence"] == pytest.approx(0.3)
    assert table.loc["b", "emd"] == pytest.approx(0.3 - pool)
    assert table.loc["a", "js"] == pytest.approx(
        jensenshannon([0.1, 0.9], [pool, 1 - pool], base=2), abs=1e-12
    )
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
    assert table.loc["b", "effective_classes"] == pytest.approx(np.exp(entropy))
    assert table.loc["c", ["emd", "js", "effective_classes"]].isna().all()
    assert table.attrs["size_gini"] == pytest.approx(gini(np.array([10, 20, 0])))
    expected = (table.loc["a", "emd"] * 10 + table.loc["b", "emd"] * 20) / 30
    assert table.attrs["mean_emd"] == pytest.approx(expected)


def test_feature_shift_by_hand():
    from jaxfed.data import from_arrays

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 3)), rng.normal([0, 1, 0], size=(60, 3))
    a[:, 2] = b[:, 2] = 7  # does not vary
    y = np.arange(100) % 2
    data = from_arrays({"a": (a, y[:40]), "b": (b, y[40:])}, split=None)
    table = heterogeneity(data)
    pool = np.concatenate([a, b]).astype(np.float32)
    expected = np.abs(a.mean(0) - pool.mean(0))[:2] / pool.std(0, ddof=1)[:2]
    assert table.loc["a", "feature_shift"] == pytest.approx(expected.mean(), rel=1e-5)
    assert table["missing"].tolist() == [0, 0]
    holes = data.x.copy()
    holes[:20, 0] = np.nan
    holes[40:, 1] = np.nan
    holed = heterogeneity(data.replace(x=holes))
    assert holed["missing"].tolist() == [pytest.approx(20 / 120), pytest.approx(1 / 3)]
    known = np.concatenate([a[20:, 0], b[:, 0]])
    expected = abs(b[:, 0].mean() - known.mean()) / known.std(ddof=1)
    assert holed.loc["b", "feature_shift"] == pytest.approx(expected, rel=1e-5)


def test_feature_shift_by_chance_is_as_in_the_figure():
    table = heterogeneity(synthetic_ehr(60, preset="iid", sizes=[100] * 60))
    chance = np.sqrt(2 / np.pi) * np.sqrt(1 / 100 - 1 / 6000)
    assert table["feature_shift"].mean() == pytest.approx(chance, rel=0.05)


@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_heterogeneity_is_drawn(kind):
    from jaxfed.data import synthetic_diagnoses
    from jaxfed.figures.heterogeneity import heterogeneity_figure

    make = synthetic_ehr if kind == "binary" else synthetic_diagnoses
    table = heterogeneity(make(6, sizes=[40, 0, 90, 900, 30, 30]))
    figure = heterogeneity_figure(table, "hospitals")
    sizes, labels, features = figure.axes
    assert sizes.patches[0].get_data().values.tolist() == [900, 90, 40, 30, 30]
    if kind == "binary":
        drawn = labels.collections[0].get_offsets()
        np.testing.assert_allclose(drawn, table[["n", "prevalence"]].dropna() * [1, 100])
    else:
        assert len(labels.patches) == 25
    assert len(features.collections[0].get_offsets()) == 5
    figure.canvas.draw()
    assert len(heterogeneity_figure(table.drop(columns=["feature_shift"])).axes) == 2
    with pytest.raises(InvalidInput, match=r"jaxfed\.data\.heterogeneity\(dataset\)"):
        heterogeneity_figure(table.drop(columns=["emd"]))


def test_heterogeneity_of_one_class_hospitals_and_regression():
    from jaxfed.data import digits, from_arrays

    table = heterogeneity(digits(10, partition="gamma_similarity", gamma=0.0))
    assert table["effective_classes"].max() < 2.8
    assert (table["js"] > 0.6).all()
    assert table.filter(like="label ").to_numpy().sum(1) == pytest.approx(np.ones(10))
    real = from_arrays({"a": (np.zeros((4, 1)), np.arange(4) / 3)}, task="regression")
    with pytest.raises(InvalidInput, match="no classes to compare"):
        heterogeneity(real)


def test_missing_ids_in_a_list_are_missing():
    with pytest.raises(InvalidInput, match="rows 2 have no id"):
        by_id(["a", "b", np.nan, "a"])
    assert by_id([1, "1", 1]).tolist() == [0, 1, 0]
