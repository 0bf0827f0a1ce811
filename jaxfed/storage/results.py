"""The folder of a result that is saved as several files."""

from __future__ import annotations

from pathlib import Path


def results_folder(path: str | Path, *some: str) -> Path:
    """The folder, which is made if need be, without the files ``some`` that not every result has.

    So a folder that is used again does not mix the files of two results.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    for name in some:
        (folder / name).unlink(missing_ok=True)
    return folder
