"""A table with text, dates and gaps: as scikit-learn on the pooled training rows, and alike for new rows."""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import jaxfed
from jaxfed.core.errors import InvalidInput
from jaxfed.core.meaning import of_classes
from jaxfed.core.types import Variables
from jaxfed.data import DataWarning, from_frame, preparation_report, prepare, read_table, transform_like
from jaxfed.models import logistic
from jaxfed.results.prediction import Inputs, predict

ASKED = {"ordinal": {"asa": ["I", "II", "III"]}, "dates": {"discharged": "admitted", "admitted": "first"}}


def table(n=300, seed=0):
    rng = np.random.default_rng(seed)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D")
    frame = pd.DataFrame(
        {
            "site": rng.choice(["north", "south", "west"], n),
            "sex": rng.choice(["female", "male"], n),
            "race": rng.choice(["a", "b", "c", "d"], n, p=[0.5, 0.3, 0.19, 0.01]),
            "bmi": rng.normal(27, 5, n),
            "crp": rng.lognormal(2, 1, n),
            "asa": rng.choice(["I", "II", "III"], n),
            "diabetic": rng.choice(["yes", "no"], n),
            "admitted": days.strftime("%Y-%m-%d"),
            "discharged": (days + pd.to_timedelta(rng.integers(1, 30, n), "D")).strftime("%Y-%m-%d"),
            "died": rng.integers(0, 2, n),
            "part": rng.choice(["train", "validation", "test"], n, p=[0.7, 0.1, 0.2]),
        }
    )
    frame.loc[::9, "bmi"] = np.nan
    frame.loc[::11, "race"] = None
    frame.loc[::13, "diabetic"] = None
    return frame


def plain(data):
    """All numbers that were fitted, as text."""
    return json.dumps([step.to_json() for step in data.steps])


def test_it_is_scikit_learn_on_the_pooled_training_rows():
    frame = table().drop(columns=["asa", "diabetic", "admitted", "discharged"])
    frame.loc[5, "race"] = "new"  # a level that occurs once
    data = prepare(frame, split="part", impute="mean")
    ordered = frame.sort_values("site", kind="stable", key=lambda ids: ids.map(data.hospitals.index))
    train = ordered[ordered["part"] == "train"]
    numbers = make_pipeline(SimpleImputer(strategy="mean", add_indicator=False), StandardScaler())
    levels = OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False)
    oracle = make_column_transformer((numbers, ["bmi", "crp"]), (levels, ["sex"]))
    expected = oracle.fit(train).transform(ordered)
    names = ["bmi", "crp", "sex=female", "sex=male"]
    ours = pd.DataFrame(data.x, columns=data.features)
    unbiased = np.sqrt((len(train) - 1) / len(train))
    expected[:, :2] *= unbiased  # StandardScaler divides by the biased deviation
    np.testing.assert_allclose(ours[names], expected, rtol=1e-5, atol=1e-6)
    known = ordered["race"].notna().to_numpy()
    pooled = levels.fit(train[["race"]].dropna()).transform(ordered.loc[known, ["race"]])
    assert [*levels.infrequent_categories_[0]] == sorted({"d", "new"} & set(train["race"].dropna()))
    np.testing.assert_array_equal(ours.loc[known, ["race=a", "race=b", "race=c", "race=other"]], pooled)
    assert (ours.loc[~known].filter(like="race=") == 0).all(axis=None)
    np.testing.assert_array_equal(ours["race missing"], ~known)
    np.testing.assert_array_equal(ours["bmi missing"], ordered["bmi"].isna())
    assert data.features == (
        "sex=female", "sex=male", "sex=unseen", "race=a", "race=b", "race=c", "race=other", "race missing",
        "bmi", "crp", "bmi missing",
    )  # fmt: skip


@pytest.mark.parametrize("how", ["federated", "local"])
def test_the_most_frequent_value(how):
    """For categories, numbers and true/false: SimpleImputer of the hospital's or of everyone's rows."""
    frame = table()[["site", "race", "bmi", "diabetic", "died", "part"]].round(0)
    data = prepare(
        frame,
        split="part",
        impute="most_frequent",
        masks=False,
        scale="none",
        how=how,
        categories={"race": list("abcd")},
    )
    for site in data.hospitals:
        own = frame[frame["site"] == site]
        fit = own if how == "local" else frame
        fitted = SimpleImputer(strategy="most_frequent").fit(
            fit[fit["part"] == "train"][["race", "diabetic"]].astype(object).replace({None: np.nan})
        )
        text = pd.DataFrame(
            fitted.transform(own[["race", "diabetic"]].astype(object).replace({None: np.nan})),
            columns=["race", "diabetic"],
        )
        x = pd.DataFrame(data.rows(site)[0], columns=data.features)
        for level in "abcd":
            np.testing.assert_array_equal(x[f"race={level}"], text["race"] == level)
        np.testing.assert_array_equal(x["diabetic"], text["diabetic"] == "yes")
        numbers = SimpleImputer(strategy="most_frequent").fit(fit.loc[fit["part"] == "train", ["bmi"]])
        np.testing.assert_array_equal(x["bmi"], numbers.transform(own[["bmi"]]).ravel())


def test_ordinals_dates_and_true_or_false():
    frame = table()
    data = prepare(frame, split="part", scale="none", **ASKED)
    for site in data.hospitals:
        own = frame[frame["site"] == site]
        x = pd.DataFrame(data.rows(site)[0], columns=data.features)
        np.testing.assert_array_equal(x["asa"], own["asa"].map({"I": 0, "II": 1, "III": 2}))
        stay = pd.to_datetime(own["discharged"]) - pd.to_datetime(own["admitted"])
        np.testing.assert_array_equal(x["discharged (days since admitted)"], stay.dt.days)
        first = pd.to_datetime(own.loc[own["part"] == "train", "admitted"]).min()
        since = (pd.to_datetime(own["admitted"]) - first).dt.days
        np.testing.assert_array_equal(x["admitted (days since first)"], since)
        known = own["diabetic"].notna().to_numpy()
        np.testing.assert_array_equal(x["diabetic"][known], own["diabetic"][known] == "yes")
    fixed = prepare(
        frame,
        split="part",
        scale="none",
        **(ASKED | {"dates": {"admitted": "2020-01-01"}}),
        drop=["discharged"],
    )
    again = prepare(
        frame.assign(admitted=pd.to_datetime(frame["admitted"])), split="part", scale="none",
        dates={"admitted": "2020-01-01"}, drop=["discharged"], ordinal=ASKED["ordinal"],
    )  # fmt: skip
    np.testing.assert_array_equal(fixed.x, again.x)
    assert fixed.x.max() == 299


@pytest.mark.parametrize("how", ["federated", "local"])
@pytest.mark.parametrize("scale", ["standard", "robust"])
def test_other_rows_than_training_rows_change_no_number(how, scale):
    frame, asked = table(), {"split": "part", "how": how, "scale": scale, "winsorise": (0.05, 0.95), **ASKED}
    changed = frame.copy()
    others = changed["part"] != "train"
    changed.loc[others, "bmi"] = 1e6 + np.arange(300)[others]
    changed.loc[others, ["sex", "race"]] = "unheard of"
    changed.loc[others, ["admitted", "discharged"]] = "1990-01-01"
    changed.loc[others & (frame.index % 2 == 0), ["crp", "sex", "asa", "diabetic"]] = None
    assert plain(prepare(frame, **asked)) == plain(prepare(changed, **asked))
    moved = frame.assign(crp=frame["crp"].where(others, frame["crp"] + 1))
    assert plain(prepare(frame, **asked)) != plain(prepare(moved, **asked))


def test_the_order_of_rows_and_hospitals_changes_no_number():
    frame, asked = table(), {"split": "part", "winsorise": (0.05, 0.95), **ASKED}
    data = prepare(frame, **asked)
    turned = prepare(frame.iloc[::-1], **asked)
    assert data.features == turned.features
    for site in data.hospitals:
        np.testing.assert_allclose(data.rows(site)[0], turned.rows(site)[0][::-1], rtol=1e-5, atol=1e-6)


def test_it_splits_as_from_frame_does():
    frame = table().assign(person=np.arange(300) // 2)
    plain_ones = ["bmi", "crp"]
    for patient in (None, "person"):
        with pytest.warns(DataWarning, match="patients") if patient else nullcontext():
            data = prepare(frame, features=plain_ones, patient=patient, seed=3)
        with pytest.warns(DataWarning, match="patients") if patient else nullcontext():
            same = from_frame(frame, features=plain_ones, patient=patient, seed=3, impute="median")
        np.testing.assert_array_equal(data.split, same.split)
        np.testing.assert_array_equal(data.y, same.y)
    assert (data.patients == same.patients).all()


def test_outcomes_and_weights_are_those_of_from_frame():
    """Time and event, several labels, weights of rows; other data take the outcome from the first."""
    rng = np.random.default_rng(1)
    frame = table()[["site", "bmi", "sex", "died"]]
    frame = frame.assign(days=rng.exponential(9, 300), ill=rng.integers(0, 2, 300), w=rng.random(300))
    for outcome in (
        {"time": "days", "event": "died", "drop": ["ill"]},
        {"label": ["died", "ill"], "drop": ["days"]},
    ):
        data = prepare(frame, row_weights="w", **outcome)
        same = from_frame(frame.drop(columns="sex"), row_weights="w", impute="median", **outcome)
        for ours, theirs in (
            (data.y, same.y),
            (data.split, same.split),
            (data.row_weights, same.row_weights),
        ):
            np.testing.assert_array_equal(ours, theirs)
        assert data.features == ("bmi", "sex=female", "sex=male", "sex=unseen", "bmi missing")
        roles = {role: columns for role, columns in outcome.items() if role != "drop"}
        again = prepare(frame, row_weights="w", like=data, **roles)
        np.testing.assert_array_equal(again.x, data.x)
        assert again.task == data.task


def test_each_hospital_by_itself():
    frame = table()[["site", "bmi", "crp", "died", "part"]]
    frame.loc[:3, "site"] = "tiny"
    data = prepare(frame, split="part", how="local", masks=False)
    everyone = prepare(frame, split="part", masks=False)
    for site in ("north", "south", "west"):
        own = frame[frame["site"] == site]
        train = own[own["part"] == "train"][["bmi", "crp"]]
        pipe = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(train)
        expected = pipe.transform(own[["bmi", "crp"]]) * np.sqrt((len(train) - 1) / len(train))
        np.testing.assert_allclose(data.rows(site)[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data.rows("tiny")[0], everyone.rows("tiny")[0], rtol=0.05, atol=0.01)


def test_rare_levels_and_small_hospitals_are_told_to_nobody():
    frame = table()
    frame.loc[:2, ["site", "race", "part"]] = ["tiny", "secret", "train"]
    data = prepare(frame, split="part", min_count=2, min_rows=10, **ASKED)
    assert "race=secret" not in data.features
    assert {"race=a", "race=other"} <= set(data.features)
    assert "secret" not in plain(data)
    many = prepare(frame, split="part", min_count=80, **ASKED)
    assert [name for name in many.features if name.startswith("race=")] == ["race=a", "race=other"]
    unseen = prepare(frame, split="part", min_count=1, **ASKED)
    assert "race=unseen" in unseen.features
    assert unseen.x[:, unseen.features.index("race=unseen")].sum() == 0


def test_a_column_that_a_hospital_does_not_have():
    frame = table()[["site", "sex", "bmi", "crp", "died"]]
    frame.loc[frame["site"] == "west", ["sex", "crp"]] = None
    with pytest.warns(
        DataWarning, match=r"'sex', 'crp' are not measured.*imputed and flagged \(hospital 'west'\)"
    ):
        data = prepare(frame)
    x = pd.DataFrame(data.rows("west")[0], columns=data.features)
    assert (x[["sex missing", "crp missing"]] == 1).all(axis=None)
    with pytest.warns(DataWarning, match=r"masks=True tells the model so \(hospital 'west'\)"):
        prepare(frame, masks=False)


@pytest.fixture(scope="module")
def local():
    """A table that was prepared by each hospital for itself."""
    return prepare(table(), split="part", how="local", winsorise=(0.05, 0.95), classes=["0", "1"], **ASKED)


def test_other_data_are_prepared_alike(local):
    new = prepare(table(), split="part", like=local)
    np.testing.assert_array_equal(new.x, local.x)
    assert new.steps is local.steps
    jaxfed.Simulation(local, evaluate_on=new, model=logistic())  # without a warning
    whole = prepare(table()[["site", "crp", "died"]], impute=None)
    with pytest.raises(
        InvalidInput, match="'crp' have missing values, and the other data were prepared with"
    ):
        prepare(table()[["site", "crp", "died"]].assign(crp=[None, *range(299)]), like=whole)
    with pytest.raises(
        InvalidInput, match=r"give the table of the new rows to jaxfed\.data\.prepare\(df, like"
    ):
        transform_like(from_frame(table(), features=["crp"]), local)


def test_saved_numbers_prepare_new_rows_of_a_file(local, tmp_path):
    """The outputs for a table that was read again are those for the rows that were trained on."""
    weights = np.random.default_rng(0).normal(size=(local.x.shape[1], 1)).astype(np.float32)
    variables = Variables({"head": {"kernel": weights, "bias": np.ones(1, np.float32)}}, {})
    meaning = of_classes(local.classes, 1)
    known = Inputs(local.features, local.classes, "binary", 1, local.steps, meaning=meaning)
    loaded = Inputs.from_json(json.loads(json.dumps(known.to_json())))
    assert str(preparation_report(loaded)) == str(preparation_report(local))
    frame = table().drop(columns=["died", "part"])
    frame.to_csv(tmp_path / "new.csv", index=False)
    read = read_table(tmp_path / "new.csv")
    predicted = predict(loaded, variables, None, read, logistic(), read["site"])
    for site in local.hospitals:
        logits = local.rows(site)[0] @ weights[:, 0] + 1
        np.testing.assert_allclose(
            predicted["1"][frame["site"] == site], 1 / (1 + np.exp(-logits)), rtol=1e-4
        )
    for rows, hospital, words in [
        (read.drop(columns="race"), "north", "no column 'race'"),
        (read.assign(asa="V"), "north", "'asa' has 'V'; give one of its levels 'I', 'II', 'III'"),
        (read.assign(crp="high"), "north", "'crp' are not numbers"),
        (read, "east", "hospital 'east'"),
        (read, None, "give hospital="),
        (np.zeros((3, 9)), "north", "give one with the columns 'sex'"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            predict(loaded, variables, None, rows, logistic(), hospital)
        assert words in str(caught.value)


def test_levels_that_training_rows_never_had():
    frame = table()
    data = prepare(frame, split="part", **ASKED)
    lacking = prepare(frame.assign(sex=None), split="part", like=data)  # no training row lacks it
    assert lacking.x[:, lacking.features.index("sex=unseen")].all()
    strange = prepare(frame.assign(sex="x", race="y"), split="part", like=data)
    x = pd.DataFrame(strange.x, columns=strange.features)
    assert (x[["sex=unseen", "race=other"]] == 1).all(axis=None)
    assert (x[["sex=male", "sex=female", "race=a", "race missing"]] == 0).all(axis=None)


def test_a_table_of_categories_alone():
    data = prepare(table()[["site", "sex", "died"]], winsorise=(0.1, 0.9))
    assert data.features == ("sex=female", "sex=male", "sex=unseen")
    assert set(np.unique(data.x)) == {0, 1}
    with pytest.raises(InvalidInput, match="two features would be called 'sex=male'; rename a column"):
        prepare(table()[["site", "sex", "died", "crp"]].rename(columns={"crp": "sex=male"}))


def test_what_the_types_of_pandas_say():
    frame = table()[["site", "died", "part", "bmi", "asa"]].rename(columns={"bmi": 7})
    frame["asa"] = pd.Categorical(frame["asa"], ["I", "II", "III"], ordered=True)
    frame["stay"] = pd.to_timedelta(np.arange(300), "D")
    frame["icu"] = pd.array([True, False, None] * 100, dtype="boolean")
    data = prepare(frame, split="part", scale="none", impute="mean")
    assert data.features == ("7", "asa", "stay", "icu", "7 missing", "icu missing")
    for site in data.hospitals:
        own = frame[frame["site"] == site]
        x = data.rows(site)[0]
        np.testing.assert_array_equal(x[:, 1], own["asa"].cat.codes)
        np.testing.assert_array_equal(x[:, 2], own["stay"].dt.days)
        np.testing.assert_array_equal(x[:, 3][own["icu"].notna()], own["icu"].dropna().astype(int))
    np.testing.assert_array_equal(prepare(frame, split="part", like=data).x, data.x)


def test_the_report_names_each_column():
    data = prepare(table(), split="part", winsorise=(0.05, 0.95), **ASKED)
    report = preparation_report(data)
    assert [*report.table.index] == ["sex", "race", "bmi", "crp", "asa", "diabetic", "admitted", "discharged"]
    assert report.table["features"].sum() == len(data.features)
    train = table().query("part == 'train'")
    np.testing.assert_allclose(report.table.loc["bmi", "missing"], train["bmi"].isna().mean())
    assert report.table.loc["bmi", "done"] == "winsorised; missing: median and a flag; (x - mean) / sd"
    low = np.nanquantile(train["bmi"], 0.05)
    assert f"5% quantile = {low:.4g}" in report.table.loc["bmi", "numbers"]
    assert "'a', 'b', 'c'" in str(report)
    assert "winsorised" in report._repr_html_()
    numbers = preparation_report(from_frame(table(), features=["bmi"], impute="mean"))
    assert numbers.table.loc["bmi", "done"] == "missing: mean"
    with pytest.raises(InvalidInput, match="no features with names that were prepared"):
        preparation_report(from_frame(table(), features=["crp"]))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, ["columns 'admitted', 'discharged' are not numbers (dates", "dates={'admitted': 'first'}"]),
        ({"categories": ["rase"]}, ["categories: 'rase' is no column to learn from; did you mean 'race'"]),
        ({"categories": "race"}, ["categories='race': give a list of columns"]),
        ({"ordinal": ["asa"]}, ["ordinal=['asa']: give {column: [levels]}, from low to high"]),
        ({"ordinal": {"asa": ["I"]}}, ["give two levels or more"]),
        (ASKED | {"ordinal": {"asa": ["I", "II"]}}, ["'asa' has 'III'; give one of its levels 'I', 'II'"]),
        ({"dates": {"discharged": "admited"}}, ["did you mean 'admitted'", "a day as '2020-01-31'"]),
        ({"dates": {"bmi": "first"}, "drop": ["admitted", "discharged"]}, ["'bmi' holds numbers and no"]),
        (ASKED | {"dates": {"admitted": "first", "discharged": "sex"}}, ["not written as 2020-04-03"]),
        ({"impute": "flag"}, ["what masks=True gives"]),
        ({"impute": {"bmi": "medain"}}, ["did you mean 'median'"]),
        (ASKED | {"impute": None}, ["column 'bmi' has 34 missing values; pass impute='median'"]),
        ({"scale": "minmax"}, ["scale='minmax'"]),
        ({"how": "pooled"}, ["how='pooled': choose from ['federated', 'local']"]),
        ({"winsorise": 0.01}, ["winsorise=0.01: give two quantiles"]),
        ({"categorie": ["race"]}, ["no argument 'categorie'; did you mean 'categories'"]),
        ({"like": 3}, ["these data were not made by prepare"]),
        ({"min_count": 0}, ["min_count=0: give a whole number"]),
        ({"label": "dead"}, ["no label column 'dead'; did you mean 'died'"]),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_a_remedy(asked, words):
    with pytest.raises(InvalidInput) as caught:
        prepare(table(), **asked)
    assert str(caught.value).startswith("prepare")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1,5", "2,5"] * 150, "pass decimal=','"),
        (["<5", "<9"] * 150, "count them as missing, missing=['<"),
        ([f"{k} %" for k in range(300)], "take the % away"),
        (["5", "6"] * 150, "categories=['lab']"),
        ([f"patient {k}" for k in range(300)], "an id, or free text"),
        (["03/04/2020", "05/06/2020"] * 150, "dates={'lab': 'first'}"),
        ([None] * 300, "column 'lab' has no value in training rows; leave it out with drop=['lab']"),
    ],
)
def test_columns_that_cannot_be_used(values, words):
    with pytest.raises(InvalidInput) as caught:
        prepare(table().assign(lab=values), **ASKED)
    assert words in str(caught.value)


def test_codes_for_missing_values_stand_in_any_column():
    frame = table()
    frame["race"] = frame["race"].where(frame["race"].notna(), "?")
    frame["bmi"] = frame["bmi"].fillna(-9)
    data = prepare(frame, split="part", missing=["?", -9], **ASKED)
    np.testing.assert_array_equal(data.x, prepare(table(), split="part", **ASKED).x)
    assert prepare(frame, split="part", missing=["?", -9], like=data).features == data.features


def test_pandas_categories_of_numbers_are_categories():
    df = pd.DataFrame({"site": ["a", "b"] * 30, "unit": [100, 200, 300] * 20, "died": [0, 1, 1, 0] * 15})
    named = prepare(df, categories=["unit"])
    typed = df.astype({"unit": "category"})
    data = prepare(typed)
    assert data.features == named.features
    np.testing.assert_array_equal(data.x, named.x)
    levels = prepare(typed.assign(kind=typed["unit"]), categories={"kind": [100, 200]})
    assert {"kind=100", "unit=100", "unit=300"} <= {*levels.features}
    ordered = df.astype({"unit": pd.CategoricalDtype([100, 200, 300], ordered=True)})
    assert prepare(ordered).features == ("unit",)


def test_a_letter_alone_is_no_truth():
    df = pd.DataFrame(
        {
            "site": ["a", "b"] * 30,
            "sex": ["f"] * 59 + ["m"],
            "age": 1.0 * np.arange(60),
            "died": [0, 0, 1, 1] * 15,
        }
    )
    split = {"a": [0] * 30, "b": [0] * 29 + [2]}
    with pytest.warns(DataWarning, match="column 'sex' has only the level 'f'"):
        data = prepare(df, split=split)
    assert "sex=f" in data.features
    df["smoker"] = ["yes"] * 59 + ["maybe"]
    with pytest.raises(
        InvalidInput, match=r"'maybe'; give one of .*, or prepare the column as categories=\['smoker'\]"
    ):
        prepare(df, split=split)
