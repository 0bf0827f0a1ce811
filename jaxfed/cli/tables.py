"""Hospitals from a table: options of the command line that say how to read it and what is what."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import jaxfed
from jaxfed.core.dataset import SPLITS
from jaxfed.core.errors import InvalidInput

if TYPE_CHECKING:
    from jaxfed.cli.options import FederationOptions

NAMES = ("synthetic", "heart", "breast-cancer", "digits")
TABLE = (
    *("hospital", "label", "patient", "features", "drop", "task", "classes", "missing"),
    *("impute", "standardize", "split", "sep", "decimal", "encoding"),
)


def check_table(options: FederationOptions) -> None:
    """Raise where options of a table are given and there is none.

    Raises:
        InvalidInput: as with ``--data heart --drop age``.
    """
    if options.data not in NAMES:
        return
    given = [
        "--" + field.name
        for field in dataclasses.fields(options)
        if field.name in TABLE and getattr(options, field.name) != field.default
    ]
    if given:
        what = ", ".join(given)
        raise InvalidInput(f"{what}: that is for tables, and --data is {options.data}; leave it out")


def read(options: FederationOptions) -> jaxfed.Dataset:
    """The hospitals of a table.

    Raises:
        InvalidInput: whatever is wrong with the file or with what it holds.
    """
    path = Path(options.data)
    if not path.suffix and not path.exists():
        tables = "a table (.csv, .xlsx, .parquet)"
        raise InvalidInput(f"--data {options.data}: give {', '.join(NAMES)}, or {tables}")
    ids = [name for name in (options.hospital, options.patient) if name]
    frame = jaxfed.data.read_table(
        path,
        ids=ids,
        label=options.label,
        sep=options.sep,
        decimal=options.decimal,
        encoding=options.encoding,
    )
    hospitals = jaxfed.data.from_frame(
        frame,
        hospital=options.hospital,
        label=options.label,
        patient=options.patient,
        features=options.features or None,
        drop=options.drop,
        task=options.task,
        classes=options.classes or None,
        missing=options.missing,
        impute=None if options.impute == "none" else options.impute,
        split=_split(options.split),
        seed=options.seed,
        name=path.stem,
    )
    return jaxfed.data.standardize(hospitals, options.standardize)


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
    if hospitals.task != "binary":
        return
    inside = hospitals.split == test
    positive = np.bincount(hospitals.owner[inside], hospitals.y[inside], minlength=len(hospitals))
    if not ((positive > 0) & (positive < rows)).any():
        raise InvalidInput(
            f"no hospital has test rows of both classes ({largest}), so that no AUROC is defined; give more "
            "test rows, --split 0.5 0 0.5, or larger hospitals"
        )
