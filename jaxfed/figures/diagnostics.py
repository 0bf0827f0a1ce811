"""The figure of a run's diagnostics: norms, cosines, B^2 over rounds, and who was absent or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.axes import whole_rounds
from jaxfed.pages.axes import COLOURS, grid, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 6  # hospitals with a line each; of more, a median and a band
WIDE = 100  # times the least B^2, from which on the scale is logarithmic
NAMED = 30  # hospitals whose names there is room for
ABSENT, REJECTED = "#e6e6e6", COLOURS[1]


def diagnostics_figure(table: pd.DataFrame, rounds: pd.DataFrame) -> Figure:
    """Four panels.

    Args:
        table: a row per round and hospital: ``present``, ``rejected``, ``update_norm``, ``update_cosine``.
        rounds: a row per round: ``b_squared``.
    """
    figure, ((norms, cosines), (spread, states)) = grid(2, 2, 5.6, 3.8)
    _lines(norms, table, "update_norm", "norm of the update")
    _lines(cosines, table, "update_cosine", "cosine to the mean update")
    cosines.axhline(0, color="#808080", lw=0.9, ls=(0, (5, 4)))
    spread.plot(rounds.index, rounds["b_squared"], color=COLOURS[0], lw=1.8)
    spread.set_ylabel("B² (0: all updates are equal)")
    known = rounds["b_squared"].dropna()
    if len(known) and 0 < WIDE * known.min() < known.max():
        spread.set_yscale("log")
    for axes in (norms, cosines, spread):
        whole_rounds(axes)
    _states(states, table)
    return figure


def _lines(axes: Axes, table: pd.DataFrame, column: str, label: str) -> None:
    wide = table.pivot_table(index="round", columns="hospital", values=column, sort=False, dropna=False)
    if len(wide.columns) <= FEW:
        for name, colour in zip(wide.columns, COLOURS, strict=False):
            known = wide[name].dropna()
            axes.plot(known.index, known, color=colour, lw=1.5, marker="o", ms=2.5, label=str(name))
    else:
        low, middle, high = (wide.quantile(q, axis=1) for q in (0.1, 0.5, 0.9))
        axes.plot(wide.index, middle, color=COLOURS[0], lw=1.8, label="median hospital")
        axes.fill_between(
            wide.index, low, high, color=COLOURS[0], alpha=0.2, lw=0, label="10th to 90th percentile"
        )
    axes.set_ylabel(label)
    legend_below(axes, 3, 0.2)


def _states(axes: Axes, table: pd.DataFrame) -> None:
    """Cosines of every hospital and round; colours of their own for who was absent or rejected."""
    import matplotlib
    from matplotlib.patches import Patch

    wide = table.assign(rejected=table["rejected"] > 0, absent=table["present"] == 0)
    wide = wide.set_index(["hospital", "round"])[["update_cosine", "rejected", "absent"]]
    names, rounds = wide.index.unique("hospital"), wide.index.unique("round")
    cosine, rejected, absent = (
        wide[name].to_numpy().reshape(len(rounds), len(names)).T for name in wide.columns
    )
    norm, colours = matplotlib.colors.Normalize(-1, 1), matplotlib.colormaps["cividis"]
    picture = colours(norm(np.nan_to_num(cosine)))
    axes.imshow(
        np.where(absent[..., None], _rgba(ABSENT), np.where(rejected[..., None], _rgba(REJECTED), picture)),
        aspect="auto", interpolation="nearest",
        extent=(rounds.min() - 0.5, rounds.max() + 0.5, len(names) - 0.5, -0.5),
    )  # fmt: skip
    scale = matplotlib.cm.ScalarMappable(norm, colours)
    axes.figure.colorbar(scale, ax=axes, label="cosine to the mean update", pad=0.02)
    axes.grid(False)
    whole_rounds(axes)
    if len(names) <= NAMED:
        axes.set_yticks(np.arange(len(names)), [str(name) for name in names], fontsize=8)
    else:
        axes.set_ylabel(f"{len(names)} hospitals")
    marks = {"absent": (absent, ABSENT), "rejected": (rejected & ~absent, REJECTED)}
    handles = [Patch(color=colour, label=name) for name, (where, colour) in marks.items() if where.any()]
    if handles:
        axes.legend(
            handles=handles,
            frameon=False,
            fontsize=9,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=2,
        )


def _rgba(colour: str) -> np.ndarray:
    from matplotlib.colors import to_rgba

    return np.array(to_rgba(colour))
