"""Each part of the generator does what its strength says, and leaves the draws of the others alone."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, from_frame, split_by_period, standardize, synthetic_ehr, synthetic_table
from jaxfed.data.ehr.draws import beta_quantile
from jaxfed.data.ehr.drift import drift_effects
from jaxfed.data.ehr.features import FEATURES, columns_of
from jaxfed.data.ehr.missingness import CLASSES, Missingness
from jaxfed.data.ehr.population import Population

EVERYTHING = {
    "units": True, "s_gain": 0.03, "s_offset": 0.1, "swap": 0.3, "coverage": 1.0, "mcar": 0.1,
    "mar": 0.5, "mnar": 0.7, "sensitivity": 0.9, "specificity": 0.97, "periods": 3, "drift": 0.2,
    "s_t": 0.2, "s_bt": 0.1, "groups": 3, "s_gb": 0.2, "types": 2,
}  # fmt: skip
FOUR = {"hospitals": 4, "n_max": 300}
ONE = {"hospitals": 1, "preset": "iid", "sizes": [20_000]}
RECORDED = [j for j, feature in enumerate(FEATURES) if feature.group == "always"]


@pytest.fixture(scope="module")
def base():
    return synthetic_ehr(**FOUR)


@pytest.fixture(scope="module")
def large():
    return synthetic_ehr(**ONE)


def within(share, p, n, z=4.5):
    """Whether a share of n is what probability p gives."""
    return abs(share - p) <= z * np.sqrt(p * (1 - p) / n)


def test_draws_of_earlier_presets_do_not_move():
    data = synthetic_ehr(4, preset="extreme", types=2, seed=5, n_max=300)
    assert data.size.tolist() == [300] * 4
    first = [[-0.5721280574798584, 0.3480052053928375, -0.9607513546943665]]
    np.testing.assert_allclose(data.x[:1, :3], first, rtol=1e-5)
    np.testing.assert_allclose(
        data.truth["eta"][[0, -1]], [-3.733412560104316, -6.958770587642978], rtol=1e-9
    )
    assert (data.y.sum(), data.split.sum()) == (128, 600)


@pytest.mark.parametrize("options", [EVERYTHING, {"label_shift": 0.1}])
def test_a_hospital_with_all_parts_is_the_same_however_many_there_are(options):
    few, many = synthetic_ehr(3, n_max=200, **options), synthetic_ehr(6, n_max=200, **options)
    rows = int(few.size.sum())
    np.testing.assert_array_equal(few.x, many.x[:rows])
    np.testing.assert_array_equal(few.y, many.y[:rows])
    assert few.truth.keys() == many.truth.keys()
    for key, value in few.truth.items():
        np.testing.assert_array_equal(value, many.truth[key][:rows])


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"mcar": 0.3, "mar": 1.0, "mnar": 1.0}, "p y"),
        ({"coverage": 1.0}, "p y"),
        ({"sensitivity": 0.7, "specificity": 0.8}, "x p"),
        ({"periods": 4, "drift": 0.5, "s_t": 0.5, "s_bt": 0.5}, "x"),
        ({"groups": 4, "s_g": 0.0}, "x p y"),
        ({"groups": 4, "s_g": 1.0, "s_gb": 0.5}, "x"),
        ({"s_gain": 0.1, "s_offset": 0.5}, "p y"),
        ({"units": True, "swap": 0.5}, "p y"),
        ({"s_a": 1.0}, "x"),
        ({"s_b": 0.5, "types": 2}, "x"),
    ],
)
def test_a_part_leaves_the_others_alone(base, options, same):
    data = synthetic_ehr(**FOUR, **options)
    assert data.size.tolist() == base.size.tolist()
    if "x" in same:
        np.testing.assert_array_equal(data.x, base.x)
    if "p" in same:
        np.testing.assert_allclose(data.truth["p"], base.truth["p"], rtol=1e-9)
    if "y" in same:
        np.testing.assert_array_equal(data.y, base.y)
    if "complete" in data.truth:
        np.testing.assert_array_equal(data.truth["complete"], base.x)
        assert np.isnan(data.x).any()
        there = np.isfinite(data.x)
        np.testing.assert_array_equal(data.x[there], base.x[there])
    if "outcome" in data.truth:
        np.testing.assert_array_equal(data.truth["outcome"], base.y)
        assert (data.y != base.y).any()


# Missing values.


@pytest.mark.parametrize("more", [{}, {"mar": 1.0}, {"mnar": 1.5}, {"mar": -1.0, "mnar": 1.0, "units": True}])
def test_missing_values_have_the_stated_rate_in_every_column(more):
    bad = np.isnan(synthetic_ehr(**ONE, mcar=0.2, **more).x)
    for j, share in enumerate(bad.mean(0)):
        assert share == 0 if j in RECORDED else within(share, 0.2, len(bad))


def test_missing_at_random_follows_age_and_not_at_random_follows_risk(large):
    age = stats.norm.cdf(large.x[:, 0]) > 0.5
    ill = large.truth["eta"] > np.median(large.truth["eta"])

    def rate(rows, **more):
        return np.isnan(synthetic_ehr(**ONE, mcar=0.2, **more).x[:, 5])[rows].mean()

    n = len(age) / 2
    assert within(rate(age), 0.2, n)
    assert within(rate(ill), 0.2, n)
    # P(missing) given a half-normal A: E Phi(slope A - threshold), integrated numerically.
    A = stats.norm.ppf(np.linspace(0.5, 1, 20_001)[:-1])
    for rows, more, slope in ((age, {"mar": 0.8}, 0.8), (ill, {"mnar": 0.8}, -0.8)):
        expected = stats.norm.cdf(slope * A + stats.norm.ppf(0.2) * np.hypot(1, slope)).mean()
        assert within(rate(rows, **more), expected, n)


def test_the_rate_holds_where_age_and_risk_go_together():
    rng = np.random.default_rng(0)
    age, other = rng.standard_normal((2, 40_000))
    risk = 0.8 * age + 0.6 * other
    for mar, mnar in ((1.5, 1.5), (1.5, -1.5)):
        missing = Missingness(mcar=0.3, mar=mar, mnar=mnar).draw(0, age, risk, 0.8, columns_of(5), 0)
        assert all(within(share, 0.3, 40_000) for share in missing[:, 1:].mean(0))


def test_more_missing_values_are_the_same_and_more():
    few, many = (np.isnan(synthetic_ehr(**FOUR, mcar=share).x) for share in (0.1, 0.4))
    assert few.sum() < many.sum()
    assert not (few & ~many).any()
    few, many = (np.isnan(synthetic_ehr(**FOUR, coverage=share).x) for share in (0.5, 1.0))
    assert few.sum() < many.sum()
    assert not (few & ~many).any()


def test_coverage_classes_are_as_frequent_as_published():
    columns, C = columns_of(21), 4000
    covered = 1 - np.stack([Missingness(coverage=1).probability(h, columns, 0) for h in range(C)])
    for group, classes in CLASSES.items():
        share = covered[:, [column.group for column in columns].index(group)]
        edges = [share == 0, (share > 0) & (share < 0.2), (share >= 0.2) & (share < 0.6)]
        edges += [(share >= 0.6) & (share < 0.8), share >= 0.8]
        for inside, p in zip(edges, np.array(classes) / sum(classes), strict=True):
            assert within(inside.mean(), p, C)
    assert (covered[:, RECORDED] == 1).all()


# Values.


def test_physical_values_have_their_typical_means(large):
    data = synthetic_ehr(**ONE, units=True)
    assert data.features == tuple(feature.name for feature in FEATURES)
    for j, feature in enumerate(FEATURES):
        x = data.x[:, j].astype(float)
        assert x.min() >= feature.low
        assert x.max() <= feature.high
        np.testing.assert_allclose(x, np.round(x, feature.decimals), rtol=1e-6)
        if feature.kind == "flag":
            assert within(x.mean(), 0.54, len(x))
            np.testing.assert_array_equal(x, data.truth["sex"])
        elif feature.kind == "skewed":
            assert np.median(x) == pytest.approx(feature.centre, rel=0.02)
        else:
            # The median is that of the values before they are clipped.
            assert np.median(x) == pytest.approx(
                feature.centre, abs=0.05 * feature.spread + 0.5 * 10.0**-feature.decimals
            )


def test_risk_lies_on_the_dangerous_side():
    data = synthetic_ehr(**ONE, units=True)
    for j, feature in enumerate(FEATURES):
        r = stats.spearmanr(data.x[:, j], data.truth["eta"]).statistic
        # Three standard errors of a correlation that is nearly 0.
        assert feature.risk == 0 or feature.risk * r > -3 / np.sqrt(len(data.y))


def test_swapped_units_are_in_the_truth_and_as_frequent_as_stated():
    options = {"hospitals": 300, "sizes": [1] * 300, "units": True, "split": None}
    plain, mixed = synthetic_ehr(**options), synthetic_ehr(**options, swap=0.2)
    swapped = mixed.truth["swapped"]
    np.testing.assert_array_equal(plain.x[~swapped], mixed.x[~swapped])
    for j, feature in enumerate(FEATURES):
        if feature.swap is None:
            assert not swapped[:, j].any()
            continue
        assert within(swapped[:, j].mean(), 0.2, 300)
        factor, added, _ = feature.swap
        rows, rounding = swapped[:, j], 0.5001 * 10.0**-feature.decimals
        expected = factor * plain.x[rows, j] + added
        np.testing.assert_allclose(mixed.x[rows, j], expected, rtol=1e-6, atol=rounding * (1 + factor))


def test_devices_have_a_gain_and_an_offset_of_the_stated_spread():
    C = 400
    options = {"hospitals": C, "sizes": [2] * C, "split": None, "features": 5}
    plain = synthetic_ehr(**options).x.reshape(C, 2, 5)
    moved = synthetic_ehr(**options, s_gain=0.3, s_offset=0.5).x.reshape(C, 2, 5)
    gain = (moved[:, 1] - moved[:, 0]) / (plain[:, 1] - plain[:, 0])
    offset = moved[:, 0] - gain * plain[:, 0]
    np.testing.assert_allclose(gain[:, 0], 1, atol=1e-4)  # age is not measured by a device
    assert np.log(gain[:, 1:]).std() == pytest.approx(0.3, rel=0.1)
    assert offset[:, 1:].std() == pytest.approx(0.5, rel=0.1)
    assert abs(np.log(gain[:, 1:]).mean()) < 4 * 0.3 / np.sqrt(4 * C)


def test_a_gain_multiplies_the_physical_value():
    C = 300
    options = {"hospitals": C, "sizes": [3] * C, "split": None, "features": 7, "units": True}
    plain, moved = (synthetic_ehr(**options, s_gain=gain).x.reshape(C, 3, 7)[..., 6] for gain in (0, 0.1))
    gain = (moved / plain).mean(1)  # of sodium, which is 138 on average and rounded to 1
    np.testing.assert_allclose(moved, gain[:, None] * plain, atol=1.5)
    assert np.log(gain).std() == pytest.approx(0.1, rel=0.15)


# Labels.


def test_labels_are_recorded_with_the_stated_errors():
    C, n = 300, 300
    data = synthetic_ehr(C, sizes=[n] * C, prevalence=0.4, sensitivity=0.9, specificity=0.95, split=None)
    outcome, y = data.truth["outcome"], data.y
    for label, mean in ((1, 0.9), (0, 0.95)):
        right = (y == outcome)[outcome == label]
        # Hospitals differ: Beta(100 mean, 100 (1 - mean)) has a variance of mean (1 - mean) / 101.
        variance = mean * (1 - mean) * (1 / 101 / C + 1 / len(right))
        assert abs(right.mean() - mean) < 4 * np.sqrt(variance)
    p = data.truth["p_observed"]
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1)):
        inside = (p >= low) & (p < high)
        assert abs((y - p)[inside].sum()) < 4 * np.sqrt((p * (1 - p))[inside].sum())


def test_beta_quantiles_are_those_of_the_beta_distribution():
    for u in (0.01, 0.3, 0.9):
        assert beta_quantile(0.95, 1 / 101, u) == pytest.approx(stats.beta.ppf(u, 95, 5))
    assert beta_quantile(0.09, 0.0, 0.7) == 0.09
    assert beta_quantile(1.0, 0.01, 0.7) == 1.0


def test_label_shift_spreads_the_prevalence_as_stated():
    C, n, spread = 600, 200, 1 / 21
    data = synthetic_ehr(C, preset="iid", sizes=[n] * C, label_shift=spread, prevalence=0.2, split=None)
    rates = data.y.reshape(C, n).mean(1)
    # A beta-binomial variable.
    assert rates.mean() == pytest.approx(0.2, abs=4 * 0.4 * np.sqrt(spread / C))
    expected = 0.16 * (spread + (1 - spread) / n)
    assert rates.var() == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("preset", ["iid", "strong"])
def test_risks_after_label_shift_are_exact(preset):
    data = synthetic_ehr(40, preset=preset, sizes=[1500] * 40, label_shift=0.2, split=None)
    p, y = data.truth["p"], data.y
    for low, high in ((0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.01)):
        inside = (p >= low) & (p < high)
        assert abs((y - p)[inside].sum()) < 4 * np.sqrt((p * (1 - p))[inside].sum())
    # Each hospital by itself: its residuals are noise, so that their squared z-scores are chi-square.
    residual, variance = ((v.reshape(40, 1500)).sum(1) for v in (y - p, p * (1 - p)))
    assert stats.chi2.sf((residual**2 / variance).sum(), 40) > 1e-3


def test_label_shift_changes_nobody_given_the_label():
    shifted = synthetic_ehr(60, preset="iid", sizes=[500] * 60, label_shift=0.2, prevalence=0.3, split=None)
    plain = synthetic_ehr(60, preset="iid", sizes=[500] * 60, prevalence=0.3, split=None, seed=0)
    rate = np.repeat(shifted.y.reshape(60, 500).mean(1), 500)
    direction = np.linalg.lstsq(plain.x, plain.truth["eta"] - plain.truth["eta"].mean(), rcond=None)[0]
    score, reference = shifted.x @ direction, plain.x @ direction
    for label in (0, 1):
        for rows in (rate < 0.3, rate >= 0.3):
            chosen = score[(shifted.y == label) & rows]
            assert stats.ks_2samp(chosen, reference[plain.y == label]).pvalue > 1e-3
    # All patients move along a single direction.
    values = np.linalg.svd(shifted.x - plain.x, compute_uv=False)
    assert values[0] > 10
    assert values[1] < 1e-3


def test_label_shift_without_any_signal_is_the_prevalence():
    data = synthetic_ehr(5, preset="iid", signal=0.0, sizes=[100] * 5, label_shift=0.3)
    assert len(np.unique(data.truth["p"])) == 5


# Time and groups.


def test_drift_adds_a_line_and_steps(base):
    still = synthetic_ehr(**FOUR, periods=3)
    period = still.truth["period"]
    for h in range(4):
        own = period[base.start[h] : base.start[h] + base.size[h]]
        assert (np.diff(own) >= 0).all()
        assert np.ptp(np.bincount(own, minlength=3)) <= 1
    np.testing.assert_allclose(still.truth["eta"], base.truth["eta"], rtol=1e-12)
    line = synthetic_ehr(**FOUR, periods=3, drift=-0.4)
    np.testing.assert_allclose(line.truth["eta"] - base.truth["eta"], -0.4 * period, atol=1e-9)
    step = synthetic_ehr(**FOUR, periods=3, s_t=1.0).truth["eta"] - base.truth["eta"]
    assert [len(np.unique(step[period == t].round(9))) for t in range(3)] == [1, 1, 1]
    bent = synthetic_ehr(**FOUR, periods=3, s_bt=1.0).truth["eta"] - base.truth["eta"]
    assert np.abs(bent[period == 0]).max() < 1e-9
    for t, spread in ((1, 1.0), (2, np.sqrt(2))):
        v = np.linalg.lstsq(base.x[period == t], bent[period == t], rcond=None)[0]
        np.testing.assert_allclose(base.x[period == t] @ v, bent[period == t], atol=1e-3)
        assert v.std() == pytest.approx(spread, rel=0.5)


def test_drift_is_a_random_walk():
    walks = [drift_effects(Population(periods=4, s_t=0.5, s_bt=2.0, features=3), seed) for seed in range(400)]
    W, V = (np.stack(part) for part in zip(*walks, strict=True))
    for t in range(4):
        assert W[:, t].var() == pytest.approx(0.25 * t, rel=0.25)
        assert V[:, t].var() == pytest.approx(4 * t, rel=0.15)


def test_steps_of_many_periods_begin_as_those_of_few():
    few, many = (synthetic_ehr(1, sizes=[400], periods=T, s_t=1.0) for T in (2, 4))
    plain = synthetic_ehr(1, sizes=[400]).truth["eta"]
    a, b = (data.truth["eta"] - plain for data in (few, many))
    assert a[few.truth["period"] == 1][0] == pytest.approx(b[many.truth["period"] == 1][0])


def test_groups_have_their_shares_and_effects(base):
    C, n = 300, 200
    data = synthetic_ehr(C, sizes=[n] * C, groups=3, group_shift=0.1, s_g=0.0, split=None)
    share = np.stack([(data.truth["group"] == g).reshape(C, n).mean(1) for g in range(3)])
    for g, expected in enumerate(np.array([4, 2, 1]) / 7):
        variance = expected * (1 - expected)
        assert share[g].mean() == pytest.approx(expected, abs=4 * np.sqrt(variance * 0.1 / C))
        assert share[g].var() == pytest.approx(variance * (0.1 + 0.9 / n), rel=0.25)
    same = synthetic_ehr(C, sizes=[n] * C, groups=3, group_shift=0.0, split=None).truth["group"]
    assert stats.chisquare(np.bincount(same), C * n * np.array([4, 2, 1]) / 7).pvalue > 1e-3

    data = synthetic_ehr(**FOUR, groups=3, s_g=1.0)
    group, added = data.truth["group"], data.truth["eta"] - base.truth["eta"]
    effects = [np.unique(added[group == g].round(9)) for g in range(3)]
    assert [len(effect) for effect in effects] == [1, 1, 1]
    assert len(np.unique(np.concatenate(effects))) == 3
    bent = synthetic_ehr(**FOUR, groups=3, s_g=0.0, s_gb=1.0)
    added = bent.truth["eta"] - base.truth["eta"]
    assert np.ptp(added[group == 0]) < 1e-9
    assert added[group == 1].std() > 1


def test_later_periods_are_for_testing():
    data = split_by_period(synthetic_ehr(3, sizes=[50, 0, 70], periods=5), validation=2, test=1)
    period = data.truth["period"]
    np.testing.assert_array_equal(data.split, np.array([0, 0, 1, 1, 2])[period])
    years = np.array(["2020", "2019", "2021"])[np.arange(120) % 3]
    np.testing.assert_array_equal(
        split_by_period(data, years, validation=0).split, np.array([0, 0, 2])[np.arange(120) % 3]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0}, "test=0"),
        ({"validation": -1}, "validation=-1"),
        ({"validation": 3, "test": 1}, "4 periods, of which validation=3 and test=1 leave none"),
        ({"period": [1, 2]}, "a value for each of 80 rows"),
    ],
)
def test_periods_that_cannot_be_split_are_refused(options, message):
    with pytest.raises(InvalidInput, match="split_by_period") as caught:
        split_by_period(synthetic_ehr(2, sizes=[40, 40], periods=4), **options)
    assert message in str(caught.value)


def test_a_dataset_without_periods_is_refused():
    with pytest.raises(InvalidInput, match="give period="):
        split_by_period(synthetic_ehr(1, sizes=[40]))


def test_a_missing_period_is_no_last_one():
    data = synthetic_ehr(2, sizes=[40, 40])
    for missing in (np.nan, None, np.datetime64("NaT", "D")):
        years = np.resize(np.array(["2019", "2020", "2021"], "M8[Y]"), 80).astype(object)
        years[3:8] = missing
        with pytest.raises(InvalidInput, match="5 rows have no period; give them one"):
            split_by_period(data, years)


def test_patients_stay_together_and_prepared_rows_are_warned_of():
    frame = pd.DataFrame(
        {"site": ["a"] * 20, "x": np.arange(20.0), "died": [0, 1] * 10, "who": np.arange(20) // 2}
    )
    data = from_frame(frame, patient="who", split=None)
    year = np.where(np.arange(20) % 5 < 2, 2019, np.where(np.arange(20) % 5 == 2, 2020, 2021))
    expected = {2019: 0, 2020: 1, 2021: 2}
    with pytest.warns(
        DataWarning, match="rows of earlier periods are in the part of their patient's last row"
    ):
        split = split_by_period(data, year).split
    for who in range(10):
        assert set(split[2 * who : 2 * who + 2]) == {max(expected[y] for y in year[2 * who : 2 * who + 2])}
    with pytest.warns(DataWarning, match="split_by_period before you prepare the data"):
        split_by_period(standardize(from_frame(frame, drop=["who"], split=None)), year)


# Wrong values.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_shift": 1.0}, "label_shift=1.0: give a number from 0 to below 1"),
        ({"label_shift": 0.1, "interactions": 2}, "label_shift=0.1 with interactions"),
        ({"label_shift": 0.1, "groups": 2, "periods": 2, "drift": 1.0}, "with groups, drift"),
        ({"swap": 0.1}, "give units=True"),
        ({"swap": 1.1, "units": True}, "swap=1.1"),
        ({"units": "SI"}, "units='SI': give True or False"),
        ({"s_gain": -1}, "s_gain=-1"),
        ({"mcar": 20}, "mcar=20: give a number from 0 to 1, as 0.2"),
        ({"mnar": 1.0}, "mnar=1.0: it says in whom"),
        ({"coverage": "all"}, "coverage='all'"),
        ({"sensitivity": 95}, "sensitivity=95"),
        ({"drift": 0.1}, "drift: there is one period; give periods=2"),
        ({"periods": 0}, "periods=0"),
        ({"drift": float("nan"), "periods": 2}, "drift=nan"),
        ({"groups": -1}, "groups=-1"),
        ({"s_gb": None, "s_t": "x"}, "s_t='x'"),
        ({"specifity": 0.9}, "did you mean 'specificity'"),
        ({"rho": "high"}, "rho='high'"),
        ({"prevalence": "9 %"}, "prevalence='9 %'"),
    ],
)
def test_a_wrong_strength_is_named(options, message):
    with pytest.raises(InvalidInput, match="synthetic_ehr") as caught:
        synthetic_ehr(3, **options)
    assert message in str(caught.value)


# The table.


def test_the_table_holds_the_patients_of_the_generator():
    table = synthetic_table(3, sizes=[300, 200, 100], seed=1)
    record = {"units": True, "s_gain": 0.03, "s_offset": 0.1, "swap": 0.05, "coverage": 1, "periods": 4}
    data = synthetic_ehr(3, sizes=[300, 200, 100], seed=1, groups=4, **record)
    assert table["patient"].is_unique
    np.testing.assert_allclose(table["creatinine"], data.x[:, data.features.index("creatinine")], rtol=1e-6)
    np.testing.assert_array_equal(table["admitted"].dt.year - 2019, data.truth["period"])
    np.testing.assert_array_equal(table["sex"] == "male", data.truth["sex"] == 1)
    np.testing.assert_array_equal(table["ethnicity"], [f"group {g}" for g in data.truth["group"]])
    features = [name for name in data.features if name != "sex"]
    with pytest.warns(DataWarning, match="'ph' are not measured everywhere"):
        read = from_frame(table, features=features, impute="median")
    np.testing.assert_array_equal(read.y, data.y)
    assert read.hospitals == data.hospitals


def test_options_of_the_table_win():
    table = synthetic_table(2, sizes=[30, 30], coverage=0, swap=0, periods=1, groups=0, features=4)
    assert list(table) == ["site", "patient", "age", "heart_rate", "map", "respiratory_rate", "died"]
    assert not table.isna().to_numpy().any()
    with pytest.raises(InvalidInput, match="did you mean 'coverage'"):
        synthetic_table(2, coverag=1)
