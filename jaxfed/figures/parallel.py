"""Parallel coordinates (Inselberg 1985): an axis for each field, a line for each setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.settings import BEST, DEAD, Settings, is_number, ordered, scale, shown
from jaxfed.pages.axes import subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 8  # values that get a tick each
SPREAD = 0.5  # of the room between two ticks, for the lines that pass through one


def parallel_figure(settings: Settings) -> Figure:
    """Lines through one value lie in the order of merit; the best on top, the dead dashed to the bottom."""
    fields, table = settings.fields, settings.table
    figure, (axes,) = subplots(1, width=float(np.clip(1.9 * (len(fields) + 1), 6, 16)))
    order = np.linspace(0.5, -0.5, len(table))
    heights = [_axis(axes, i, name, table[name], order) for i, name in enumerate(fields)]
    low, high = settings.limits()
    score = np.clip(table["score"].to_numpy(float), low, high)
    worst, best = (low, high) if settings.higher else (high, low)
    heights.append(np.where(np.isnan(score), -0.12, (score - worst) / (best - worst)))
    _score_axis(axes, settings, len(fields), worst, best)
    lines = np.stack(heights, axis=1)
    import matplotlib

    colours = matplotlib.colormaps[settings.colours](settings.norm()(score))
    for i in range(len(table))[::-1]:
        dead = np.isnan(score[i])
        style = {"color": DEAD, "ls": "--", "lw": 0.9} if dead else {"color": colours[i], "lw": 1.3}
        if settings.best is not None and i == 0:
            style = {"color": BEST, "lw": 3.2, "label": f"best: {settings.name(table.iloc[0])}"}
        axes.plot(range(len(fields) + 1), lines[i], alpha=0.85, **style)
    axes.set_xticks(
        range(len(fields) + 1), [*map(settings.short, fields), settings.label.replace(", ", ",\n")]
    )
    axes.set(xlim=(-0.35, len(fields) + 0.45), ylim=(-0.2, 1.1), yticks=[])
    axes.spines[["left"]].set_visible(False)
    axes.grid(False)
    if settings.best is not None:
        figure.legend(loc="outside upper left", frameon=False)
    return figure


def _axis(axes: Axes, place: int, name: str, values: pd.Series, order: np.ndarray) -> np.ndarray:
    """Draw a field's axis; returns where each setting crosses it, 0 to 1."""
    unique = ordered(values)
    axes.axvline(place, color="#404040", lw=1, zorder=0)
    if len(unique) <= FEW or not is_number(values):
        step = 1 / max(len(unique) - 1, 1)
        at = {value: i * step if len(unique) > 1 else 0.5 for i, value in enumerate(unique)}
        for value, height in at.items():
            _tick(axes, place, height, shown(value))
        room = SPREAD * min(step, 0.4)
        return np.array([at[value] for value in values]) + room * order
    numbers = values.to_numpy(float)
    if scale(numbers) == "log":
        numbers = np.log(numbers)
    low, high = numbers.min(), numbers.max()
    ends = values.min(), values.max()
    for height, value in zip((0, 1), ends, strict=True):
        _tick(axes, place, height, f"{value:.3g}")
    return (numbers - low) / (high - low)


def _score_axis(axes: Axes, settings: Settings, place: int, worst: float, best: float) -> None:
    axes.axvline(place, color="#404040", lw=1, zorder=0)
    beyond = settings.table["score"].to_numpy(float)
    clipped = (beyond < worst).any() if settings.higher else (beyond > worst).any()
    for height in (0, 0.5, 1) if np.isfinite(beyond).any() else ():
        sign = ("≤ " if settings.higher else "≥ ") if clipped and height == 0 else ""
        _tick(axes, place, height, sign + settings.number(worst + height * (best - worst)), right=True)
    if settings.table["score"].isna().any():
        _tick(axes, place, -0.12, "diverged", right=True)


def _tick(axes: Axes, place: int, height: float, text: str, *, right: bool = False) -> None:
    axes.annotate(
        text, (place, height), xytext=(6 if right else -6, 0), textcoords="offset points", va="center",
        ha="left" if right else "right", fontsize=9, zorder=6,
        bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
    )  # fmt: skip
