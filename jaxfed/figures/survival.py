"""Curves of survival of several groups, with intervals and the numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.axes import COLOURS, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))
TICKS = 6  # times at which the numbers at risk are shown
BANDS = 3  # bands of more groups hide each other


def survival_figure(curves: Mapping[str, pd.DataFrame], unit: str = "", title: str = "") -> Figure:
    """The Kaplan-Meier curve of each group as a step, and its patients at risk in a table below.

    Args:
        curves: ``{name: table}``, as :meth:`jaxfed.evaluation.LifeTable.curve` gives: by time, with columns
            ``survival``, ``at_risk`` and, for bands of 95 %, ``low`` and ``high``. Bands are drawn for up to
            three groups.
        unit: of time, such as ``"days"``.
        title: of the figure.
    """
    figure, ((axes,),) = grid(1, 1, 7.5, 4.0, margin=0.22 * (len(curves) + 1))
    last = max(float(curve.index[-1]) for curve in curves.values())
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        style = STYLES[number // len(COLOURS) % len(STYLES)]
        known = curve[curve["survival"].notna()]
        axes.step(known.index, known["survival"], where="post", color=colour, ls=style, lw=1.8, label=name)
        if len(curves) <= BANDS and {"low", "high"} <= {*curve}:
            axes.fill_between(
                known.index, known["low"], known["high"], step="post", color=colour, alpha=0.15, lw=0
            )
    axes.set(xlim=(0, last), ylim=(0, 1.02), ylabel="without the event", title=title)
    axes.set_xlabel(f"time ({unit})" if unit else "time")
    axes.legend(frameon=False, fontsize=9, loc="lower left", ncols=1 + (len(curves) > 6))
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= last]
    ticks = ticks[:: -(-len(ticks) // TICKS)]
    line = 0.22 / 4.0
    axes.annotate(
        "at risk",
        (-0.01, -0.17),
        xycoords="axes fraction",
        ha="right",
        va="center",
        fontsize=8,
        style="italic",
    )
    for row, (name, curve) in enumerate(curves.items()):
        height = -0.17 - (row + 1) * line
        colour = COLOURS[row % len(COLOURS)]
        axes.annotate(
            name, (-0.01, height), xycoords="axes fraction", ha="right", va="center", fontsize=8, color=colour
        )
        for tick in ticks:
            axes.annotate(
                f"{_at_risk(curve, tick):,}", (tick, height), xycoords=("data", "axes fraction"), ha="center",
                va="center", fontsize=8,
            )  # fmt: skip
    return figure


def _at_risk(curve: pd.DataFrame, time: float) -> int:
    """Patients at risk just after a time: at the beginning of the interval that follows it."""
    later = np.flatnonzero(curve.index.to_numpy() > time)
    return int(curve["at_risk"].iloc[later[0]]) if len(later) else 0
