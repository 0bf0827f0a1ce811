"""Hospitals with their intervals: a forest plot of those with room for a name, a caterpillar plot of many.

Hospitals with too few patients of a class are drawn hollow and grey: they are in no summary. The diamond is
the random-effects mean over the others with its interval, the line through it the prediction interval for a
new hospital (Higgins et al. 2009, doi:10.1111/j.1467-985X.2008.00552.x).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.axes import NO_SKILL, draw_no_skill
from jaxfed.figures.panels import place
from jaxfed.pages.axes import COLOURS, grid, legend_below, subplots
from jaxfed.pages.text import count, interval, number, shortened, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOM = 30  # rows of a forest plot
GREY = "#6b6b6b"
HOLLOW = "not counted: too few patients of a class"


def forest_figure(
    hospitals: pd.DataFrame, metric: str, *, label: str = "", across: pd.Series | None = None
) -> Figure:
    """A row for each hospital: name, interval, rows, events; below them the mean and the prediction interval.

    Args:
        hospitals: a row for each hospital: ``rows``, ``events`` (if any), ``metric`` with ``_low`` and
            ``_high``, and ``counted``. Of more than 30, the extremes of those that count are drawn.
        metric: name of the column.
        label: of the metric.
        across: ``mean``, ``mean_low``, ``mean_high``, ``prediction_low`` and ``prediction_high``.
    """
    label = label or metric
    drawn, left_out = _drawn(hospitals, metric)
    events = "events" in drawn
    figure, ((axes, beside),) = grid(1, 2, width=4.4, height=1.1 + 0.26 * (len(drawn) + 2))
    place(axes).get_gridspec().set_width_ratios([5, 3])
    places = [float(level) for level in range(len(drawn) + 1, 1, -1)]
    _intervals(axes, drawn, metric, np.array(places))
    rows = {str(name): _columns(row, metric, events) for name, row in drawn.iterrows()}
    if across is not None and np.isfinite(across["mean"]):
        _diamond(axes, across, 0.7)
        mean = interval(across["mean"], across["mean_low"], across["mean_high"])
        rows["random-effects mean"] = ["", *([""] if events else []), mean]
        places.append(0.7)
    axes.set_yticks(places, [shortened(name, 26) for name in rows], fontsize=9, parse_math=False)
    heads = ["rows", *(["events"] if events else []), f"{label} (interval)"]
    for level, texts in [(len(drawn) + 2.0, heads), *zip(places, rows.values(), strict=True)]:
        _write(beside, level, texts, bold=texts is heads)
    beside.set_axis_off()
    for panel in (axes, beside):
        panel.set_ylim(0, len(drawn) + 2.5)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    between = f"; {count(left_out, 'hospital')} between the extremes not drawn" if left_out else ""
    axes.set_xlabel(label + between)
    low, high = _limits(axes, drawn, metric, across)
    if low < NO_SKILL.get(metric, np.nan) < high:
        axes.axvline(NO_SKILL[metric], color="#808080", lw=0.9, ls=(0, (5, 4)), zorder=1, label="no skill")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9
    )
    return figure


def caterpillar_figure(
    hospitals: pd.DataFrame, metric: str, *, label: str = "", across: pd.Series | None = None
) -> Figure:
    """All hospitals in the order of the metric, without names; arguments as of :func:`forest_figure`."""
    label = label or metric
    known = hospitals[hospitals[metric].notna()].sort_values(["counted", metric], ascending=[False, True])
    figure, (axes,) = subplots(1, width=8.5, height=4.2)
    if across is not None and np.isfinite(across["prediction_low"]):
        axes.axhspan(
            across["prediction_low"], across["prediction_high"], color=COLOURS[1], alpha=0.12, lw=0,
            label="prediction interval for a new hospital",
        )  # fmt: skip
    if across is not None and np.isfinite(across["mean"]):
        axes.axhline(across["mean"], color=COLOURS[1], lw=1.8, label="random-effects mean")
    place = np.arange(1, len(known) + 1)
    for counted, colour, text in ((True, COLOURS[0], "hospital"), (False, "#a8a8a8", HOLLOW)):
        rows = (known["counted"] == counted).to_numpy()
        if rows.any():
            some = known[rows]
            axes.vlines(
                place[rows], some[f"{metric}_low"], some[f"{metric}_high"], color=colour, lw=0.8, alpha=0.7
            )
            face = colour if counted else "white"
            axes.scatter(
                place[rows], some[metric], s=11, color=face, edgecolor=colour, lw=0.8, zorder=3,
                label=f"{text} ({rows.sum():,})",
            )  # fmt: skip
    draw_no_skill(axes, metric)
    axes.set(xlabel=f"hospitals in the order of {label}", ylabel=f"{label} with interval")
    legend_below(axes, columns=2)
    return figure


def forest_alt(
    hospitals: pd.DataFrame, metric: str, *, label: str = "", across: pd.Series | None = None
) -> str:
    """What the figure shows, in words."""
    label = label or metric
    known = hospitals[hospitals[metric].notna()]
    if len(known) <= 8:
        each = "; ".join(
            f"{name} {interval(row[metric], row[f'{metric}_low'], row[f'{metric}_high'])}"
            + ("" if row["counted"] else " (not counted)")
            for name, row in known.iterrows()
        )
    else:
        counted = known[known["counted"]][metric]
        each = (
            f"{count(len(counted), 'hospital')} from {span(counted.min(), counted.max())}, median "
            f"{number(counted.median())}; {count(len(known) - len(counted), 'hospital')} not counted"
        )
    text = f"{label} of hospitals with intervals: {each}."
    if across is not None and np.isfinite(across["mean"]):
        text += f" Random-effects mean {interval(across['mean'], across['mean_low'], across['mean_high'])}"
        low, high = across["prediction_low"], across["prediction_high"]
        text += f", prediction interval {span(low, high)}." if np.isfinite(low) else "."
    return text


def _drawn(hospitals: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, int]:
    """The rows of a forest plot, best on top, and how many are left out between the extremes."""
    order = hospitals.sort_values(["counted", metric], ascending=False, na_position="last")
    if len(order) <= ROOM:
        return order, 0
    order = order[order["counted"] & order[metric].notna()]
    half = ROOM // 2
    return (
        (order, 0)
        if len(order) <= ROOM
        else (pd.concat([order[:half], order[-half:]]), len(order) - 2 * half)
    )


def _columns(row: pd.Series, metric: str, events: bool) -> list[str]:
    """What stands beside a hospital."""
    text = interval(row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
    text = text if np.isfinite(row[metric]) else "not defined"
    return [f"{row['rows']:,}", *([f"{row['events']:,}"] if events else []), text]


def _write(axes: Axes, place: float, texts: list[str], *, bold: bool) -> None:
    """A line of text: numbers to the right, the last column to the left."""
    ends = [0.12, 0.36][: len(texts) - 1]
    sides = ["right"] * len(ends) + ["left"]
    for x, text, side in zip([*ends, ends[-1] + 0.08], texts, sides, strict=True):
        axes.text(x, place, text, ha=side, va="center", fontsize=9, weight="bold" if bold else "normal")


def _intervals(axes: Axes, drawn: pd.DataFrame, metric: str, places: np.ndarray) -> None:
    size = 18 + 90 * np.sqrt(drawn["rows"] / max(drawn["rows"].max(), 1))
    for counted, colour, label in ((True, COLOURS[0], "hospital"), (False, GREY, HOLLOW)):
        rows = (drawn["counted"] == counted).to_numpy() & drawn[metric].notna().to_numpy()
        if rows.any():
            some = drawn[rows]
            axes.hlines(places[rows], some[f"{metric}_low"], some[f"{metric}_high"], color=colour, lw=1.4)
            axes.scatter(
                some[metric], places[rows], s=size[rows], marker="s", color=colour if counted else "white",
                edgecolor=colour, lw=1.1, zorder=3, label=label,
            )  # fmt: skip


def _diamond(axes: Axes, across: pd.Series, place: float) -> None:
    if np.isfinite(across["prediction_low"]):
        axes.plot(
            [across["prediction_low"], across["prediction_high"]], [place, place], color=COLOURS[1], lw=1.6,
            marker="|", ms=9, label="prediction interval for a new hospital",
        )  # fmt: skip
    low, mean, high = across["mean_low"], across["mean"], across["mean_high"]
    low, high = (mean if np.isnan(end) else end for end in (low, high))
    axes.fill(
        [low, mean, high, mean], [place, place + 0.32, place, place - 0.32], color=COLOURS[1], lw=0, zorder=3,
        label="random-effects mean, interval",
    )  # fmt: skip
    axes.axvline(mean, color=COLOURS[1], lw=0.8, ls=":", zorder=0)


def _limits(axes: Axes, drawn: pd.DataFrame, metric: str, across: pd.Series | None) -> tuple[float, float]:
    """From the intervals of hospitals that count, the points of the others, and the prediction interval.

    Where that is far wider than the hospitals are, an arrow says that it goes on.
    """
    counted = drawn[drawn["counted"]]
    ends = pd.concat([counted[f"{metric}_low"], counted[f"{metric}_high"], drawn[metric]])
    ends = ends[np.isfinite(ends)]
    if not len(ends) or ends.max() == ends.min():
        return axes.get_xlim()
    low, high, width = ends.min(), ends.max(), ends.max() - ends.min()
    if across is not None and np.isfinite(across["prediction_low"]):
        new = across["prediction_low"], across["prediction_high"]
        low, high = max(min(low, new[0]), low - width), min(max(high, new[1]), high + width)
        for end, edge, marker in ((new[0] < low, low, "<"), (new[1] > high, high, ">")):
            if end:
                axes.plot([edge], [0.7], marker=marker, ms=6, color=COLOURS[1], zorder=4)
    beyond = 0.05 * (high - low)
    axes.set_xlim(low - beyond, high + beyond)
    return axes.get_xlim()
