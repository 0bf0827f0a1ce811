"""Folders of results: looked at before training, because after it is too late."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from jaxfed.core.errors import InvalidInput

MARK = "command.json"
RESULTS = ("summary.csv", "ranking.csv", "algorithms.json", "aggregators.json", "run.json")
FLAGS = ("--out", "--checkpoint", "--resume", "--folder")


def check_names(arguments: Sequence[str]) -> None:
    """Raise where a folder's name is empty, which would be the present folder.

    Raises:
        InvalidInput: as in ``--out ''``.
    """
    for flag, value in zip(arguments, [*arguments[1:], None], strict=True):
        name, equals, after = flag.partition("=")
        if name in FLAGS and (after if equals else value) in ("", None):
            raise InvalidInput(f"{name}: the name is empty; give the name of a folder, or . for this one")


def check_writable(flag: str, folder: Path | None) -> None:
    """Make a folder, and write into it.

    Raises:
        InvalidInput: it is a file, or cannot be written.
    """
    if folder is None:
        return
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise InvalidInput(f"{flag} {folder}: {part} is a file; give the name of a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"jaxfed")
    except OSError as error:
        raise InvalidInput(f"{flag} {folder}: {error.strerror}; give a folder that can be written") from None


def claim(folder: Path, options: Mapping[str, Any], overwrite: bool) -> None:
    """Write into a folder whose results it will hold.

    Raises:
        InvalidInput: it cannot be written, or without ``overwrite``: it holds results of another command.
    """
    check_writable("--out", folder)
    mark = folder / MARK
    here = {name: str(value) for name, value in options.items()}
    if any((folder / name).exists() for name in RESULTS) and not overwrite:
        try:
            there = json.loads(mark.read_text())
        except (OSError, ValueError):
            there = {}
        differ = [
            f"{name} {there[name]} there, {here[name]} here"
            for name in here
            if name in there and there[name] != here[name]
        ]
        if differ or not there:
            number = next(n for n in count(2) if not Path(f"{folder}-{n}").exists())
            what = (
                f"({'; '.join(differ[:3])}{' ...' if len(differ) > 3 else ''})"
                if there
                else "(of what, it does not say)"
            )
            raise InvalidInput(
                f"--out {folder} holds other results {what}; add --overwrite, or give --out {folder}-{number}"
            )
    mark.write_text(json.dumps(here, indent=1) + "\n")


def described(options: Any, without: Collection[str]) -> dict[str, Any]:
    """What makes the results of a command: its options, but those that only say where they go."""
    names = [field.name for field in dataclasses.fields(options) if field.name not in without]
    return {"command": type(options).__name__, **{name: getattr(options, name) for name in names}}
