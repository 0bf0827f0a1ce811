"""Nothing that is known of fewer patients than the minimum is in the page, the print or the tables."""

import re

import numpy as np
import pandas as pd
import pytest
from messy import clean

from jaxfed.data import check
from jaxfed.data.check.disclosure import count_text, is_hidden, rounded, shares, total_text, without_rest
from jaxfed.data.check.figures import labels_figure
from jaxfed.data.check.page import page_of

UNIQUE = ["98765.4321", "98765", "Zaphod", "Ward-13", "77123", "unheard", "St Nowhere", "1931-07-04"]


def planted():
    """A table with values of single patients in every kind of column."""
    df = clean().astype({"age": object, "died": object})
    df["died"] = np.where(df["died"] == 1, "yes", "no")
    df.loc[0, "bmi"] = 98765.4321
    df.loc[1, "age"] = "Zaphod"
    df["ward"] = np.where(np.arange(len(df)) % 2, "surgery", "medicine")
    df.loc[2, "ward"] = "Ward-13"
    df["row"] = np.arange(len(df)) + 76500  # one of them is 77123
    df.loc[3, "died"] = "unheard"
    df.loc[4:6, "site"] = "St Nowhere"
    df["born"] = "1950-01-01"
    df.loc[7, "born"] = "1931-07-04"
    few = df.index[df["site"] == "Harbour"]
    df.loc[few, "died"] = np.where(np.arange(len(few)) < 3, "yes", "no")  # three events
    df.loc[df.index[df["site"] == "West"][:2], "crp"] = np.nan  # two missing
    return df


@pytest.fixture(scope="module", params=["as given", "as mended"])
def checked(request):
    df = planted()
    if request.param == "as mended":
        df = df[df["died"] != "unheard"]
        df["age"] = pd.to_numeric(df["age"], errors="coerce")
        return check(df, drop=["ward", "row", "born"], classes=["no", "yes"])
    return check(df)


def test_no_value_of_a_few_patients_is_shown(checked):
    shown = [page_of(checked).html(), checked.summary(), checked.summary("command"), checked._repr_html_()]
    shown += [table.to_csv() for table in checked.tables.values()] + [repr(checked.findings)]
    for value in UNIQUE:
        assert not any(value in text for text in shown), value


def test_small_counts_are_not_in_the_tables(checked):
    hospitals = checked.tables["hospitals"]
    assert len(hospitals) == 6
    assert hospitals["rows"].min() >= 5
    if "events" in hospitals:
        assert hospitals["events"].isna().tolist() == [False] * 5 + [True]
        assert hospitals["events"].dtype == "Int64"
        assert np.isnan(hospitals.loc["Harbour", "prevalence"])
        cells = re.findall(r'<td headers="[^"]*-(?:rows|events)"[^>]*>(.*?)</td>', page_of(checked).html())
        assert cells.count("&lt;5") == 1
        assert all(int(cell) >= 5 for cell in cells if cell != "&lt;5")
    assert np.isnan(checked.tables["missing"].loc["West", "crp"])
    assert checked.tables["missing"].loc["North", "crp"] == 0
    assert re.match(r"more than 80[67] rows in 7 hospitals, 1 of them", checked.facts[0])


def test_figures_show_no_more_than_the_tables():
    hospitals = check(planted()[lambda df: df["died"] != "unheard"], drop=["ward"]).tables["hospitals"]
    (axes,) = labels_figure(hospitals).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        name for name in hospitals.sort_values("prevalence").index if name != "Harbour"
    ]


def test_a_larger_minimum_hides_more():
    df = clean()
    assert check(df, minimum=60).tables["medians"].notna().all(axis=1).sum() == 5  # 120 rows and more
    assert check(df, minimum=90).tables["medians"].isna().all(axis=None)
    assert len(check(df, minimum=125).tables["hospitals"]) == 4
    assert "<200" in repr(check(df.assign(died=df["died"].where(df.index > 100)), minimum=200))


def test_patients_are_counted_and_not_their_visits():
    df = clean()
    df["patient"] = df["site"] + np.where(df["site"] == "West", "1", df.index.astype(str))
    checked = check(df, patient="patient")
    assert "West" not in checked.tables["hospitals"].index
    assert "West" not in re.sub(r"'West\d", "", checked.summary())


def test_rounding():
    np.testing.assert_array_equal(rounded([123.456, 0.0012345, 0, np.nan]), [123, 0.00123, 0, np.nan])
    assert count_text(4, 5) == "<5"
    assert count_text(1234, 5) == "1,234"
    assert count_text(0, 5) == "0"
    assert total_text([3, 50], 5) == "more than 50"
    assert total_text([0, 50], 5) == "50"


def test_what_is_left_of_the_whole_is_hidden_too():
    assert is_hidden([0, 1, 5, 16, 19, 20], 20, 5).tolist() == [False, True, False, True, True, False]
    np.testing.assert_array_equal(shares([2, 10, 20], [20, 20, 20], 5), [np.nan, 0.5, 1])


def test_a_single_hidden_share_takes_another_with_it():
    parts = np.array([[0.5, 0.3, np.nan, 0.15], [0.5, 0.5, 0, 0], [np.nan, np.nan, 0.9, 0]])
    expected = [[0.5, 0.3, np.nan, np.nan], [0.5, 0.5, 0, 0], [np.nan, np.nan, 0.9, 0]]
    np.testing.assert_array_equal(without_rest(parts), expected)
