"""The figure of the convergence benchmark: a panel per data set, a line per method, a band over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from jaxfed.pages.axes import subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def convergence_panels(curves: pd.DataFrame, column: str = "log loss") -> Figure:
    """Mean over seeds with its range, on a logarithmic scale.

    Args:
        curves: rows of data, method, seed, round and ``column``.
        column: what is drawn.
    """
    import matplotlib

    titles, methods = curves["data"].unique(), list(curves["method"].unique())
    figure, panels = subplots(len(titles), width=4.6)
    colours = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for axes, title in zip(panels, titles, strict=True):
        part = curves[curves["data"] == title]
        for i, method in enumerate(methods):
            group = part[part["method"] == method].groupby("round")[column]
            mean, low, high = group.mean(), group.min(), group.max()
            style = {"color": colours[i % 20], "ls": "-" if i < 20 else "--"}
            axes.plot(mean.index, mean, lw=1.6, label=method, **style)
            axes.fill_between(mean.index, low, high, color=style["color"], alpha=0.12, lw=0)
        axes.set(title=title, xlabel="rounds", yscale="log")
        baseline = part[part["method"] == methods[0]]
        axes.set_ylim(0.95 * part[column].min(), 1.05 * baseline[baseline["round"] == 0][column].max())
    panels[0].set_ylabel(f"pooled test {column}")
    panels[-1].legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure
