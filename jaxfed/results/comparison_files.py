"""The files of a comparison: a folder with its tables, every value, the figure and the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxfed.results.arms import LOCAL
from jaxfed.storage.results import results_folder

Comparison = Any  # jaxfed.results.comparison.Comparison, whose module imports this one


def save_comparison(comparison: Comparison, path: str | Path) -> Path:
    """See :meth:`jaxfed.results.comparison.Comparison.save`."""
    from jaxfed.figures.runs import save_figure

    folder = results_folder(path, "differences.csv")
    comparison.table.to_csv(folder / "table.csv")
    comparison.hospitals.to_csv(folder / "hospitals.csv")
    if LOCAL in comparison.arms:
        comparison.differences().to_csv(folder / "differences.csv")
    comparison.to_frame().to_csv(folder / "values.csv", index=False)
    record = {"settings": comparison.settings, "notes": comparison.notes, "config": comparison.config}
    text = json.dumps({**record, "provenance": comparison.provenance}, indent=2, default=str)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    save_figure(comparison.plot(), folder / "comparison.png")
    return folder
