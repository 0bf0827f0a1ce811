import numpy as np
import pandas as pd
import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, from_arrays, from_frame, resplit


def _table(n=40, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.normal(60, 10, n),
            "site": np.array(["north", "south"])[np.arange(n) // 2 % 2],
            "hr": rng.normal(80, 9, n),
            "died": np.arange(n) % 2,
        }
    )


def _error(df, **options) -> str:
    with pytest.raises(InvalidInput, match="from_frame") as caught:
        from_frame(df, **options)
    return str(caught.value)


def test_rows_go_to_their_hospital_in_order():
    df = _table()
    data = from_frame(df)
    assert data.hospitals == ("north", "south")
    assert data.features == ("age", "hr")
    south = df[df["site"] == "south"]
    np.testing.assert_allclose(data.rows("south")[0], south[["age", "hr"]], rtol=1e-6)
    np.testing.assert_array_equal(data.rows("south")[1], south["died"])
    assert data.x.dtype == np.float32
    assert data.counts.tolist() == [[14, 2, 4], [14, 2, 4]]


def test_it_is_from_arrays_by_hospital():
    df = _table()
    parts = {
        site: (own[["age", "hr"]].to_numpy(), own["died"].to_numpy()) for site, own in df.groupby("site")
    }
    frame, arrays = from_frame(df, seed=4), from_arrays(parts, seed=4)
    np.testing.assert_array_equal(frame.x, arrays.x)
    np.testing.assert_array_equal(frame.split, arrays.split)


def test_columns_can_be_chosen():
    df = _table().assign(ward="icu", stay=np.arange(40) // 2)
    data = from_frame(df, features=["stay", "age"])
    assert data.features == ("stay", "age")
    assert data.x[:2, 0].tolist() == [0, 0]
    assert data.x.dtype == np.float32
    message = _error(df)
    assert "columns 'ward' are not numbers" in message
    assert "jaxfed.data.prepare" in message


def test_columns_that_are_absent():
    message = _error(_table(), hospital="sites", label="dead", features=["agee", "died"])
    assert "no hospital column 'sites'; did you mean 'site'" in message
    assert "no label column 'dead'; did you mean 'died'" in message
    assert "no feature column 'agee'; did you mean 'age'" in message
    assert "'died' is also" in _error(_table(), features=["age", "died"])
    assert "give a list" in _error(_table(), features="age")
    assert "features is empty" in _error(_table(), features=[])
    assert "no columns are left" in _error(_table()[["site", "died"]])
    assert "columns given twice: 'age'" in _error(_table()[["age", "age", "site", "died"]])


def test_rows_without_hospital_are_counted():
    df = _table()
    df.loc[3:5, "site"] = None
    assert "column 'site' is missing in 3 rows" in _error(df)


def test_numeric_hospitals():
    df = _table().assign(site=np.repeat([12.0, 7.0], 20))
    assert from_frame(df).hospitals == ("12", "7")


def test_missing_values_are_refused_or_imputed():
    df = _table()
    df.loc[df["site"] == "north", "hr"] = np.nan
    message = _error(df)
    assert "hospital 'north': feature 'hr' has 20 missing" in message
    with pytest.warns(DataWarning, match=r"'hr' are not measured everywhere; they are filled in .*'north'"):
        data = from_frame(df, impute="mean")
    x, _, split = data.rows("south")
    assert data.rows("north")[0][0, 1] == pytest.approx(x[split == 0, 1].mean(), rel=1e-6)


@pytest.mark.parametrize("names", [[0, 1, 2], ["train", "validation", "test"]])
def test_the_split_can_be_a_column(names):
    df = _table()
    part = np.arange(40) // 4 % 3
    data = from_frame(df.assign(fold=np.array(names)[part]), split="fold")
    assert data.features == ("age", "hr")
    expected = part[(df["site"] == "north").to_numpy()]
    np.testing.assert_array_equal(data.rows("north")[2], expected)
    assert "no split column 'fald'; did you mean 'fold'" in _error(df.assign(fold=0), split="fald")
    assert "column 'fold': split has the values 9" in _error(df.assign(fold=9), split="fold")


def test_ids_among_the_features_are_noticed():
    df = _table().assign(patient=np.random.default_rng(0).permutation(40) + 1000)
    with pytest.warns(DataWarning, match="columns 'patient' differ in every row") as caught:
        from_frame(df)
    assert caught[0].filename == __file__
    from_frame(df, features=["age", "hr"])


def test_patients_in_two_hospitals_are_noticed():
    df = _table()
    df.loc[2, ["age", "hr", "died"]] = df.loc[0, ["age", "hr", "died"]]
    with pytest.warns(DataWarning, match=r"1 rows occur in two or more .*'north', 'south'"):
        from_frame(df)
    within = _table()
    within.loc[1, ["age", "hr", "died"]] = within.loc[0, ["age", "hr", "died"]]
    with pytest.warns(DataWarning, match="1 rows repeat a row of their hospital: .* patient="):
        from_frame(within)
    from_frame(within.assign(mrn=np.arange(40) // 2), patient="mrn", features=["age", "hr"])


def test_coarse_tables_repeat_rows_without_notice():
    df = _table().assign(age=np.arange(40) // 20, hr=0.5)
    from_frame(df)


def test_text_labels_and_regression():
    df = _table().assign(died=np.where(np.arange(40) % 2, "yes", "no"))
    assert "holds text ('no', 'yes')" in _error(df)
    assert from_frame(df, classes=["no", "yes"]).y[:4].tolist() == [0, 1, 0, 1]
    assert from_frame(_table(), label="hr", task="regression").features == ("age", "died")


@pytest.mark.parametrize("df", [None, pd.DataFrame(), {"site": [1]}])
def test_no_table(df):
    assert "without rows" in _error(df)


def test_ids_are_text_as_written():
    """Every row is there, ``007`` is not ``7``, and ids that would merge are named."""
    df = _table().assign(site=np.repeat(["007", "7", "NA", "B7"], 10))
    with pytest.warns(DataWarning, match=r"'007' and '7' differ only in case, spaces"):
        data = from_frame(df)
    assert data.hospitals == ("007", "7", "NA", "B7")
    assert data.size.tolist() == [10] * 4
    mixed = df.assign(site=pd.Series([1] * 20 + ["1"] * 10 + ["B7"] * 10, dtype=object))
    message = _error(mixed)
    assert "column 'site' holds '1' as text in some rows and as another type in others" in message
    assert "df['site'].astype(str)" in message
    apart = df.assign(site=pd.Series([1] * 20 + [2.0] * 10 + ["B7"] * 10, dtype=object))
    assert from_frame(apart).hospitals == ("1", "2", "B7")
    flags = df.assign(site=pd.Series([True] * 20 + [1] * 20, dtype=object))
    assert from_frame(flags).hospitals == ("True", "1")
    assert "'site' is missing in 10 rows" in _error(df.assign(site=np.repeat(["a", " ", "b", "c"], 10)))


@pytest.mark.parametrize(
    "names", [("St Mary", "St Mary ", "st mary"), ("Jose\u0301", "Jos\u00e9", "JOS\u00c9")]
)
def test_hospitals_that_look_alike_are_noticed(names):
    with pytest.warns(DataWarning, match="differ only in case, spaces, the form of accents") as caught:
        assert len(from_frame(_table(60).assign(site=np.repeat(names, 20)))) == 3
    assert all(ascii(name) in str(caught[0].message) for name in names)


def _visits(patients=60, visits=5, hospitals=3):
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(patients), visits)
    return pd.DataFrame(
        {
            "mrn": [f"p{i}" for i in who],
            "site": who % hospitals,
            "age": rng.normal(size=patients)[who],
            "hr": rng.normal(size=patients * visits),
            "died": rng.integers(0, 2, patients)[who],
        }
    )


@pytest.mark.parametrize("task", [None, "regression"])
def test_rows_of_a_patient_are_in_one_part(task):
    df = _visits()
    data = from_frame(df, patient="mrn", task=task)
    assert data.features == ("age", "hr")
    for dataset in (data, resplit(data, (0.5, 0.2, 0.3), seed=4), data.select(["2", "0"]), data.pooled()):
        parts = pd.Series(dataset.split).groupby(dataset.patients).nunique()
        assert (parts == 1).all()
    assert data.counts.tolist() == [[70, 10, 20]] * 3
    assert data.counts.sum() == len(df)


def test_patients_of_several_hospitals_are_in_one_part():
    df = _visits().assign(site=np.arange(300) % 3)
    with pytest.warns(
        DataWarning, match=r"60 patients \(as 'p0'\) have rows in two or more of the hospitals"
    ):
        data = from_frame(df, patient="mrn")
    parts = pd.Series(data.split).groupby(data.patients)
    assert parts.nunique().eq(1).all()
    assert 0.5 < (parts.first() == 0).mean() < 0.9
    with pytest.warns(DataWarning, match="two or more"):
        backward = from_frame(df[::-1], patient="mrn")
    assert dict(zip(data.patients, data.split, strict=True)) == dict(
        zip(backward.patients, backward.split, strict=True)
    )


def test_a_given_split_that_tears_a_patient_is_refused():
    df = _visits().assign(fold=np.arange(300) % 2)
    assert "rows of patient 'p0', 'p1', 'p10' and 57 more are in two parts" in _error(
        df, patient="mrn", split="fold"
    )
    assert "column 'mrn' is missing in 1 rows" in _error(df.assign(mrn=[None, *df["mrn"][1:]]), patient="mrn")


def test_what_looks_like_a_patient_or_a_weight_is_noticed():
    df = _table()
    with pytest.warns(
        DataWarning, match="'patient_id' looks like the number of a patient.*patient='patient_id'"
    ):
        from_frame(df.assign(patient_id=np.arange(40) // 2))
    with pytest.warns(DataWarning, match="'sample_weight' look like weights of rows"):
        from_frame(df.assign(sample_weight=1.0))
    from_frame(df.assign(weight=np.linspace(50, 90, 40)))


def test_codes_for_missing_values():
    df = _table().assign(hr=["?", "-9", *map(str, range(38))], age=np.r_[-9.0, 9999, np.arange(38.0)])
    data = from_frame(df, missing=["?", -9, "9999"], impute="zero")
    assert data.x[np.lexsort((data.x[:, 0],))][:2, 0].tolist() == [0, 0]
    assert (data.x == 0).sum(0).tolist() == [3, 3]
    assert data.x.max(0).tolist() == [37, 37]
    assert "(codes, as '?'); if they mean that a value is missing, pass missing=['?']" in _error(df)
    with pytest.warns(DataWarning, match=r"missing=\[77\]: no feature has the value 77"):
        from_frame(_table(), missing=[77])
    assert "give a list, as ['?']" in _error(df, missing="?")
    assert "y has 10 missing or infinite labels; drop these rows" in _error(
        _table().assign(died=["?", "1"] * 20), missing=["?"], classes=["0", "1"]
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["<5", "<10"] * 20, "(bounds, as '<5', '<10'); put numbers in their place, or count"),
        (["1,234", "12,345"] * 20, "(thousands, as '1,234', '12,345'); take the commas away"),
        (["1,5", "2,75"] * 20, "(decimal commas, as '1,5', '2,75'); pass decimal=','"),
        (["95%", "7.5 %"] * 20, "(percentages, as '95%', '7.5 %'); take the % away"),
        (["2020-01-01", "2021-12-31"] * 20, "dates, as '2020-01-01', '2021-12-31'); turn them into days"),
        (pd.to_datetime(["2020-01-01", "2021-12-31"] * 20), "(dates, as '2020-01-01"),
        (["5", "6"] * 20, "(numbers as text, as '5', '6'); turn them into numbers, df[column] ="),
        (["icu", "er"] * 20,
         "(text, as 'icu', 'er'); one-hot them, which jaxfed.data.prepare does, or leave"),
    ],
)  # fmt: skip
def test_columns_that_are_no_numbers_are_shown_with_a_remedy(values, words):
    message = _error(_table().assign(lab=values))
    assert words in message
    assert "columns 'lab' are not numbers" in message
    assert from_frame(_table().assign(lab=values), drop=["lab"]).features == ("age", "hr")


def test_objects_that_are_numbers_are_numbers():
    data = from_frame(_table().assign(age=pd.Series([1, 2.5, None, True] * 10, dtype=object)), impute="zero")
    assert data.x[:2, 0].tolist() == [1, 2.5]


def test_roles_of_columns_are_told_apart():
    assert "column 'site' is given as hospital and as patient" in _error(_table(), patient="site")
    assert "features and drop: give one of them" in _error(_table(), features=["age"], drop=["hr"])
    assert "no drop column 'hrr'; did you mean 'hr'" in _error(_table(), drop=["hrr"])
    assert "give a list of columns, as ['age', 'hr']" in _error(_table(), features={"age", "hr"})


def test_a_patient_s_class_is_the_highest_of_its_rows():
    """Half of those who ever died, and half of the others, go to each part; last rows say alive."""
    ever = np.repeat([1, 0], 20)
    frame = pd.DataFrame(
        {
            "site": "a",
            "patient": np.repeat(np.arange(40), 2),
            "age": np.arange(80.0),
            "died": np.column_stack([ever, np.zeros(40, int)]).ravel(),
        }
    )
    data = from_frame(frame, hospital="site", label="died", patient="patient", split=(0.5, 0, 0.5))
    assert data.y.reshape(40, 2).sum(1).tolist() == ever.tolist()
    parts = data.split.reshape(40, 2)[:, 0]
    assert [(parts[ever == c] == 2).sum() for c in (0, 1)] == [10, 10]


@pytest.mark.parametrize("missing", [["NaN"], [np.nan], ["nan", 4]])
def test_nan_may_be_among_the_codes(missing):
    frame = pd.DataFrame({"site": ["a"] * 4, "x": [1.0, np.nan, 3.0, 4.0], "died": [0, 1] * 2})
    data = from_frame(frame, missing=missing, impute="zero", split=None)
    np.testing.assert_array_equal(data.x[:, 0], [1, 0, 3, 0 if 4 in missing else 4])


def test_a_feature_is_named_once():
    frame = pd.DataFrame({"site": ["a"] * 4, "x": np.arange(4.0), "died": [0, 1] * 2})
    with pytest.raises(InvalidInput, match="features has 'x' twice; give each column once"):
        from_frame(frame, features=["x", "x"])
