"""The figures of a check, drawn from its tables: what is not in them is not in the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.pages.axes import COLOURS, legend_below, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 40  # hospitals that have room for their names
LETTERS = 24  # of a name
HIDDEN = "#d9d9d9"


def labels_figure(hospitals: pd.DataFrame) -> Figure:
    """Share of the positive class in each hospital with its 95 % interval (Wilson 1927), in order."""
    shown = hospitals[hospitals["prevalence"].notna()].sort_values(by="prevalence")
    rate = shown["prevalence"].to_numpy(float)
    n = shown["events"].to_numpy(float) / np.maximum(rate, 1e-12)
    n = np.where(rate > 0, n, shown["rows"].to_numpy(float))
    low, high = _wilson(rate, n)
    figure, (axes,) = subplots(1, width=7.5, height=_height(len(shown)))
    place = np.arange(len(shown))
    axes.errorbar(
        rate, place, xerr=[np.maximum(rate - low, 0), np.maximum(high - rate, 0)], fmt="o", ms=4, lw=1,
        color=COLOURS[0], ecolor="#9bb8c6", label="hospital, 95 % interval",
    )  # fmt: skip
    pooled = float((rate * n).sum() / n.sum()) if n.sum() else 0.0
    axes.axvline(pooled, color=COLOURS[1], lw=1.2, ls="--", label="all hospitals together")
    axes.set_xlabel("share of the positive class")
    _names(axes, shown.index)
    legend_below(axes, columns=2, below=0.8 / _height(len(shown)))
    return figure


def differences_figure(table: pd.DataFrame, measure: str, axis: str) -> Figure:
    """Each column's difference between the hospitals, beside what chance does."""
    rows = table[table.index.get_level_values(0) == measure].droplevel(0).sort_values(by="seen")
    figure, (axes,) = subplots(1, width=7.5, height=_height(len(rows)))
    place = np.arange(len(rows))
    axes.barh(place, rows["chance_high"], height=0.7, color=HIDDEN, label="by chance, in 97.5 % of draws")
    beyond = rows["beyond_chance"].to_numpy(bool)
    seen = rows["seen"].to_numpy(float)
    axes.plot(seen[~beyond], place[~beyond], "o", mfc="white", color=COLOURS[0], label="seen, as by chance")
    axes.plot(seen[beyond], place[beyond], "o", color=COLOURS[0], label="seen, beyond chance")
    axes.set_xlabel(axis)
    axes.set_xlim(left=0)
    _names(axes, rows.index)
    legend_below(axes, columns=3, below=0.8 / _height(len(rows)))
    return figure


def map_figure(table: pd.DataFrame, colours: str, limits: tuple[float, float], label: str) -> Figure:
    """A cell for each hospital and feature; grey where it is not shown."""
    import matplotlib as mpl

    rows, columns = table.shape
    figure, (axes,) = subplots(
        1, width=float(np.clip(2.5 + 0.32 * columns, 5, 11)), height=_height(rows) + 0.6
    )
    scale = mpl.colormaps[colours].with_extremes(bad=HIDDEN)
    image = axes.imshow(table.to_numpy(float), cmap=scale, vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(columns), [_short(name) for name in table.columns], rotation=90, fontsize=8)
    _names(axes, table.index)
    for text in axes.get_xticklabels():
        text.set_parse_math(False)
    figure.colorbar(image, ax=axes, pad=0.02, label=label)
    return figure


def away(medians: pd.DataFrame) -> pd.DataFrame:
    """Medians less the middle one of all hospitals, in robust deviations between hospitals' medians, or in
    tenths of the middle one where that is more."""
    middle = medians.median()
    spread = (medians - middle).abs().median() * 1.4826
    unit = spread.clip(lower=0.1 * middle.abs())
    return (medians - middle) / unit.where(unit > 0, 1.0)


def _names(axes: Axes, index: pd.Index) -> None:
    if len(index) > NAMED:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(index)} hospitals")
        return
    axes.set_yticks(range(len(index)), [_short(name) for name in index], fontsize=8)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _height(rows: int) -> float:
    return float(np.clip(1.3 + 0.22 * rows, 2.2, 7.5))


def _wilson(rate: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = 1.96
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return middle - half, middle + half
