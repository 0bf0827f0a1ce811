"""Curves of survival of several groups, with intervals and the numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.pages.axes import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))
HEIGHT, LINE = 4.0, 0.2  # of the curves, and of a line of the table, in inches
BANDS = 3  # bands of more groups hide each other


def survival_figure(curves: Mapping[str, pd.DataFrame], unit: str = "", title: str = "") -> Figure:
    """The Kaplan-Meier curve of each group as a step, and its patients at risk in a table below.

    Args:
        curves: ``{name: table}``, as :meth:`jaxfed.evaluation.LifeTable.curve` gives: by time, with columns
            ``kaplan_meier``, ``at_risk`` and, for bands of 95 %, ``low`` and ``high``. Bands are drawn for up
            to three groups.
        unit: of time, such as ``"days"``.
        title: of the figure.
    """
    from jaxfed.pages.canvas import Canvas

    height = LINE * (len(curves) + 1)
    figure = Canvas(7.5, HEIGHT + height)
    axes, table = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [HEIGHT, height]})
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(curves))]
    last = 0.0
    for number, (name, curve) in enumerate(curves.items()):
        known = curve[curve["kaplan_meier"].notna()]
        last = max(last, float(known.index[-1]))
        axes.step(
            known.index, known["kaplan_meier"], where="post", color=colours[number], lw=1.8, label=name,
            ls=STYLES[number // len(COLOURS) % len(STYLES)],
        )  # fmt: skip
        if len(curves) <= BANDS and {"low", "high"} <= {*curve}:
            axes.fill_between(
                known.index, known["low"], known["high"], step="post", color=colours[number], alpha=0.15, lw=0
            )
    axes.set(xlim=(0, last), ylim=(0, 1.02), ylabel="without the event", title=title)
    axes.set_xlabel(f"time ({unit})" if unit else "time")
    axes.tick_params(labelbottom=True)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9, loc="lower left", ncols=1 + (len(curves) > 6))
    _numbers_at_risk(table, curves, colours, [tick for tick in axes.get_xticks() if 0 <= tick <= last])
    return figure


def _numbers_at_risk(
    axes: Axes, curves: Mapping[str, pd.DataFrame], colours: Sequence[str], ticks: Sequence[float]
) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=8, labelbottom=False)
    axes.set(ylim=(len(curves) - 0.5, -0.5))
    axes.set_title("patients at risk", fontsize=8, loc="left")
    axes.set_yticks(range(len(curves)), [*curves], fontsize=8)
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
    for row, curve in enumerate(curves.values()):
        for tick in ticks:
            side = "left" if tick == ticks[0] else "center"
            axes.text(tick, row, f"{_at_risk(curve, tick):,}", ha=side, va="center", fontsize=8)


def _at_risk(curve: pd.DataFrame, time: float) -> int:
    """Patients at risk just after a time: at the beginning of the interval that follows it."""
    later = np.flatnonzero(curve.index.to_numpy() > time)
    return int(curve["at_risk"].iloc[later[0]]) if len(later) else 0
