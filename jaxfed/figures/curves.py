"""A metric over the rounds, a band over seeds; of one field also what is left of it at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.figures.axes import whole_rounds
from jaxfed.figures.settings import BEST, COLOURS, DEAD, Settings, draw_scale, is_number, shown
from jaxfed.pages import axes as panels
from jaxfed.pages.axes import legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 8  # lines that can be told apart
TOP = 5  # lines that stand out of many


def curves_figure(settings: Settings) -> Figure:
    """A line per setting; where one field of numbers was swept, a second panel over its values."""
    values = settings.table[settings.fields[0]] if len(settings.fields) == 1 else None
    if values is not None and is_number(values) and len(values) > 1:
        figure, (left, right) = panels.subplots(2)
        _over_rounds(left, settings)
        _over_values(right, settings, settings.fields[0])
        return figure
    figure, (axes,) = panels.subplots(1, width=7.0)
    _over_rounds(axes, settings)
    return figure


def _over_rounds(axes: Axes, settings: Settings) -> None:
    styles = _styles(settings)
    label: str | None = f"the {len(settings.table) - len(styles)} others"
    for setting, row in settings.table.iloc[::-1].iterrows():
        part = settings.rows[settings.rows["setting"] == setting]
        seeds = part.groupby("round")[settings.metric]
        mean = seeds.mean()
        if setting not in styles:
            axes.plot(mean.index, mean, color="#cfcfcf", lw=0.8, zorder=1, label=label)
            label = None
            continue
        colour, best = styles[setting], settings.best is not None and bool(setting == settings.table.index[0])
        axes.plot(
            mean.index, mean, color=colour, lw=2.6 if best else 1.6, zorder=4 if best else 3,
            label=settings.name(row) + " (best)" * best,
        )  # fmt: skip
        axes.fill_between(mean.index, seeds.min(), seeds.max(), color=colour, alpha=0.15, lw=0, zorder=2)
        _crosses(axes, part, settings.metric, colour)
    title = f"Mean and range of {settings.seeds} seeds" if settings.seeds > 1 else "Convergence"
    whole_rounds(axes)
    axes.set(ylabel=settings.label, title=title)
    _crop(axes, settings)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], frameon=False, fontsize=8, loc="upper center", ncols=2,
        bbox_to_anchor=(0.5, -0.16),
    )  # fmt: skip


def _styles(settings: Settings) -> dict[Any, Any]:
    """A colour for each line: by value for few values of one field, else for the best ones."""
    import matplotlib

    table = settings.table
    if len(settings.fields) == 1 and is_number(table[settings.fields[0]]) and len(table) <= FEW:
        ranks = table[settings.fields[0]].rank(method="first") - 1
        return {s: matplotlib.colormaps[COLOURS](0.92 * r / max(len(table) - 1, 1)) for s, r in ranks.items()}
    return dict(zip(table.index[:TOP], panels.COLOURS, strict=False))


def _crosses(axes: Axes, part: pd.DataFrame, metric: str, colour: Any) -> None:
    """Where seeds diverged: a cross at their last result."""
    living = part[part[metric].notna()]
    last = living[living["diverged"].notna()].groupby("configuration").last()
    axes.scatter(last["round"], last[metric], marker="x", color=colour, s=45, lw=2, zorder=5)


def _over_values(axes: Axes, settings: Settings, field: str) -> None:
    """The last round, seed by seed."""
    table = settings.table.sort_values(field)
    last = settings.rows[settings.rows["round"] == settings.rows["round"].max()]
    axes.plot(table[field], table["score"], color="#4d4d4d", lw=1.5, zorder=2)
    axes.scatter(last[field], last[settings.metric], color="#4d4d4d", s=14, alpha=0.6, lw=0, zorder=3)
    low, high = settings.limits()
    axes.plot(table[field], np.full(len(table), low), alpha=0)  # room for what diverged
    draw_scale(axes, "x", table[field])
    if settings.best is not None:
        best, edge = settings.table.iloc[0], settings.best.edges.get(field)
        axes.scatter(
            [best[field]], [best["score"]], marker="*", s=190, color=BEST, zorder=4,
            label=f"best: {shown(best[field])}" + (f", the {edge} that was tried" if edge else ""),
        )  # fmt: skip
    dead = table[table["dead"] > 0]
    margin = 0.12 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    for _, row in dead.iterrows():
        axes.annotate(
            f"{int(row['dead'])} of {int(row['dead'] + row['seeds'])} diverged", (row[field], 0.97),
            xycoords=("data", "axes fraction"), rotation=90, ha="center", va="top", color=DEAD, fontsize=8,
        )  # fmt: skip
    axes.set(xlabel=field, ylabel=settings.label, title=f"After {last['round'].max()} rounds")
    if settings.best is not None:
        legend_below(axes)


def _crop(axes: Axes, settings: Settings) -> None:
    """What explodes leaves the picture; the start and the good ones stay in it."""
    means = settings.rows.groupby(["setting", "round"])[settings.metric].mean().dropna()
    means = means[np.isfinite(means)]
    if means.empty:
        return
    start = means[means.index.get_level_values("round") == settings.rows["round"].min()]
    low, high = settings.limits()
    low, high = min(low, start.min(), means.min()), max(high, start.max(), means.max())
    if settings.higher:
        low = max(low, high - max(1.2 * (high - start.min()), high - settings.limits()[0]))
    else:
        high = min(high, low + max(1.2 * (start.max() - low), settings.limits()[1] - low))
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
