"""How hospitals differ: their sizes, and the labels in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.pages.axes import COLOURS, plain_ticks, subplots
from jaxfed.pages.text import shortened, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 24  # hospitals whose names have room


def federation_figure(rows: pd.Series, labels: pd.DataFrame) -> Figure:
    """Rows of each hospital, and the share of each class in it.

    Args:
        rows: by hospital.
        labels: shares of classes by hospital, a column each (of two classes the second one); without columns
            only the sizes are drawn.
    """
    figure, panels = subplots(2 if labels.shape[1] else 1, width=4.9, height=3.8)
    order = rows.sort_values(ascending=False, kind="stable").index
    place = np.arange(len(order))
    panels[0].bar(place, rows[order], color=COLOURS[0], width=0.85 if len(order) <= FEW else 1.0)
    panels[0].set_ylabel("rows")
    if len(rows) > 1 and rows.max() > 20 * max(rows[rows > 0].min(), 1):
        panels[0].set_yscale("log")
        plain_ticks(panels[0], "y")
    _names(panels[0], order)
    panels[0].set_title("Size", fontsize=11)
    if labels.shape[1] == 1:
        shares = labels.iloc[:, 0]
        panels[1].scatter(
            rows[order], shares[order], s=22, color=COLOURS[0], edgecolor="white", lw=0.5, zorder=3
        )
        if len(rows) <= 8:
            for name in order:
                panels[1].annotate(
                    str(name), (rows[name], shares[name]), xytext=(0, 7), textcoords="offset points",
                    ha="center", fontsize=8, parse_math=False,
                )  # fmt: skip
            panels[1].margins(x=0.2, y=0.15)
        panels[1].set_xscale("log")
        plain_ticks(panels[1], "x")
        panels[1].set(xlabel="rows", ylabel=f"share of “{labels.columns[0]}”")
        panels[1].set_title("Prevalence", fontsize=11)
    elif labels.shape[1]:
        _heat(panels[1], labels.loc[order])
    return figure


def federation_alt(rows: pd.Series, labels: pd.DataFrame) -> str:
    """What the figure shows, in words."""
    text = f"Rows of {len(rows):,} hospitals: {rows.min():,} to {rows.max():,}, median {rows.median():,.0f}."
    if labels.shape[1] == 1:
        shares = labels.iloc[:, 0]
        text += f" The share of {labels.columns[0]} is from {span(shares.min(), shares.max())}."
    elif labels.shape[1]:
        most = labels.max(axis=1)
        text += f" The largest share of one class is from {span(most.min(), most.max())}."
    return text


def _heat(axes: Axes, labels: pd.DataFrame) -> None:
    image = axes.imshow(
        labels.to_numpy(float).T, aspect="auto", cmap="cividis", vmin=0, interpolation="nearest"
    )
    axes.grid(False)
    axes.set_yticks(
        range(labels.shape[1]), [str(name) for name in labels.columns], fontsize=8, parse_math=False
    )
    _names(axes, labels.index)
    axes.set_title("Share of each class", fontsize=11)
    axes.figure.colorbar(image, ax=axes, pad=0.02)


def _names(axes: Axes, names: pd.Index) -> None:
    if len(names) <= FEW:
        texts = [shortened(name, 16) for name in names]
        turned = len(names) > 5
        axes.set_xticks(
            range(len(names)), texts, fontsize=8, parse_math=False, rotation=45 if turned else 0,
            ha="right" if turned else "center",
        )  # fmt: skip
    else:
        axes.set_xlabel("hospitals, the largest first")
