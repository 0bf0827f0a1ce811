"""The figure of a detection: the voice of every hospital, and the ROC curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxfed.pages.axes import COLOURS, legend_below, subplots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FEW = 24  # hospitals whose names have room


def detection_figure(table: pd.DataFrame, roc: pd.DataFrame, auroc: float) -> Figure:
    """Two panels.

    Args:
        table: ``malicious``, ``voice`` and ``silenced`` by hospital.
        roc: ``false_alarms`` and ``detected``; without rows the panel says that there is no curve.
        auroc: the area below it.
    """
    figure, (left, right) = subplots(2)
    table = table[table["rounds"] > 0].sort_values("voice", kind="stable")
    place = np.arange(len(table))
    silent = ~table["malicious"] & (table["silenced"] > 0.5)
    kinds = {
        "honest": (~table["malicious"] & ~silent, COLOURS[0]),
        "honest, silenced in most rounds": (silent, COLOURS[4]),
        "malicious": (table["malicious"], COLOURS[1]),
    }
    for label, (rows, colour) in kinds.items():
        if rows.any():
            left.bar(place[rows], table["voice"][rows], color=colour, label=label)
    left.axhline(1, color="#808080", lw=0.9, ls=(0, (5, 4)))
    if len(table) <= FEW:
        left.set_xticks(place, table.index, rotation=60, ha="right", fontsize=8)
    else:
        left.set_xlabel("hospitals, by their voice")
    left.set_ylabel("voice (1: an equal share)")
    left.set_title("What the rule makes of every hospital", fontsize=11)
    left.legend(frameon=False, fontsize=9)
    right.set(xlabel="honest hospitals called malicious", ylabel="malicious hospitals detected")
    right.set_title("Hospitals of the least voice called malicious", fontsize=11)
    if len(roc):
        right.plot([0, 1], [0, 1], color="#808080", lw=0.9, ls=(0, (5, 4)), label="chance")
        right.plot(
            roc["false_alarms"], roc["detected"], color=COLOURS[0], lw=2, marker="o", ms=4, clip_on=False,
            label=f"area {auroc:.2f}",
        )  # fmt: skip
        legend_below(right)
    else:
        right.text(0.5, 0.5, "no malicious hospital, no curve", ha="center", transform=right.transAxes)
    return figure
