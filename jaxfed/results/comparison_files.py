"""The files of a comparison: a folder with its tables, every value, the figure and the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxfed.results.arms import LOCAL
from jaxfed.storage.results import results_folder

Comparison = Any  # jaxfed.results.comparison.Comparison, whose module imports this one


def save_comparison(c: Comparison, path: str | Path) -> Path:
    """See :meth:`jaxfed.results.comparison.Comparison.save`."""
    from jaxfed.figures.runs import save_figure

    folder = results_folder(path, "differences.csv")
    c.table.to_csv(folder / "table.csv")
    c.hospitals.to_csv(folder / "hospitals.csv")
    if LOCAL in c.arms:
        c.differences().to_csv(folder / "differences.csv")
    c.to_frame().to_csv(folder / "values.csv", index=False)
    said = {"settings": c.settings, "notes": c.notes, "config": c.config}
    text = json.dumps({**said, "provenance": c.provenance}, indent=2, default=str)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    save_figure(c.plot(), folder / "comparison.png")
    return folder
