"""Decision curves: the net benefit of treating by the model, against treating all and treating none.

    net benefit = true positives / n  -  false positives / n  *  threshold / (1 - threshold)

Vickers & Elkin 2006, doi:10.1177/0272989X06295361.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.panels import legend_above, outer_ticks, panels_of
from jaxfed.pages.axes import COLOURS, legend_below, subplots
from jaxfed.pages.text import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def decision_figure(table: pd.DataFrame) -> Figure:
    """The curve of all patients.

    Args:
        table: ``threshold``, ``net_benefit``, ``low``, ``high``, ``treat_all`` and ``treat_none``.
    """
    figure, (axes,) = subplots(1, width=6.5)
    _curves(axes, table)
    axes.set(xlabel="threshold: the risk from which one would treat", ylabel="net benefit per patient")
    legend_below(axes)
    return figure


def decision_by_hospital_figure(table: pd.DataFrame) -> Figure:
    """A panel for each hospital of ``table``, which has a column ``hospital``."""
    parts = {str(name): part for name, part in table.groupby("hospital", sort=False) if name != "(pooled)"}
    figure, panels = panels_of([*parts], 2.8, 2.3)
    for axes, part in zip(panels, parts.values(), strict=True):
        _curves(axes, part)
    figure.supxlabel("threshold", fontsize=10)
    figure.supylabel("net benefit per patient", fontsize=10)
    outer_ticks(panels, left=False)
    legend_above(figure, panels[0])
    return figure


def decision_alt(table: pd.DataFrame) -> str:
    """What the figure shows, in words."""
    better = useful(table)
    if not better.any():
        return (
            "Decision curve: at no threshold is the model's net benefit above both treat-all and treat-none."
        )
    at = table["threshold"][better]
    return (
        "Decision curve: the model's net benefit is above both treat-all and treat-none at "
        f"{'thresholds' if len(at) > 1 else 'the threshold'} from {span(at.min(), at.max())}"
        + ("." if better.sum() == (table["threshold"].between(at.min(), at.max())).sum() else ", with gaps.")
    )


def useful(table: pd.DataFrame) -> pd.Series:
    """The thresholds at which the model is better than both treating all and treating none."""
    return table["net_benefit"] > np.maximum(table["treat_all"], table["treat_none"])


def _curves(axes: Axes, table: pd.DataFrame) -> None:
    x = table["threshold"]
    axes.fill_between(x, table["low"], table["high"], color=COLOURS[0], alpha=0.18, lw=0)
    axes.plot(x, table["net_benefit"], color=COLOURS[0], lw=2, label="model, with band")
    axes.plot(x, table["treat_all"], color=COLOURS[4], lw=1.2, ls="--", label="treat all")
    axes.plot(x, table["treat_none"], color="#4d4d4d", lw=1.2, ls=":", label="treat none")
    top = max(table["net_benefit"].max(), table["treat_all"].max(), 0.01)
    axes.set_ylim(-0.35 * top, 1.15 * top)
    axes.set_xlim(0, x.max())
