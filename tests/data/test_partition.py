import numpy as np
import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.data import (
    classes_per_hospital,
    dirichlet,
    dirichlet_by_class,
    dirichlet_sizes,
    gamma_similarity,
    heterogeneity,
    iid,
    lognormal_sizes,
    shards,
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


def test_heterogeneity_of_one_class_hospitals_and_regression():
    from jaxfed.data import digits, from_arrays

    table = heterogeneity(digits(10, partition="gamma_similarity", gamma=0.0))
    assert table["effective_classes"].max() < 2.8
    assert (table["js"] > 0.6).all()
    assert table.filter(like="label ").to_numpy().sum(1) == pytest.approx(np.ones(10))
    real = from_arrays({"a": (np.zeros((4, 1)), np.arange(4) / 3)}, task="regression")
    with pytest.raises(InvalidInput, match="no classes to compare"):
        heterogeneity(real)
