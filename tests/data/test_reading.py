"""Tables from files as hospitals export them."""

import gzip
import importlib.util

import pandas as pd
import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.data import from_frame, read_table

ROWS = [("007", 1.5, 0), ("7", 2.5, 1), ("NA", 3.5, 0), ("7", None, 1)]
FRAME = pd.DataFrame(ROWS, columns=["site", "crp", "died"])


def _lines(sep=",", decimal="."):
    rows = [("site", "crp", "died"), *ROWS]
    text = [[("" if v is None else str(v)).replace(".", decimal) for v in row] for row in rows]
    return "".join(sep.join(row) + "\n" for row in text)


def _same(frame):
    assert frame["site"].tolist() == ["007", "7", "NA", "7"]
    assert frame["crp"].tolist()[:3] == [1.5, 2.5, 3.5]
    assert pd.isna(frame["crp"][3])
    assert frame["died"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("a.csv", _lines(), {}),
        ("A.CSV", _lines(), {}),
        ("a.tsv", _lines("\t"), {}),
        ("a.txt", _lines("|"), {}),
        ("a.csv", _lines("\t"), {"sep": "\\t"}),
        ("a.csv", _lines(";"), {}),
        ("a.csv", _lines(";", ","), {"decimal": ","}),
        ("a.csv", _lines("^"), {"sep": "^"}),
        ("a.csv", _lines().encode("utf-8-sig"), {}),
        ("a.csv", _lines().encode("utf-16"), {}),
        ("a.csv", _lines().encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("a.csv.gz", gzip.compress(_lines().encode(), mtime=0), {}),
        ("A.TSV.GZ", gzip.compress(_lines("\t").encode(), mtime=0), {}),
        ("a.csv", _lines().replace("\n", "\r\n"), {}),
    ],
)
def test_tables_are_read(tmp_path, name, content, how):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    _same(read_table(file, **how))


@pytest.mark.parametrize("ending", [".xlsx", ".XLSX", ".parquet", ".pq"])
def test_spreadsheets_and_parquet(tmp_path, ending):
    pytest.importorskip("openpyxl" if "x" in ending.lower() else "pyarrow")
    file = tmp_path / f"a{ending}"
    if "x" in ending.lower():
        FRAME.to_excel(tmp_path / "b.xlsx", index=False)
        (tmp_path / "b.xlsx").rename(file)
    else:
        FRAME.to_parquet(file)
    _same(read_table(file))


@pytest.mark.parametrize("ending", [".xlsx", ".parquet"])
def test_a_reader_that_is_not_there_is_named(tmp_path, ending, monkeypatch):
    file = tmp_path / f"a{ending}"
    file.write_bytes(b"x")
    for module in ("openpyxl", "pyarrow"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fastparquet" else find(name)
    )
    with pytest.raises(ImportError, match=r"pip install 'jaxfed\[tables\]'"):
        read_table(file)


def test_latin_1(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes("site,crp,died\nMünchen,1,0\n".encode("latin-1"))
    assert read_table(file, encoding="latin-1")["site"][0] == "München"
    with pytest.raises(InvalidInput, match=r"a\.csv is not UTF-8 text; pass encoding='latin-1'"):
        read_table(file)


@pytest.mark.parametrize(
    ("name", "content", "how", "words"),
    [
        ("a.csv", "", {}, "is empty; give a table"),
        ("a.csv", "site,age,died\n", {}, "has 3 columns and no rows"),
        (
            "a.csv",
            "site,age,died\na,1,0\na,1,0,5\n",
            {},
            "line 3 has 4 fields and the first line 3, separated by ','",
        ),
        ("a.csv", "site,age,died\na,1,0\na,1\n", {}, "line 3 has 2 fields and the first line 3"),
        ("a.csv", "site,age,age\na,1,0\n", {}, "columns given twice: 'age'"),
        (
            "a.csv",
            "site,age\na,1\n",
            {"encoding": "utf8000"},
            "encoding='utf8000': give a name such as 'utf-8'",
        ),
        ("a.csv", "site,age\na,1\n", {"decimal": ","}, "sep and decimal are both ','; pass sep=';'"),
        ("a.csv", "site,age\na,1\n", {"decimal": "x"}, "decimal='x': give '.' or ','"),
        ("a.csv", "site,age\na,1\n", {"sep": ", "}, "sep=', ': give one character"),
        ("a.doc", "site", {}, "give a table, one of .csv, .tsv"),
        ("a.xlsx", "site,age\na,1\n", {}, "cannot be read as .xlsx"),
        ("a.csv.gz", "site,age\na,1\n", {}, "cannot be read as .csv.gz"),
        ("a.parquet", "site,age\na,1\n", {}, "cannot be read as .parquet"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, name, content, how, words):
    pytest.importorskip("openpyxl")
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(InvalidInput) as caught:
        read_table(file, **how)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_and_nothing(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InvalidInput, match="is a folder; give a file in it"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(InvalidInput, match="there is no such file"):
        read_table(tmp_path / "b.csv")


def test_decimal_commas_that_were_not_said_are_seen(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(_lines(";", ","))
    with pytest.raises(
        InvalidInput, match=r"columns 'crp' are not numbers \(decimal commas.*pass decimal=','"
    ):
        from_frame(read_table(file), impute="mean")
    file.write_text(_lines("^"))
    with pytest.raises(InvalidInput, match="it is the only column: read the file with the sep= that it has"):
        from_frame(read_table(file))


def test_classes_called_none_are_no_missing_labels(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(
        "site,age,injury\n"
        + "".join(f"{h},{i},{y}\n" for h in "ab" for i, y in enumerate(["None", "mild"] * 5))
    )
    frame = read_table(file, label="injury")
    assert from_frame(frame, label="injury", classes=["None", "mild"], drop=[]).y.tolist() == [0, 1] * 10


def test_a_long_table_whose_last_ids_are_text_loses_no_row(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(
        "site,age,died\n"
        + "".join(f"{'B7' if i >= 59_000 else i % 5},{i / 7},{i % 2}\n" for i in range(60_000))
    )
    data = from_frame(read_table(file), split=None)
    assert data.hospitals == ("0", "1", "2", "3", "4", "B7")
    assert data.size.sum() == 60_000
    mixed = pd.read_csv(file, dtype=object)
    mixed.loc[:50_000, "site"] = mixed.loc[:50_000, "site"].astype(int)
    with pytest.raises(InvalidInput, match=r"column 'site' holds '0', '1', .* as text in some rows"):
        from_frame(mixed.astype({"age": float, "died": int}), split=None)
