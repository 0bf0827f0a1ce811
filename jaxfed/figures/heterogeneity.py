"""The figure of heterogeneity: sizes, labels and features of the hospitals, beside what chance alone does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.pages.axes import COLOURS, legend_below, plain_ticks, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDED = ("n", "emd")
CHANCE: dict[str, Any] = {"color": "#808080", "lw": 0.9, "ls": (0, (5, 4))}


def heterogeneity_figure(table: pd.DataFrame, title: str = "") -> Figure:
    """Sizes, labels and, where they are in the table, features; a mark or bar for every hospital.

    Labels of two classes are drawn as a funnel plot (Spiegelhalter 2005, doi 10.1002/sim.1970): 95 % of
    hospitals that differ by chance alone are between the dashed lines.

    Args:
        table: of :func:`jaxfed.data.heterogeneity`.
        title: of the figure.

    Raises:
        InvalidInput: another table.
    """
    lacking = [column for column in NEEDED if column not in table]
    if lacking:
        raise InvalidInput(
            f"heterogeneity_figure: the table has no column {lacking[0]!r}; give that of "
            "jaxfed.data.heterogeneity(dataset)"
        )
    table = table[table["n"] > 0]
    shifts = "feature_shift" in table
    figure, panels = subplots(3 if shifts else 2, width=4.3, height=3.9)
    _sizes(panels[0], table)
    if "prevalence" in table:
        _funnel(panels[1], table)
    else:
        _classes(panels[1], table)
    if shifts:
        _features(panels[2], table)
    figure.suptitle(title)
    return figure


def _sizes(axes: Axes, table: pd.DataFrame) -> None:
    rows = np.sort(table["n"].to_numpy())[::-1]
    axes.stairs(rows, np.arange(len(rows) + 1) + 0.5, fill=True, color=COLOURS[0])
    axes.set(xlabel="hospitals, by size", ylabel="rows", title="Sizes")
    _whole(axes, len(rows))
    if rows.max() >= 20 * rows.min():
        axes.set_yscale("log")
        plain_ticks(axes, "y")


def _funnel(axes: Axes, table: pd.DataFrame) -> None:
    pool = float(np.average(table["prevalence"], weights=table["n"]))
    n = _ruler(table)
    reach = 1.96 * np.sqrt(pool * (1 - pool) / n)
    axes.plot(n, 100 * np.full(len(n), pool), color=CHANCE["color"], lw=0.9, label="all hospitals together")
    axes.plot(n, 100 * np.minimum(pool + reach, 1), label="95 % by chance alone", **CHANCE)
    axes.plot(n, 100 * np.maximum(pool - reach, 0), **CHANCE)
    axes.scatter(table["n"], 100 * table["prevalence"], s=14, alpha=0.7, lw=0, color=COLOURS[1])
    axes.set(ylabel="positive labels, %", title="Labels")
    _finish(axes)


def _classes(axes: Axes, table: pd.DataFrame) -> None:
    import matplotlib

    shares = table.filter(regex="^label ")
    shares = shares.iloc[np.lexsort(shares.to_numpy().T[::-1])[::-1]]
    place, below = np.arange(1, len(shares) + 1), np.zeros(len(shares))
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 1, shares.shape[1]))
    for column, colour in zip(shares, colours, strict=True):
        name = str(column).removeprefix("label ")
        axes.bar(place, shares[column], width=1.0, bottom=below, color=colour, label=name)
        below += shares[column].to_numpy()
    axes.set(
        xlabel="hospitals, by their labels", ylabel="share of the rows", title="Labels",
        ylim=(0, 1),
    )  # fmt: skip
    _whole(axes, len(shares))
    legend_below(axes, columns=5)


def _features(axes: Axes, table: pd.DataFrame) -> None:
    n, N = _ruler(table), table["n"].sum()
    chance = np.sqrt(2 / np.pi * np.maximum(1 / n - 1 / N, 0))
    axes.plot(n, chance, label="on average by chance alone", **CHANCE)
    axes.scatter(table["n"], table["feature_shift"], s=14, alpha=0.7, lw=0, color=COLOURS[2])
    axes.set(ylabel="mean shift of a feature, sd", title="Features", ylim=(0, None))
    _finish(axes)


def _ruler(table: pd.DataFrame) -> np.ndarray:
    """Sizes at which curves over the size are drawn."""
    return np.geomspace(max(table["n"].min() * 0.8, 1), table["n"].max() * 1.2, 200)


def _whole(axes: Axes, hospitals: int) -> None:
    """An ``x`` axis of hospitals, with ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.5, hospitals + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _finish(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = axes.get_xlim()
    if high > 4 * low:
        axes.set_xscale("log")
        plain_ticks(axes, "x")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if high > 60 * low:
        axes.xaxis.set_major_locator(LogLocator())
    axes.set_xlabel("rows of the hospital")
    legend_below(axes, columns=2)
