"""Who is in the data: rows and labels of every hospital, and how much hospitals differ."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS
from jaxfed.data.heterogeneity import gini, label_shift
from jaxfed.figures.federation import federation_alt, federation_figure
from jaxfed.pages.text import count, number
from jaxfed.results.report.material import Material, Report


def add_hospitals(page: Report, material: Material) -> None:
    """The section on the data."""
    history = material.history
    part = page.section("Hospitals and rows")
    rows = pd.DataFrame(history.rows, columns=[*SPLITS], index=pd.Index(history.hospitals, name="hospital"))
    total = rows.sum(axis=1)
    part.text(
        f"{count(int(total.sum()), 'row')} of {count(len(rows), 'hospital')}: {rows['train'].sum():,} to "
        f"train, {rows['validation'].sum():,} to choose the round, {rows['test'].sum():,} to test. A row is "
        "a patient, unless patients have several."
    )
    shift = _shift(material)
    labels = pd.DataFrame(index=rows.index)
    if shift is not None:
        wanted = [
            name for name in map(str, shift.columns) if name == "prevalence" or name.startswith("label ")
        ]
        labels = shift[wanted].rename(columns=lambda name: _class(material, name))
        part.text(
            f"The hospitals' shares of the classes are on average {number(shift.attrs['mean_emd'])} away "
            "from those of all rows (earth mover's distance weighted by rows: 0 is the same everywhere, 1 "
            "nothing in common; of the rows that were evaluated)."
        )
    part.text(
        f"Inequality of sizes: Gini coefficient {number(gini(total.to_numpy()))} (0: all of the same size, "
        "near 1: one hospital has nearly all rows)."
    )
    page.draw(
        part, "hospitals", federation_figure(total, labels), federation_alt(total, labels),
        "Rows of each hospital" + (", and the classes in it." if labels.shape[1] else "."),
    )  # fmt: skip
    if material.performance is not None and "events" in material.performance.hospitals:
        outcome = material.performance.hospitals
        rows["with the outcome"] = outcome["events"].reindex(rows.index)
        rows["prevalence"] = outcome["prevalence"].reindex(rows.index)
    if shift is not None:
        rows["label shift"] = shift["emd"]
    split = material.split
    names = {"with the outcome": f"{split}: with the outcome", "prevalence": f"{split}: prevalence"}
    rows = rows.rename(columns=names)
    formats = {names["prevalence"]: ".2f", "label shift": ".2f"}
    if material.many:
        part.table(
            _spread(rows),
            f"Hospitals by their size and labels; all {len(rows):,} are listed at the end",
            formats=formats,
        )
    else:
        part.table(rows, "Rows of every hospital", formats=formats)


def _shift(material: Material) -> pd.DataFrame | None:
    """Label shift over the evaluated rows, if labels are classes and are known."""
    p = None if material.performance is None else material.performance.predictions
    if p is None or not p.classes or p.y.ndim > 1 or not np.issubdtype(p.y.dtype, np.integer):
        return None
    C, K = len(p.hospitals), len(p.classes)
    counts = np.bincount(p.owner * K + p.y.astype(np.int64), minlength=C * K).reshape(C, K)
    return label_shift(counts, p.hospitals, p.classes, material.two_classes)


def _class(material: Material, column: str) -> str:
    p = material.performance
    return p.positive if p is not None and column == "prevalence" else column.removeprefix("label ")


def _spread(table: pd.DataFrame) -> pd.DataFrame:
    """Smallest, quartiles and largest of each column."""
    levels = {"smallest": 0.0, "lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75, "largest": 1.0}
    spread = table.quantile([*levels.values()])
    spread.index = pd.Index([*levels], name="")
    whole = [name for name in table if pd.api.types.is_integer_dtype(table[name].dtype)]
    return spread.round(dict.fromkeys(whole, 0)).astype(dict.fromkeys(whole, int))
