"""``jaxfed data check``: look at a table before anything is trained on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

import jaxfed
from jaxfed.cli.tables import ColumnOptions, read_file
from jaxfed.core.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class CheckOptions(ColumnOptions):
    """Look at a table before training on it: what is wrong, how hospitals differ, what to type.

    Nothing that is known of fewer than --minimum patients is printed, or in the page.
    """

    file: tyro.conf.Positional[Path] = dataclasses.field(kw_only=True)
    """The table (.csv, .tsv, .csv.gz, .xlsx or .parquet), one row per patient or visit."""
    minimum: int = 5
    """Patients; nothing known of fewer is shown."""
    out: Path | None = None
    """Also write a page, as check.html."""
    python: bool = False
    """Print what to type in Python instead of options of this command."""


def check_command(options: tyro.conf.OmitArgPrefixes[CheckOptions]) -> None:
    """Look at a table before training on it: what is wrong, how hospitals differ, what to type."""
    if options.out is not None and options.out.suffix.lower() not in (".html", ".htm"):
        raise InvalidInput(f"--out {options.out}: give the name of a page, such as check.html")
    checked = jaxfed.data.check(
        read_file(options.file, options, options.event or options.label),
        hospital=options.hospital,
        label=options.label,
        time=options.time,
        event=options.event,
        patient=options.patient,
        row_weights=options.row_weights,
        features=options.features or None,
        drop=options.drop,
        missing=options.missing,
        task=options.task,
        classes=options.classes or None,
        minimum=options.minimum,
        name=options.file.name,
    )
    print(checked.summary("python" if options.python else "command"))
    if checked.findings:
        print(f"\nAll of it: jaxfed run --data {options.file} {checked.command}")
    if options.out is not None:
        print(f"Written to {checked.save(options.out)}")
