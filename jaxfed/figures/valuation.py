"""Values of hospitals: bars with standard errors, and values against size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.pages.axes import COLOURS, plain_ticks, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 40  # hospitals whose names there is room for


def valuation_figure(table: pd.DataFrame, label: str, title: str) -> Figure:
    """Two panels.

    Args:
        table: a row per hospital, sorted: ``value``, ``standard_error``, ``train_rows`` and, with classes,
            ``label_shift``.
        label: of the metric.
        title: of the figure.
    """
    figure, (left, right) = subplots(2, width=5.2)
    figure.set_figheight(float(np.clip(1.6 + 0.24 * min(len(table), NAMED), 3.8, 11.0)))
    place = np.arange(len(table))
    error = table["standard_error"].fillna(0)
    colours = np.where(table["value"] >= 0, COLOURS[0], COLOURS[1])
    left.barh(place, table["value"], xerr=error if (error > 0).any() else None, color=colours, height=0.7)
    left.axvline(0, color="#404040", lw=1)
    left.set_ylim(len(table) - 0.5, -0.5)
    left.set_xlabel(f"value: improvement of {label}")
    left.set_title(title, fontsize=10, loc="left")
    if len(table) <= NAMED:
        left.set_yticks(place, [str(name) for name in table.index], fontsize=8)
    else:
        left.set_ylabel(f"{len(table)} hospitals, the largest value on top")
    shift = table.get("label_shift")
    points = right.scatter(
        table["train_rows"], table["value"], c=COLOURS[0] if shift is None else shift, cmap="viridis", s=45,
        edgecolor="#404040", lw=0.5, zorder=3,
    )  # fmt: skip
    if shift is not None:
        figure.colorbar(points, ax=right, label="label shift (EMD to all rows)", pad=0.02)
    if len(table) <= NAMED // 4:
        for name, row in table.iterrows():
            right.annotate(
                str(name),
                (row["train_rows"], row["value"]),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
            )
    right.axhline(0, color="#404040", lw=1)
    right.set(xscale="log", xlabel="training rows", ylabel="value", title="")
    right.margins(x=0.3, y=0.15)
    plain_ticks(right, "x")
    return figure
