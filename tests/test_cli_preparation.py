"""Tables with text and dates on the command line: as jaxfed.data.prepare, with errors that can be typed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import jaxfed
from jaxfed.cli.messages import as_flags
from jaxfed.cli.preparation import wanted
from jaxfed.cli.tables import TableOptions, read
from jaxfed.core.errors import InvalidInput

OPTIONS = {field.name for field in dataclasses.fields(TableOptions)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng, n = np.random.default_rng(0), 120
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, n), "D")
    frame = pd.DataFrame(
        {
            "site": rng.choice(["north", "south"], n),
            "sex": rng.choice(["female", "male"], n),
            "cp": rng.integers(1, 4, n),
            "asa": rng.choice(["I", "II"], n),
            "bmi": rng.normal(27, 5, n).round(1),
            "admitted": days.strftime("%Y-%m-%d"),
            "died": rng.integers(0, 2, n),
        }
    )
    frame.loc[::7, "bmi"] = np.nan
    path = tmp_path_factory.mktemp("tables") / "patients.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_options_are_the_arguments_of_prepare(file, capsys):
    options = TableOptions(
        data=str(file), categories=("cp",), ordinal=("asa=I,II",), dates=("admitted=first",), impute="median",
        winsorise=(0.05, 0.95), scale="robust", min_count=3, standardize="local", seed=4,
    )  # fmt: skip
    assert wanted(options)
    data = read(options)
    same = jaxfed.data.prepare(
        jaxfed.data.read_table(file), categories=["cp"], ordinal={"asa": ["I", "II"]},
        dates={"admitted": "first"}, winsorise=(0.05, 0.95), scale="robust", how="local", min_count=3, seed=4,
    )  # fmt: skip
    assert data.features == same.features
    np.testing.assert_array_equal(data.x, same.x)
    assert "winsorised of each hospital" in capsys.readouterr().out


def test_levels_can_be_given_and_numbers_left_as_they_are(file):
    data = read(TableOptions(data=str(file), categories=("cp=1,2",), drop=("admitted",), standardize="none"))
    assert {"cp=1", "cp=2", "cp=other", "asa=I", "bmi missing"} <= set(data.features)
    assert data.x[:, data.features.index("bmi")].mean() > 20
    plain = TableOptions(data=str(file), drop=("admitted", "sex", "asa"))
    assert not wanted(plain)
    assert read(plain).features == ("cp", "bmi")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "add --prepare, which one-hots them, or leave them out with --drop sex asa"),
        ({}, "add --prepare and --dates"),
        (
            {"prepare": True},
            "--dates admitted=first or another column, or leave them out with --drop admitted",
        ),
        ({"dates": ("admitted",)}, "--dates admitted: say what days are counted from, as admitted=first"),
        ({"ordinal": ("asa",)}, "--ordinal asa: give the levels from low to high, as asa=low,middle,high"),
        ({"prepare": True, "drop": ("admitted",), "impute": "none"}, "pass --impute median"),
    ],
)
def test_errors_can_be_typed(file, changes, words):
    with pytest.raises(InvalidInput) as caught:
        read(TableOptions(data=str(file), **changes))
    assert words in as_flags(str(caught.value), OPTIONS)
