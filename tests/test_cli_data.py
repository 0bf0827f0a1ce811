"""``jaxfed data check``."""

import shlex
import sys

import numpy as np
import pandas as pd
import pytest

from jaxfed import cli


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"site": np.resize(["a", "b", "007"], 300), "age": rng.normal(60, 9, 300).round(1)})
    df["height"] = rng.normal(170, 9, 300).round(1)
    df.loc[::10, "age"] = -9
    df["id"] = np.arange(300)
    df["died"] = rng.integers(1, 3, 300)
    df.to_csv(tmp_path / "patients.csv", index=False, sep=";", decimal=",")
    return tmp_path / "patients.csv"


def command(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["jaxfed", "data", "check", *map(str, words)])
    cli.main()


def test_what_is_printed_can_be_typed(monkeypatch, file, capsys):
    reading = ["--decimal", ","]
    command(monkeypatch, [file, *reading, "--out", file.with_suffix(".html")])
    printed = capsys.readouterr().out
    assert "300 rows in 3 hospitals" in printed
    assert "<script" not in file.with_suffix(".html").read_text()
    whole = printed.split("All of it: jaxfed run --data ")[1].splitlines()[0]
    words = shlex.split(whole)
    assert words[0] == str(file)
    command(monkeypatch, [*words, *reading, "--python"])
    printed = capsys.readouterr().out
    assert "1 note:" in printed or "2 notes:" in printed
    assert "problem," not in printed
    assert "hospitals = jaxfed.data.standardize(hospitals)" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "dead"], "no label column 'dead'; did you mean 'died'"),
        (["--out", "page.txt"], "--out page.txt: give the name of a page"),
        (["--minimum", "0"], "--minimum 0: give a whole number"),
        (["--sep", ",,"], "give one character"),
    ],
)
def test_wrong_options_are_one_line(monkeypatch, file, words, said):
    with pytest.raises(SystemExit, match=said):
        command(monkeypatch, [file, *words])
