"""Hospitals from a table: options of the command line that say how to read it and what is what."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

import jaxfed
from jaxfed.cli.preparation import PreparationOptions, prepared, wanted
from jaxfed.core.dataset import SPLITS
from jaxfed.core.errors import InvalidInput

NAMES = ("synthetic", "heart", "tcga-brca", "breast-cancer", "digits")


@dataclasses.dataclass(frozen=True)
class ColumnOptions:
    """How a table is read, and what its columns are."""

    hospital: str = "site"
    """Column of a table that names the hospital."""
    label: str = "died"
    """Column of a table to predict."""
    time: str | None = None
    """Column of a table with the time until the event, or until the patient was last seen; with --event."""
    event: str | None = None
    """Column of a table that says which: 1 for an event. Other values: --classes, the event last."""
    row_weights: str | None = None
    """Column of a table with weights of rows in the training loss."""
    patient: str | None = None
    """Column of a table that names the patient; all rows of a patient are in one part of the split."""
    features: tuple[str, ...] = ()
    """Columns of a table to learn from; all others where not given."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out."""
    task: Literal["binary", "multiclass", "regression", "survival", "survival-efron"] | None = None
    """What the label is; guessed where not given, but for regression."""
    classes: tuple[str, ...] = ()
    """Labels of a table in the order of the classes; of two the last is the positive one."""
    missing: tuple[str, ...] = ()
    """What means missing in a table, as ? or -9, beside empty fields and NA."""
    sep: str | None = None
    """What separates columns of a text file, as ';'; seen from its first line where not given."""
    decimal: str = "."
    """Decimal mark of a text file: . or ,"""
    encoding: str | None = None
    """Encoding of a text file, as latin-1; UTF-8 where not given."""


@dataclasses.dataclass(frozen=True)
class TableOptions(ColumnOptions, PreparationOptions):
    """Where the hospitals come from, and how a table of them is read."""

    data: str = "synthetic"
    """synthetic, heart, tcga-brca, breast-cancer, digits, or a table (.csv, .tsv, .csv.gz, .xlsx or
    .parquet)."""
    impute: Literal["mean", "median", "most_frequent", "zero", "flag", "none"] = "mean"
    """What is put in place of missing values of a table; none refuses them."""
    standardize: Literal["federated", "local", "none"] = "federated"
    """Features of a table to mean 0 and deviation 1: over all hospitals, or each hospital by itself."""
    split: tuple[str, ...] = ("0.7", "0.1", "0.2")
    """Shares of training, validation and test rows of a table, or the column that says which is which."""
    seed: int = 0
    """Of the data, the initial model, cohorts and batches."""


def check_table(options: TableOptions) -> None:
    """Raise where options of a table are given and there is none.

    Raises:
        InvalidInput: as with ``--data heart --drop age``.
    """
    if options.data not in NAMES:
        return
    given = [
        "--" + field.name
        for field in dataclasses.fields(TableOptions)
        if field.name not in ("data", "seed") and getattr(options, field.name) != field.default
    ]
    if given:
        what = ", ".join(given)
        raise InvalidInput(f"{what}: that is for tables, and --data is {options.data}; leave it out")


def read(options: TableOptions) -> jaxfed.Dataset:
    """The hospitals of a table.

    Raises:
        InvalidInput: whatever is wrong with the file or with what it holds.
    """
    path = Path(options.data)
    if not path.suffix and not path.exists():
        tables = "a table (.csv, .xlsx, .parquet)"
        raise InvalidInput(f"--data {options.data}: give {', '.join(NAMES)}, or {tables}")
    common: dict[str, Any] = {
        "hospital": options.hospital,
        "label": options.label,
        "time": options.time,
        "event": options.event,
        "patient": options.patient,
        "row_weights": options.row_weights,
        "features": options.features or None,
        "drop": options.drop,
        "task": options.task,
        "classes": options.classes or None,
        "missing": options.missing,
        "split": _split(options.split),
        "seed": options.seed,
        "name": path.stem,
    }
    frame = read_file(path, options, options.label if options.time is None else None)
    if wanted(options):
        hospitals = prepared(options, frame, options.impute, options.standardize, **common)
        print(jaxfed.data.preparation_report(hospitals))
        return hospitals
    impute = None if options.impute == "none" else options.impute
    hospitals = jaxfed.data.from_frame(frame, impute=impute, **common)
    return jaxfed.data.standardize(hospitals, options.standardize, robust=options.scale == "robust")


def read_file(path: Path, options: ColumnOptions, label: str | None) -> pd.DataFrame:
    """The table of a file with this label column, if it has one.

    Raises:
        InvalidInput: it cannot be read so.
    """
    return jaxfed.data.read_table(
        path,
        ids=[name for name in (options.hospital, options.patient) if name],
        label=label,
        sep=options.sep,
        decimal=options.decimal,
        encoding=options.encoding,
    )


def _split(given: tuple[str, ...]) -> Any:
    """Fractions, or the name of a column."""
    if len(given) == 1:
        return given[0]
    try:
        return tuple(float(share) for share in given)
    except ValueError:
        raise InvalidInput(
            f"--split {' '.join(given)}: give three fractions, or the name of a column"
        ) from None


def check_evaluation(hospitals: jaxfed.Dataset) -> None:
    """Raise where a report would be blank: nothing to test on, or an AUROC that no hospital has.

    Raises:
        InvalidInput: with another split to give.
    """
    test = SPLITS.index("test")
    rows = hospitals.counts[:, test]
    largest = f"the largest hospital has {hospitals.size.max()} rows"
    if not rows.any():
        raise InvalidInput(f"no hospital has test rows ({largest}); give more of them, --split 0.5 0.1 0.4")
    if not hospitals.task.two_classes and not hospitals.task.survival:
        return
    inside = hospitals.split == test
    events = hospitals.task.strata(hospitals.y)[inside]
    positive = np.bincount(hospitals.owner[inside], events, minlength=len(hospitals))
    if hospitals.task.survival:
        if not positive.any():
            raise InvalidInput(
                f"no hospital has an event in its test rows ({largest}), so that no C-index is defined; give "
                "more test rows, --split 0.5 0 0.5, or larger hospitals"
            )
        return
    if not ((positive > 0) & (positive < rows)).any():
        raise InvalidInput(
            f"no hospital has test rows of both classes ({largest}), so that no AUROC is defined; give more "
            "test rows, --split 0.5 0 0.5, or larger hospitals"
        )
