"""Files of a data set that a user has fetched, in a folder that the user names."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from jaxfed.core.errors import InvalidInput, did_you_mean, listed
from jaxfed.data.download import VARIABLE


def folder_of(folder: str | os.PathLike[str] | None, name: str, source: str) -> Path:
    """The folder of a data set: the named one, or ``name`` in that of the environment variable JAXFED_DATA.

    Raises:
        InvalidInput: there is none; says with ``source`` where the files come from.
    """
    base = os.environ.get(VARIABLE)
    if folder is None and base is None:
        raise InvalidInput(
            f"{name}: give folder=..., or a folder {name!r} in that of the environment variable {VARIABLE}; "
            f"{source}"
        )
    place = Path(folder) if folder is not None else Path(str(base)) / name
    if not place.is_dir():
        what = "is a file" if place.exists() else "is not there"
        raise InvalidInput(f"{name}: the folder {str(place)!r} {what}; {source}")
    return place


def read_csv(
    folder: Path, file: str, columns: list[str], name: str, source: str, **how: object
) -> pd.DataFrame:
    """Some columns of ``file.csv`` or ``file.csv.gz``, whatever the case of its name and of theirs.

    Raises:
        InvalidInput: no such file, or no such columns in it.
    """
    here = {path.name.lower(): path for path in folder.iterdir() if path.is_file()}
    path = next((here[end] for end in (f"{file}.csv".lower(), f"{file}.csv.gz".lower()) if end in here), None)
    if path is None:
        raise InvalidInput(f"{name}: no {file}.csv or {file}.csv.gz in {str(folder)!r}; {source}")
    header = [str(column) for column in pd.read_csv(path, nrows=0).columns]
    written = {column.lower(): column for column in header}
    absent = [column for column in columns if column.lower() not in written]
    if absent:
        hint = did_you_mean(absent[0], header)
        raise InvalidInput(f"{name}: {path.name} has no column {listed(absent)}; {hint}; {source}")
    wanted = [written[column.lower()] for column in columns]
    table = pd.read_csv(path, usecols=wanted, low_memory=False, **how)  # type: ignore[call-overload]
    return pd.DataFrame(table[wanted].set_axis(columns, axis=1))
