"""How patients survived: by the risk that the model predicts, and in every hospital."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.evaluation.life_table import LifeTable, count_life_table
from jaxfed.figures.survival import survival_figure
from jaxfed.pages.section import Section
from jaxfed.pages.text import count, number, together
from jaxfed.results.performance import Performance
from jaxfed.results.report.material import Report

THIRDS = ("lowest risk", "middle risk", "highest risk")
LEAST = 5  # patients at risk that a hospital needs to have a curve
CURVES = 8  # hospitals in a figure
INTERVALS = 100  # of time


def add_survival(page: Report, p: Performance) -> None:
    """Kaplan-Meier curves of thirds of the predicted risk, and of hospitals; nothing for other tasks."""
    known = p.predictions
    if known.meaning.link not in ("risk", "hazard"):
        return
    part = page.section("Survival")
    part.text(
        "Kaplan-Meier curves from counts in intervals of time, with the patients at risk below. The "
        "log-rank test asks whether the hazards of the groups differ."
    )
    time, event = known.y.T
    risk = known.meaning.columns(known.outputs)["risk"]
    there = np.isfinite(risk)
    if there.any():
        third = np.searchsorted(np.quantile(risk[there], [1 / 3, 2 / 3]), risk[there])
        table = count_life_table(time[there], event[there], np.array(THIRDS)[third], intervals=INTERVALS)
        _draw(
            page, part, "survival_by_risk", table, THIRDS,
            f"The {p.split} rows of all hospitals by thirds of the predicted risk: the further apart the "
            "curves, the better the model tells patients apart.",
        )  # fmt: skip
    names = np.array(known.hospitals)[known.owner]
    table = count_life_table(time, event, names, intervals=INTERVALS, min_rows=LEAST)
    largest = pd.Series(table.at_risk[:, 0], table.groups).sort_values(ascending=False, kind="stable")
    shown = [str(name) for name in largest.index[:CURVES] if largest[name] >= LEAST]
    if shown:
        _draw(
            page, part, "survival_by_hospital", table, shown,
            f"The {p.split} rows of {together(shown, CURVES)}, as long as {LEAST} patients are at risk.",
        )  # fmt: skip
    if len(shown) < len(largest):
        part.text(
            f"Not shown: {count(len(largest) - len(shown), 'hospital')}. A figure has {CURVES} hospitals at "
            f"most, the largest, and none with fewer than {LEAST} patients."
        )


def _draw(
    page: Report, part: Section, name: str, table: LifeTable, groups: Sequence[str], about: str
) -> None:
    """The curves of some groups in this order, with the test of all of the table's."""
    curves = {group: table.curve(group) for group in groups if group in table.groups}
    try:
        p = table.logrank().p
        test = f" Log-rank test of all groups: p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}."
    except InvalidInput:  # one group, or no event
        test = ""
    ends = [f"{group} {number(curve['kaplan_meier'].dropna().iloc[-1])}" for group, curve in curves.items()]
    alt = f"Kaplan-Meier curves. The share without the event at the end of each: {together(ends, CURVES)}."
    page.draw(part, name, survival_figure(curves), alt, about + test)
