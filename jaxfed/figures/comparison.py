"""Arms beside hospitals: a heat map of a metric, and what each hospital gains, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.pages.axes import COLOURS, legend_below, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 40  # hospitals whose names there is room for
MISSING = "#e6e6e6"


def comparison_figure(
    values: pd.DataFrame, gains: pd.DataFrame, label: str, higher_is_better: bool, what: str
) -> Figure:
    """Two panels.

    Args:
        values: a row per hospital, a column per arm.
        gains: a row per hospital, sorted: ``gain``, ``low``, ``high`` and ``counted``.
        label: of the metric.
        higher_is_better: whether more of it is better.
        what: the two arms of the gains, as text.
    """
    figure, (left, right) = subplots(2, width=max(4.8, 1.1 * len(values.columns) + 1.6))
    height = float(np.clip(1.9 + 0.27 * min(len(values), NAMED), 4.0, 12.0))
    figure.set_figheight(height)
    _heatmap(left, values.loc[gains.index], label, higher_is_better)
    _gains(right, gains, label, what, 0.8 / height)
    return figure


def _heatmap(axes: Axes, values: pd.DataFrame, label: str, higher_is_better: bool) -> None:
    import matplotlib

    colours = matplotlib.colormaps["viridis" if higher_is_better else "viridis_r"].with_extremes(bad=MISSING)
    numbers = values.to_numpy(float)
    image = axes.imshow(np.ma.masked_invalid(numbers), cmap=colours, aspect="auto", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, pad=0.02, label=label)
    axes.grid(False)
    axes.set_xticks(range(len(values.columns)), [str(name).replace("-", "-\n", 1) for name in values.columns])
    axes.tick_params(axis="x", labelsize=8)
    _hospital_names(axes, values.index)
    axes.set_title(f"{label} on test rows, mean over seeds", fontsize=10, loc="left")
    if len(values) > NAMED // 2:
        return
    for (row, column), number in np.ndenumerate(numbers):
        red, green, blue, _ = image.cmap(image.norm(number)) if np.isfinite(number) else (1, 1, 1, 1)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = f"{number:.3f}" if np.isfinite(number) else "none"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")


def _gains(axes: Axes, gains: pd.DataFrame, label: str, what: str, below: float) -> None:
    place = np.arange(len(gains))
    for enough, colour, marker, name in (
        (True, COLOURS[0], "o", "interval over seeds"),
        (False, "#9a9a9a", "D", "few events: no judgement"),
    ):
        part = (gains["counted"] == enough).to_numpy() & gains["gain"].notna().to_numpy()
        if not part.any():
            continue
        rows = gains[part]
        reach = np.abs(np.stack([rows["gain"] - rows["low"], rows["high"] - rows["gain"]])).astype(float)
        axes.errorbar(
            rows["gain"],
            place[part],
            xerr=np.nan_to_num(reach),
            fmt=marker,
            ms=4,
            lw=1.2,
            color=colour,
            label=name,
        )
    axes.axvline(0, color="#404040", lw=1)
    axes.set_ylim(len(gains) - 0.5, -0.5)
    _hospital_names(axes, gains.index)
    axes.set_xlabel(f"gain in {label} (right is better)")
    axes.set_title(what, fontsize=10, loc="left")
    legend_below(axes, 2, below)


def _hospital_names(axes: Axes, names: pd.Index) -> None:
    if len(names) <= NAMED:
        axes.set_yticks(range(len(names)), [str(name) for name in names], fontsize=8)
    else:
        axes.set_ylabel(f"{len(names)} hospitals, the largest gain on top")
