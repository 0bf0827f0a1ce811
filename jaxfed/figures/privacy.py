"""Figures of differential privacy: epsilon over rounds, and what it costs in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.axes import whole_rounds
from jaxfed.pages.axes import COLOURS, legend_below, plain_ticks, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def epsilon_figure(table: pd.DataFrame, delta: float) -> Figure:
    """Epsilon over rounds; ``table`` has a row for each number of rounds and a column for each noise."""
    figure, (axes,) = subplots(1)
    for column, colour in zip(table.columns, COLOURS * len(table.columns), strict=False):
        axes.plot(table.index, table[column], marker="o", ms=3, color=colour, label=str(column))
    axes.set_ylabel(f"epsilon at delta {delta:g}")
    whole_rounds(axes)
    if np.isfinite(table.to_numpy(float)).any() and (table.to_numpy(float) > 0).any():
        axes.set_yscale("log")
        plain_ticks(axes, "y")
    legend_below(axes)
    return figure


def utility_figure(table: pd.DataFrame, metric: str, title: str = "") -> Figure:
    """A metric against epsilon: the mean over hospitals, and the worst hospital.

    Args:
        table: a row for each arm, epsilon and seed: ``arm``, ``epsilon`` (infinite without privacy), ``mean``
            and ``worst``. Lines are means over seeds, bands their range, dashes the arm without privacy.
        metric: its name.
        title: of the figure.
    """
    figure, panels = subplots(2, width=5.0)
    panels[1].sharey(panels[0])
    arms = [*dict.fromkeys(table["arm"])]
    for axes, column, what in zip(
        panels, ("mean", "worst"), ("mean hospital", "worst hospital"), strict=True
    ):
        for arm, colour in zip(arms, COLOURS * len(arms), strict=False):
            _arm(axes, table[table["arm"] == arm], column, arm, colour)
        axes.set(xscale="log", xlabel="epsilon of a patient", title=what)
        ticks = sorted({e for e in table["epsilon"] if np.isfinite(e)})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.minorticks_off()
        legend_below(axes)
    panels[0].set_ylabel(metric)
    figure.suptitle(title)
    return figure


def _arm(axes: Axes, rows: pd.DataFrame, column: str, arm: str, colour: str) -> None:
    private = rows[np.isfinite(rows["epsilon"])].groupby("epsilon")[column]
    mean = private.mean()
    axes.plot(mean.index, mean, marker="o", ms=4, color=colour, label=arm)
    axes.fill_between(mean.index, private.min(), private.max(), color=colour, alpha=0.15, lw=0)
    plain = rows[~np.isfinite(rows["epsilon"])][column]
    if len(plain):
        axes.axhline(plain.mean(), color=colour, ls="--", lw=1)
