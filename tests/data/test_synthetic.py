import numpy as np
import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.data import PRESETS, oracle_auroc, synthetic_ehr, truth_table


@pytest.fixture(scope="module")
def ehr():
    return synthetic_ehr()


def _means(table, column):
    return table[column].iloc[:-1].mean()


def test_shapes_types_and_names(ehr):
    N = int(ehr.size.sum())
    assert len(ehr) == 200
    assert ehr.x.shape == (N, 20)
    assert ehr.x.dtype == np.float32
    assert ehr.y.dtype == np.int32
    assert set(np.unique(ehr.y)) == {0, 1}
    assert ehr.truth["p"].shape == ehr.truth["eta"].shape == (N,)
    np.testing.assert_allclose(ehr.truth["p"], 1 / (1 + np.exp(-ehr.truth["eta"])), rtol=1e-12)
    assert ehr.hospitals[:2] == ("h0000", "h0001")
    assert len(ehr.features) == 20


def test_default_sizes_follow_eicu(ehr):
    assert ehr.size.min() >= 30
    assert ehr.size.max() <= 8000
    assert 380 < np.median(ehr.size) < 580
    assert 750 < ehr.size.mean() < 1150


def test_default_rates_and_auroc_follow_the_published_tables():
    # Equal sizes and many hospitals, so that the tolerance is about the model, not about luck.
    table = truth_table(synthetic_ehr(1000, sizes="equal"))
    low, high = table["risk"].iloc[:-1].quantile([0.05, 0.95])
    assert low == pytest.approx(0.045, abs=0.008)
    assert high == pytest.approx(0.156, abs=0.012)
    assert _means(table, "auroc") == pytest.approx(0.85, abs=0.01)


@pytest.mark.parametrize("preset", PRESETS)
def test_prevalence_is_that_of_the_population(preset):
    data = synthetic_ehr(3000, preset=preset, sizes="equal", n_med=40)
    assert data.truth["p"].mean() == pytest.approx(0.09, abs=0.004)
    assert data.y.mean() == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize(
    "more", [{"interactions": 12}, {"types": 3}, {"prevalence": 0.4}, {"groups": 3, "s_g": 1.0, "s_gb": 0.3}]
)
def test_prevalence_holds_with_options(more):
    data = synthetic_ehr(3000, preset="strong", sizes="equal", n_med=40, **more)
    assert data.truth["p"].mean() == pytest.approx(more.get("prevalence", 0.09), abs=0.008)


@pytest.mark.parametrize("more", [{}, {"types": 3}, {"interactions": 5}, {"sizes": "zipf"}])
def test_a_hospital_is_the_same_however_many_there_are(more):
    few, many = synthetic_ehr(4, n_max=300, **more), synthetic_ehr(9, n_max=300, **more)
    for name in few.hospitals:
        for mine, theirs in zip(few.rows(name), many.rows(name), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    rows = int(few.size.sum())
    np.testing.assert_array_equal(few.truth["p"], many.truth["p"][:rows])


def test_hospitals_and_seeds_differ():
    data = synthetic_ehr(2, sizes=[50, 50])
    other = synthetic_ehr(2, sizes=[50, 50], seed=1)
    assert not np.isclose(data.x[:50], data.x[50:]).any()
    assert not np.isclose(data.x, other.x).any()


def test_spread_of_rates_raises_pooled_auroc_only():
    flat = truth_table(synthetic_ehr(300, sizes="equal", s_a=0.0))
    steep = truth_table(synthetic_ehr(300, sizes="equal", s_a=1.2))
    assert steep["auroc"].iloc[-1] > flat["auroc"].iloc[-1] + 0.025
    assert abs(_means(steep, "auroc") - _means(flat, "auroc")) < 0.008


def test_iid_hospitals_have_one_population():
    table = truth_table(synthetic_ehr(40, preset="iid", sizes="equal", n_med=4000)).iloc[:-1]
    # The standard deviation of p is about .11, so 4000 rows leave a standard error of .0018.
    assert table["risk"].std() < 0.003
    data = synthetic_ehr(4, preset="iid", sizes="equal", n_med=500)
    slopes = np.linalg.lstsq(np.c_[data.x, np.ones(2000)], data.truth["eta"])[0]
    np.testing.assert_allclose(np.c_[data.x, np.ones(2000)] @ slopes, data.truth["eta"], atol=1e-4)


def test_signal_is_the_spread_of_log_odds():
    data = synthetic_ehr(1, preset="iid", sizes=[20_000], signal=2.5)
    assert data.truth["eta"].std() == pytest.approx(2.5, rel=0.03)
    neighbours = np.corrcoef(data.x[:, :3].T)
    assert neighbours[0, 1] == pytest.approx(0.4, abs=0.03)
    assert neighbours[0, 2] == pytest.approx(0.16, abs=0.03)


def test_interactions_have_the_wanted_spread_and_leave_x_alone():
    plain = synthetic_ehr(1, preset="iid", sizes=[20_000], signal=0.0)
    bent = synthetic_ehr(1, preset="iid", sizes=[20_000], signal=0.0, interactions=6)
    assert plain.truth["eta"].std() == pytest.approx(0, abs=1e-9)
    assert bent.truth["eta"].std() == pytest.approx(0.8, rel=0.05)
    np.testing.assert_array_equal(plain.x, bent.x)


def test_types_share_slopes():
    data = synthetic_ehr(12, sizes=[200] * 12, types=3, s_b=1.0)
    slopes = {}
    for h, name in enumerate(data.hospitals):
        own = slice(200 * h, 200 * h + 200)
        design = np.c_[data.x[own].astype(float), np.ones(200)]
        w = np.linalg.lstsq(design, data.truth["eta"][own])[0][:-1]
        slopes.setdefault(int(data.truth["type"][own][0]), []).append((name, w))
    assert len(slopes) == 3
    means = []
    for members in slopes.values():
        for _, w in members:
            np.testing.assert_allclose(w, members[0][1], atol=1e-4)
        means.append(members[0][1])
    assert np.abs(means[0] - means[1]).max() > 0.1


def test_labels_follow_the_risks():
    data = synthetic_ehr(1, sizes=[50_000])
    p, y = data.truth["p"], data.y
    for low, high in [(0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)]:
        inside = (p >= low) & (p < high)
        error = 4 * np.sqrt((p * (1 - p))[inside].sum()) / inside.sum()
        assert y[inside].mean() == pytest.approx(p[inside].mean(), abs=error)


def test_sizes_can_be_zipf_equal_or_listed():
    zipf = synthetic_ehr(5, sizes="zipf", n_max=1000, n_min=300)
    assert zipf.size.tolist() == [1000, 500, 333, 300, 300]
    assert synthetic_ehr(3, sizes="equal").size.tolist() == [470] * 3
    assert synthetic_ehr(3, sizes=[0, 7, 1]).size.tolist() == [0, 7, 1]


def test_bad_arguments_come_in_one_error():
    with pytest.raises(InvalidInput) as caught:
        synthetic_ehr(0, preset="icu-mortalty", prevalence=1.5, rho=1.0, s_a=-1, features=0)
    message = str(caught.value)
    for part in [
        "hospitals=0",
        "'icu-mortality'",
        "prevalence=1.5",
        "rho=1.0",
        "s_a=-1",
        "features=0",
    ]:
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": "pareto"}, "sizes='pareto'"),
        ({"sizes": "equals"}, "did you mean 'equal'"),
        ({"sizes": [5, 5]}, "pass hospitals=2"),
        ({"sizes": [5, -5, 1]}, "whole numbers of rows"),
        ({"sizes": [0, 0, 0]}, "at least one"),
        ({"seed": -1}, "seed=-1"),
        ({"signal": float("nan")}, "signal=nan"),
        ({"n_min": 50, "n_max": 40}, "n_min=50 is above n_max=40"),
        ({"features": 3, "interactions": 4}, "3 pairs"),
        ({"hospitals": 2.5}, "hospitals=2.5"),
        ({"split": (0.5, 0.2)}, "three fractions"),
        ({"types": True}, "types=True"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(InvalidInput, match="synthetic_ehr") as caught:
        synthetic_ehr(**{"hospitals": 3, **arguments})
    assert message in str(caught.value)


def test_oracle_auroc_is_the_double_sum():
    rng = np.random.default_rng(0)
    for p in [rng.random(60), np.round(rng.random(60), 1), np.full(9, 0.3), np.array([0.2, 0.9])]:
        wins, pairs = 0.0, 0.0
        for i in range(len(p)):
            for j in range(len(p)):
                if i != j:
                    weight = p[i] * (1 - p[j])
                    pairs += weight
                    wins += weight * ((p[i] > p[j]) + 0.5 * (p[i] == p[j]))
        assert oracle_auroc(p) == pytest.approx(wins / pairs, abs=1e-12)
    assert np.isnan(oracle_auroc(np.array([0.4])))
    assert np.isnan(oracle_auroc(np.ones(5)))


def test_truth_table_counts_and_scores():
    data = synthetic_ehr(3, sizes=[400, 0, 200])
    table = truth_table(data, "test")
    assert table["n"].tolist() == [80, 0, 40, 120]
    assert np.isnan(table.loc["h0001", "auroc"])
    used = data.split == 2
    p = data.truth["p"][used]
    assert table.loc["(pooled)", "brier"] == pytest.approx((p * (1 - p)).mean(), abs=1e-12)
    loss = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert table.loc["(pooled)", "log_loss"] == pytest.approx(loss, abs=1e-12)
    assert table.loc["(pooled)", "prevalence"] == data.y[used].mean()


def test_truth_table_needs_truth_and_a_known_split():
    data = synthetic_ehr(1, sizes=[40])
    with pytest.raises(InvalidInput, match=r"no truth\['p'\]"):
        truth_table(data.replace(truth={}))
    with pytest.raises(InvalidInput, match="did you mean 'test'"):
        truth_table(data, "tset")
