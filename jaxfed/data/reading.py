"""A table from a file as hospitals export it: separators, encodings, spreadsheets; ids stay text."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jaxfed.core.errors import InvalidInput, listed
from jaxfed.core.optional import needs

TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
SHEETS = (".xlsx", ".xlsm", ".xls")
PARQUET = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
# What means "missing" in a column of numbers; in a column of ids nothing does but an empty field.
MISSING = (
    "",
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "NULL",
    "null",
    "None",
    "<NA>",
    "#N/A",
    "#NA",
    "-nan",
    "-NaN",
)
UNLABELLED = ("", "NA", "N/A", "NaN", "nan", "NULL", "<NA>", "#N/A")


def read_table(
    path: str | Path,
    *,
    ids: Sequence[str] = ("site",),
    label: str | None = "died",
    sep: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
) -> pd.DataFrame:
    """A table for :func:`~jaxfed.data.frame.from_frame`.

    Args:
        path: a ``.csv``, ``.tsv`` or ``.txt`` file (also ``.gz``), ``.xlsx``, or ``.parquet``; in any case.
        ids: columns of ids (hospitals, patients): text as written, so that ``007`` is not ``7`` and a
            hospital may be called ``NA``. Names that are no columns are passed over.
        label: in this column ``None`` and ``null`` are text, not missing.
        sep: between columns; None for that of comma, semicolon, tab and ``|`` that the first line has most.
        decimal: the decimal mark, ``"."`` or ``","``.
        encoding: of the text; None for UTF-8, or UTF-16 where the file begins with its mark.

    Raises:
        InvalidInput: no such file, or one that cannot be read so, with what to pass.
        ImportError: a spreadsheet or a parquet file whose reader is not installed, with what to install.
    """
    file = Path(path)
    ending = "".join(file.suffixes[-2:]).lower() if file.suffix.lower() == ".gz" else file.suffix.lower()
    if file.is_dir():
        raise InvalidInput(f"{file} is a folder; give a file in it")
    if ending not in (*TEXT, *SHEETS, *PARQUET):
        raise InvalidInput(f"{file}: give a table, one of {', '.join((*TEXT, *SHEETS, *PARQUET))}")
    if not file.exists():
        raise InvalidInput(f"{file}: there is no such file")
    if not file.stat().st_size:
        raise InvalidInput(f"{file} is empty; give a table with a line of column names")
    if decimal not in (".", ","):
        raise InvalidInput(f"decimal={decimal!r}: give '.' or ','")
    try:
        if ending in PARQUET:
            frame = _parquet(file)
        elif ending in SHEETS:
            frame = _sheet(file, ids, label)
        else:
            frame = _text(file, ending, ids, label, sep, decimal, encoding)
    except (InvalidInput, ImportError):
        raise
    except PermissionError:
        raise InvalidInput(f"{file} cannot be read; ask for the permission to read it") from None
    except Exception as error:  # whatever a reader makes of a file that is not what its name says
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidInput(
            f"{file} cannot be read as {ending} ({reason[0][:200]}); save it again, or give it its right "
            "ending"
        ) from error
    if not len(frame):
        raise InvalidInput(f"{file} has {len(frame.columns)} columns and no rows; give one row per patient")
    return frame


def _text(
    file: Path,
    ending: str,
    ids: Sequence[str],
    label: str | None,
    sep: str | None,
    decimal: str,
    encoding: str | None,
) -> pd.DataFrame:
    opened = gzip.open if ending.endswith(".gz") else open
    with opened(file, "rb") as stream:
        start: Any = stream.read(4)
    known = encoding or next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")
    try:
        with opened(file, "rt", encoding=known, newline="") as lines:
            first = lines.readline()
    except LookupError:
        raise InvalidInput(
            f"encoding={encoding!r}: give a name such as 'utf-8', 'latin-1' or 'utf-16'"
        ) from None
    except UnicodeError:
        raise _undecodable(file, known, encoding) from None
    sep = sep.replace("\\t", "\t") if sep else _separator(first, ending)
    if len(sep) != 1:
        raise InvalidInput(f"sep={sep!r}: give one character, such as ';'")
    if decimal == sep:
        raise InvalidInput(f"{file}: sep and decimal are both {sep!r}; pass sep=';', or another decimal")
    try:
        with opened(file, "rt", encoding=known, newline="") as lines:
            names = _check_lines(lines, file, sep)
    except UnicodeError:
        raise _undecodable(file, known, encoding) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"{file}: columns given twice: {listed(twice)}; rename them in the first line")
    how: dict[str, Any] = {"sep": sep, "decimal": decimal, "encoding": known}
    return pd.read_csv(file, low_memory=False, index_col=False, **how, **_codes(names, ids, label))


def _codes(names: Sequence[Any], ids: Sequence[str], label: str | None) -> dict[str, Any]:
    """What is missing in each column, and which columns are text as written."""
    codes = {name: [""] if name in ids else list(UNLABELLED if name == label else MISSING) for name in names}
    types = {name: str for name in names if name in ids}
    return {"na_values": codes, "keep_default_na": False, "dtype": types}


def _check_lines(lines: Any, file: Path, sep: str) -> list[str]:
    """The names of the columns, where every line has as many fields: readers fill short ones in silently."""
    rows = csv.reader(lines, delimiter=sep)
    names = next(rows, [])
    for row in rows:
        if row and len(row) != len(names):
            raise InvalidInput(
                f"{file}: line {rows.line_num} has {len(row)} fields and the first line {len(names)}, "
                f"separated by {sep!r}; put quotes around text that has it, complete the line, or pass sep="
            )
    return names


def _undecodable(file: Path, known: str, given: str | None) -> InvalidInput:
    other = "utf-8" if given else "latin-1"
    return InvalidInput(
        f"{file} is not {known.upper()} text; pass encoding='{other}' (or 'utf-16', 'cp1252')"
    )


def _separator(first: str, ending: str) -> str:
    if ending.startswith(".tsv"):
        return "\t"
    outside = "".join(first.split('"')[::2])
    return max(SEPARATORS, key=outside.count)


def _sheet(file: Path, ids: Sequence[str], label: str | None) -> pd.DataFrame:
    reader = "xlrd" if file.suffix.lower() == ".xls" else "openpyxl"
    needs(reader, "tables", f"{file.name}: a spreadsheet")
    return pd.read_excel(file, **_codes(list(pd.read_excel(file, nrows=0).columns), ids, label))


def _parquet(file: Path) -> pd.DataFrame:
    if importlib.util.find_spec("fastparquet") is None:
        needs("pyarrow", "tables", f"{file.name}: a parquet file")
    return pd.read_parquet(file)
