"""Figures of differential privacy: epsilon over rounds, and what it costs in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.canvas import Canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def epsilon_figure(table: pd.DataFrame, delta: float) -> Figure:
    """Epsilon over rounds; ``table`` has a row for each number of rounds and a column for each noise."""
    figure = Canvas(6, 4)
    axes = figure.subplots()
    for column, colour in zip(table.columns, COLOURS * len(table.columns), strict=False):
        axes.plot(table.index, table[column], marker="o", ms=3, color=colour, label=str(column))
    finite = np.isfinite(table.to_numpy(float)).any() and (table.to_numpy(float) > 0).any()
    axes.set(xlabel="rounds", ylabel=f"epsilon at delta {delta:g}", yscale="log" if finite else "linear")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    return figure


def utility_figure(table: pd.DataFrame, metric: str, title: str = "") -> Figure:
    """A metric against epsilon: the mean over hospitals, and the worst hospital.

    Args:
        table: a row for each arm, epsilon and seed: ``arm``, ``epsilon`` (infinite without privacy), ``mean``
            and ``worst``. Lines are means over seeds, bands their range, dashes the arm without privacy.
        metric: its name.
        title: of the figure.
    """
    figure = Canvas(10, 4)
    panels = figure.subplots(1, 2, sharey=True)
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
        axes.grid(alpha=0.25)
    panels[0].set_ylabel(metric)
    panels[1].legend(frameon=False)
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
