"""Calibration: the flexible curve beside bins, pooled and by hospital (Van Calster et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.panels import legend_above, outer_ticks, panels_of, place
from jaxfed.pages.axes import COLOURS, grid
from jaxfed.pages.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def calibration_figure(
    table: pd.DataFrame, predicted: np.ndarray, positive: np.ndarray, event: str
) -> Figure:
    """Curve with its band and bins, and below them the histogram of predictions of both classes.

    Args:
        table: ``kind`` (``"curve"`` or ``"bins"``), ``predicted``, ``observed``, ``low`` and ``high``.
        predicted: ``[n]`` predicted risks.
        positive: ``[n]`` bool, who had the event.
        event: name of the positive class.
    """
    figure, ((axes,), (below,)) = grid(2, 1, width=6.0, height=3.2)
    place(axes).get_gridspec().set_height_ratios([3, 1])
    _curve(axes, table, _top(table), labels=True)
    axes.set_ylabel(f"observed share of “{event}”")
    top = axes.get_xlim()[1]
    edges = np.linspace(0, top, 41)
    for rows, sign, colour, label in (
        (positive, 1, COLOURS[1], event),
        (~positive, -1, COLOURS[0], f"not {event}"),
    ):
        share = np.histogram(predicted[rows], edges)[0] / max(rows.sum(), 1)
        below.bar(edges[:-1], sign * share, width=top / 40, align="edge", color=colour, label=label)
    below.axhline(0, color="#4d4d4d", lw=0.8)
    below.set(xlim=axes.get_xlim(), xlabel=f"predicted risk of “{event}”", ylabel="share of\neach class")
    below.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
    below.legend(frameon=False, fontsize=9, loc="lower right")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def calibration_by_hospital_figure(table: pd.DataFrame, event: str) -> Figure:
    """A panel for each hospital of ``table``, which has a column ``hospital``; the pooled curve beside it."""
    parts = {str(name): part for name, part in table.groupby("hospital", sort=False)}
    pooled = parts.pop("(pooled)", None)
    figure, panels = panels_of([*parts], 2.8, 2.7)
    for i, (axes, part) in enumerate(zip(panels, parts.values(), strict=True)):
        if pooled is not None:
            curve = pooled[pooled["kind"] == "curve"]
            axes.plot(
                curve["predicted"], curve["observed"], color=COLOURS[1], lw=1, ls="--", label="all patients"
            )
        _curve(axes, part, _top(table), labels=i == 0)
    figure.supxlabel(f"predicted risk of “{event}”", fontsize=10)
    figure.supylabel(f"observed share of “{event}”", fontsize=10)
    outer_ticks(panels)
    legend_above(figure, panels[0])
    return figure


def calibration_alt(table: pd.DataFrame, event: str) -> str:
    """What the pooled figure shows, in words."""
    bins = table[table["kind"] == "bins"]
    points = "; ".join(
        f"{number(p)} {number(o)}" for p, o in zip(bins["predicted"], bins["observed"], strict=True)
    )
    return f"Observed share of {event} against predicted risk; bins, predicted and observed: {points}."


def _top(table: pd.DataFrame) -> float:
    """Where the axes end: 1, or less if no risk is that high."""
    return min(1.0, float(np.ceil(10 * table[["predicted", "observed"]].max().max() + 0.5) / 10))


def _curve(axes: Axes, table: pd.DataFrame, top: float, *, labels: bool) -> None:
    axes.plot([0, 1], [0, 1], color="#808080", lw=0.9, ls=(0, (5, 4)), label="perfect" if labels else None)
    curve, bins = (table[table["kind"] == kind] for kind in ("curve", "bins"))
    axes.fill_between(curve["predicted"], curve["low"], curve["high"], color=COLOURS[0], alpha=0.18, lw=0)
    axes.plot(
        curve["predicted"], curve["observed"], color=COLOURS[0], lw=2,
        label="flexible curve with band" if labels else None,
    )  # fmt: skip
    away = np.abs([bins["observed"] - bins["low"], bins["high"] - bins["observed"]])
    axes.errorbar(
        bins["predicted"], bins["observed"], yerr=away, fmt="o", ms=4, color="#1b2733", elinewidth=0.8,
        label="bins of equal size" if labels else None,
    )  # fmt: skip
    axes.set(xlim=(-0.02 * top, 1.02 * top), ylim=(-0.02 * top, 1.02 * top))
