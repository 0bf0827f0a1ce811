"""The check of a table: what was planted is found, with what mends it, and nothing in a clean one."""

import shlex
import warnings

import numpy as np
import pandas as pd
import pytest
from messy import PLANTED, clean, messy

import jaxfed
from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, check, from_frame, synthetic_ehr
from jaxfed.data.check.finding import flags
from jaxfed.data.heart import COLUMNS


def kinds(checked, least="caution"):
    """Kinds of findings that are not mere notes."""
    return {found.kind for found in checked.findings if least == "note" or found.severity != "note"}


def typed(code, **names):
    """The names after the code has run; warnings of what has not been mended are no error."""
    names |= {"jaxfed": jaxfed, "pd": pd}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        exec(code, names)
    return names


def only(checked, kind):
    (found,) = [found for found in checked.findings if found.kind == kind]
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_what_was_planted_is_found_and_nothing_else(seed):
    found = [(found.kind, found.columns, set(found.hospitals)) for found in check(messy(seed)).findings]
    planted = [(kind, columns, set(hospitals)) for kind, columns, hospitals in PLANTED]
    assert sorted(found, key=str) == sorted(planted, key=str)


def test_what_findings_say_to_type_mends_the_table():
    checked = check(messy())
    names = typed(checked.code, df=messy())
    assert len(names["df"]) == len(clean())
    assert np.isfinite(names["hospitals"].x).all()
    assert kinds(check(names["hospitals"]), "note") == set()
    df = names["df"]
    assert len(df["site"].unique()) == 6
    assert df.groupby("site")["creatinine"].median().max() < 2
    arguments = {key: value for key, value in checked.arguments.items() if key != "impute"}
    again = check(df, **arguments)
    assert kinds(again, "note") == {"not measured", "missing values", "scales"}


def test_a_clean_table_is_clean():
    assert kinds(check(clean()), "note") == {"scales"}  # degrees Celsius are far from 1


@pytest.mark.parametrize("preset", ["iid", "icu-mortality", "strong"])
@pytest.mark.parametrize("seed", [0, 1])
def test_hospitals_that_only_differ_are_clean(preset, seed):
    checked = check(synthetic_ehr(30, preset=preset, seed=seed, n_med=150))
    assert kinds(checked, "note") <= {"few events"}
    beyond = checked.tables["differences"].loc["features", "beyond_chance"]
    assert beyond.sum() <= 1 if preset == "iid" else beyond.all()


def test_a_table_and_its_dataset_have_the_same_findings():
    df = clean().assign(row=np.arange(810))
    df.loc[df["site"] == "East", "temp"] = 32 + 1.8 * df["temp"]
    table, data = check(df), check(from_frame(df, drop=["row"], impute=None), name="table")
    assert kinds(table, "note") == {"id", "unit", "scales"}
    assert kinds(data, "note") == {"unit", "scales"}
    for name in ("missing", "medians"):
        expected = table.tables[name].drop(columns="row").rename_axis("hospital")
        pd.testing.assert_frame_equal(data.tables[name], expected, rtol=0.01)  # float32, rounded


def test_the_heart_data_have_the_known_faults(heart_folder):
    files = {"Cleveland": "cleveland", "Hungary": "hungarian", "Switzerland": "switzerland", "VA": "va"}
    tables = [
        pd.read_csv(heart_folder / f"processed.{file}.data", header=None, names=[*COLUMNS]).assign(site=site)
        for site, file in files.items()
    ]
    df = pd.concat(tables)
    df["num"] = (df["num"] > 0).astype(int)
    checked = check(df, label="num")
    assert kinds(checked) == {"missing codes", "sentinel", "mostly missing", "repeated rows"}
    assert only(checked, "sentinel").columns == ("chol",)
    assert only(checked, "sentinel").hospitals == ("Switzerland", "VA")
    assert only(checked, "mostly missing").columns == ("ca", "thal")
    assert only(checked, "missing codes").arguments == {"missing": ["?"]}
    assert only(checked, "repeated rows").count == "<5"  # two rows
    rows = checked.tables["hospitals"]
    assert rows["rows"].tolist() == [303, 294, 123, 200]
    np.testing.assert_allclose(rows["prevalence"], [0.459, 0.361, 0.935, 0.745], atol=1e-3)
    mended = typed(checked.code, df=df)["df"]
    mended = check(mended, label="num", **{key: checked.arguments[key] for key in ("missing", "drop")})
    assert kinds(mended) == {"not measured"}
    assert only(mended, "not measured").columns == ("chol",)


UNITS = [
    ("creatinine", 1.0, 0.4, 88.4, "88.4"),
    ("glucose", 7.0, 0.3, 18.02, "18.02"),
    ("glucose", 120.0, 0.3, 1 / 18.02, "18.02"),
    ("hb", 11.0, 0.2, 10, "g/l and g/dl"),
    ("protein_x", 40.0, 0.2, 0.001, "1000"),
    ("potassium", 4.1, 0.15, 3.4, "another unit"),
]


@pytest.mark.parametrize(("name", "typical", "spread", "factor", "said"), UNITS)
def test_factors_between_units_are_named(name, typical, spread, factor, said):
    rng = np.random.default_rng(0)
    site = np.repeat(list("ABCDEF"), 80)
    shift = np.repeat(rng.normal(0, 0.3 * spread, 6), 80)  # case mix
    value = typical * np.exp(spread * rng.standard_normal(480) + shift)
    df = pd.DataFrame({"site": site, name: value, "died": rng.integers(0, 2, 480)})
    assert "unit" not in kinds(check(df))
    df[name] = df[name].mask(df["site"] == "C", df[name] * factor)
    found = only(check(df), "unit")
    assert found.hospitals == ("C",)
    assert said in found.text
    mended = typed(found.statement, df=df.copy())["df"]
    np.testing.assert_allclose(mended[name], value, rtol=0.05)
    assert "unit" not in kinds(check(mended))


def test_hospitals_of_sicker_patients_have_no_other_unit():
    rng = np.random.default_rng(0)
    shift = np.repeat([0, 0.1, -0.2, 0.8], 100)  # twice as high, of values that differ more between patients
    crp = np.exp(1.2 * rng.standard_normal(400) + shift)
    df = pd.DataFrame({"site": np.repeat(list("abcd"), 100), "crp": crp, "died": BITS})
    assert df.groupby("site")["crp"].median()["d"] > 1.9
    assert "unit" not in kinds(check(df))


def test_copies_are_dropped_whatever_stands_in_columns_that_are_left_out():
    found = only(check(messy(), drop=["row"]), "repeated rows")
    assert len(typed(found.statement, df=messy())["df"]) == len(clean())


def test_scores_are_compared_by_their_spread():
    df = clean()
    df["crp"] = df["crp"].mask(df["site"] == "West", 10 * df["crp"])
    assert only(check(df), "unit").hospitals == ("West",)


@pytest.mark.parametrize(
    ("values", "code", "planted"),
    [
        (lambda rng: rng.normal(80, 15, 400).round(), 999, True),
        (lambda rng: rng.integers(0, 5, 400), 9, True),
        (lambda rng: rng.lognormal(0, 1, 400), -1, True),
        (lambda rng: rng.normal(0, 1, 400), -999, True),
        (lambda rng: rng.normal(240, 50, 400).round(), 0, True),
        (lambda rng: rng.normal(96, 2, 400).round().clip(0, 100), 99, False),  # saturation
        (lambda rng: rng.integers(0, 30, 400), 0, False),  # a count
        (lambda rng: rng.integers(0, 2, 400), 0, False),  # a flag
        (lambda rng: rng.exponential(1, 400).round(1), 0, False),
        (lambda rng: rng.lognormal(0, 0.5, 400).clip(0.25), 0, False),  # below what can be measured
    ],
)
def test_codes_for_missing_values(values, code, planted):
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"site": ["a", "b"] * 200, "x": values(rng), "died": rng.integers(0, 2, 400)})
    df["x"] = df["x"].astype(float)
    df.loc[rng.choice(400, 12, False), "x"] = code
    found = [found for found in check(df).findings if found.kind == "sentinel"]
    assert [each.arguments for each in found] == ([{"missing": [code]}] if planted else [])


def labelled(labels, sites=("a", "b", "c", "d")):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((len(labels), 3))
    return pd.DataFrame(
        {"site": np.resize(sites, len(labels)), "died": labels} | dict(zip("xyz", z.T, strict=True))
    )


BITS = np.random.default_rng(1).integers(0, 2, 400)


@pytest.mark.parametrize(
    ("labels", "arguments"),
    [
        (BITS + 1, {"classes": ["1", "2"]}),
        (np.where(BITS, "alive", "dead"), {"classes": ["alive", "dead"]}),
        (np.where(BITS, "survived", "ICU death"), {"classes": ["survived", "ICU death"]}),
        (np.where(BITS, "true", "false"), {"classes": ["false", "true"]}),
        (np.arange(400), {"task": "regression"}),
        (np.arange(400) / 7, {"task": "regression"}),
        (np.arange(400) % 3, {"classes": ["0", "1", "2"]}),
    ],
)
def test_how_labels_are_coded(labels, arguments):
    df = labelled(labels)
    assert only(check(df), "label coding").arguments == arguments
    assert "label coding" not in kinds(check(df, **arguments))
    from_frame(df, **arguments)


@pytest.mark.parametrize("labels", [BITS, BITS.astype(bool), BITS.astype(float)])
def test_labels_of_zeros_and_ones_need_nothing(labels):
    assert kinds(check(labelled(labels)), "note") == set()


def test_hospitals_that_code_labels_differently():
    df = labelled(BITS)
    df["died"] = df["died"].mask(df["site"] == "c", df["died"] + 1)
    found = only(check(df), "labels differ")
    assert found.hospitals == ("c",)
    assert (typed(found.statement, df=df)["df"]["died"] == BITS).all()


def test_hospitals_with_exchanged_labels():
    df = clean()
    df["died"] = df["died"].mask(df["site"] == "South", 1 - df["died"])
    found = only(check(df), "labels exchanged")
    assert found.hospitals == ("South",)
    assert (typed(found.statement, df=df)["df"]["died"] == clean()["died"]).all()


def test_one_class_is_strange_only_where_rows_are_many():
    df = labelled(np.where(BITS, 0, 1), sites=("a", "b"))
    df["died"] = df["died"].mask(df["site"] == "b", 0)
    assert only(check(df), "one class").hospitals == ("b",)
    small = pd.concat([df[df["site"] == "a"], df[df["site"] == "b"].head(10)])
    assert kinds(check(small), "note") == {"few events"}


def test_missing_labels_and_hospitals():
    df = labelled(BITS.astype(float))
    df.loc[:9, "died"] = np.nan
    df.loc[20:22, "site"] = None
    df["mrn"] = [None if n in (30, 40) else f"p{n}" for n in range(400)]
    checked = check(df, patient="mrn")
    assert only(checked, "no patient").count == "<5"
    assert only(checked, "no label").count == "10"
    assert only(checked, "no hospital").count == "<5"
    assert kinds(check(typed(checked.code, df=df)["df"], patient="mrn"), "note") == set()


@pytest.mark.parametrize(
    ("column", "kind", "arguments"),
    [
        (1.6e9 + 1e3 * np.arange(400.0), "date", {"drop": ["new"]}),
        (20200101 + np.arange(400) % 28, "date", {"drop": ["new"]}),
        (np.full(400, np.nan), "empty", {"drop": ["new"]}),
        ([f"note {n}" for n in range(400)], "id", {"drop": ["new"]}),
        (np.where(BITS, "<5", np.arange(400).astype(str)), "bounds", {"missing": ["<5"]}),
    ],
)
def test_columns_that_are_no_measurements(column, kind, arguments):
    df = labelled(np.roll(BITS, 7)).assign(new=column)
    checked = check(df)
    assert only(checked, kind).arguments == arguments
    assert kind not in kinds(check(df, **arguments))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([f"{n % 90 + 0.5}%" for n in range(400)], "percentages"),
        ([f"{n % 9},5" for n in range(400)], "decimal commas"),
        ([f"{1 + n % 9},500" for n in range(400)], "thousands"),
        ([str(n % 9) for n in range(400)], "numbers as text"),
        (np.where(np.roll(BITS, 3), "left", "right"), "text"),
    ],
)
def test_text_becomes_numbers_with_what_is_said_to_type(column, kind):
    df = labelled(BITS).assign(new=column)
    mended = typed(only(check(df), kind).statement, df=df)["df"]
    assert kind not in kinds(check(mended))
    from_frame(mended)


@pytest.mark.parametrize("text", [False, True])
def test_patients_with_several_rows(text):
    df = labelled(np.repeat(BITS[:100], 4), sites=np.repeat(list("ab"), 200))
    df["patient_id"] = np.repeat([f"p{n}" for n in range(100)] if text else np.arange(100), 4)
    found = only(check(df), "patient")
    assert found.arguments == {"patient": "patient_id"}
    checked = check(df, **found.arguments)
    assert kinds(checked, "note") == set()
    assert checked.tables["hospitals"]["patients"].tolist() == [50, 50]


def test_patients_in_several_hospitals():
    df = labelled(BITS).assign(patient_id=np.arange(400) % 63)
    found = only(check(df, patient="patient_id"), "shared patients")
    mended = typed(found.statement, df=df)["df"]
    assert kinds(check(mended, patient="patient_id"), "note") == set()


def test_a_feature_that_is_filled_in_after_the_event():
    df = labelled(BITS)
    df["stay"] = df["x"].where(df["died"] == 0)
    assert only(check(df), "gives the label away").columns == ("stay",)


def test_weights_of_rows_are_no_feature():
    df = clean().assign(sample_weight=np.linspace(0.5, 2, 810))
    found = only(check(df), "weight")
    assert found.arguments == {"row_weights": "sample_weight"}
    assert kinds(check(df, **found.arguments), "note") == {"scales"}
    from_frame(df, **found.arguments)


def test_a_time_to_an_event():
    df = clean().assign(days=lambda df: np.where(df["died"] == 1, 10.0, 400) + np.arange(810) % 7)
    assert only(check(df), "gives the label away").columns == ("days",)
    table = check(df, time="days", event="died")
    data = check(from_frame(df, time="days", event="died"))
    assert kinds(table, "note") == kinds(data, "note") == {"scales"}
    events = table.tables["hospitals"]["events"].tolist()
    assert data.tables["hospitals"]["events"].tolist() == events
    assert table.arguments == {"hospital": "site", "time": "days", "event": "died"}
    with pytest.raises(InvalidInput, match="time='days' and event=None: give both"):
        check(df, time="days")


def test_real_labels():
    df = labelled(np.random.default_rng(0).normal(50, 10, 400)).assign(same=lambda df: 2 * df["died"])
    checked = check(df, task="regression")
    assert only(checked, "gives the label away").columns == ("same",)
    assert "prevalence" not in checked.tables["hospitals"]
    assert "real number" in repr(checked)


def test_hospitals_of_a_few_rows_and_one_of_nearly_all():
    tiny = labelled(BITS, sites=[f"h{n}" for n in range(80)])
    assert {"small hospitals"} <= kinds(check(tiny))
    huge = labelled(BITS, sites=["a"] * 399 + ["b"])
    assert only(check(huge), "one hospital").hospitals == ("a",)


def test_names_of_hospitals_as_numbers_and_text():
    df = labelled(BITS).assign(site=lambda df: df["site"].map({"a": 7, "b": "7", "c": "007", "d": 8}))
    assert {"ids of two types", "names alike"} <= kinds(check(df))


def test_arguments_are_options_of_the_command_line():
    assert shlex.split(flags({"missing": ["?", -9], "impute": "flag"})) == [
        "--missing",
        "?",
        "-9",
        "--impute",
        "flag",
    ]
    assert flags({"drop": ["a b"]}) == "--drop 'a b'"
    chosen = check(messy(), features=["age", "row", "discharge"])
    assert chosen.arguments["features"] == ["age"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"label": "dead"}, "no label column 'dead'; did you mean 'died'"),
        ({"drop": ["rov"]}, "no drop column 'rov'; did you mean 'row'"),
        ({"label": ["died", "row"]}, "look at one outcome at a time"),
        ({"drop": "row"}, r"give a list, as \['row'\]"),
        ({"minimum": 0}, "minimum=0: give a whole number"),
    ],
)
def test_wrong_arguments(arguments, said):
    with pytest.raises(InvalidInput, match=said):
        check(messy(), **arguments)


def test_nothing_to_look_at():
    with pytest.raises(InvalidInput, match="got list without rows"):
        check([1, 2])
    with pytest.raises(InvalidInput, match="without rows"):
        check(clean().head(0))
    with pytest.raises(InvalidInput, match="typed='bash': give 'python' or 'command'"):
        check(clean()).summary("bash")
    with pytest.raises(InvalidInput, match="'site' is empty"):
        check(clean().assign(site=None))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (BITS, ["alive", "dead"]),
        (BITS.astype(bool), ["False", "True"]),
        (BITS + 1, [1, 2]),
        (BITS, [0.0, 1.0]),
    ],
)
def test_classes_are_names_of_the_numbers_in_the_table(labels, classes):
    named, plain = check(labelled(labels), classes=classes), check(labelled(BITS))
    pd.testing.assert_frame_equal(named.tables["hospitals"], plain.tables["hospitals"])
    assert "prevalence" in named.tables["hospitals"]


def test_a_mean_label_is_over_visits():
    df = labelled(np.arange(400) / 7).assign(
        who=np.arange(400) // 4, site=np.repeat(["a", "b", "c", "d"], 100)
    )
    means = check(df, patient="who", task="regression").tables["hospitals"]["label mean"]
    np.testing.assert_allclose(means, df.groupby("site")["died"].mean(), rtol=0.02)
