"""A metric over two fields: cells for a grid, points where values were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.figures.settings import BEST, DEAD, Settings, draw_scale, is_number, ordered, shown
from jaxfed.pages.axes import legend_below, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 400  # more have no room for numbers


def heatmap_figure(settings: Settings, x: str, y: str) -> Figure:
    """Every cell shows the best of all other fields; dead ones are grey with a cross."""
    others = [name for name in settings.fields if name not in (x, y)]
    if others and settings.best is None:
        raise InvalidInput(
            f"plot: a cell of {x} and {y} shows the best of {', '.join(others)}, and there are no validation "
            "rows, or no living configuration, to choose on; use kind='parallel'"
        )
    cells = settings.table.drop_duplicates([x, y])
    columns, rows = (ordered(cells[name]) for name in (x, y))
    drawn = len(cells) < 0.5 * len(columns) * len(rows) and all(is_number(cells[name]) for name in (x, y))
    if drawn:
        figure, (axes,) = subplots(1, width=6.5)
        _points(axes, settings, cells, x, y)
    else:
        figure, (axes,) = subplots(1, width=float(np.clip(2.4 + 0.8 * len(columns), 4.5, 14)))
        figure.set_figheight(float(np.clip(1.6 + 0.45 * len(rows), 3.4, 12)))
        _cells(axes, settings, cells, x, y, columns, rows)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title("\n".join([settings.label, *_caption(settings, others)]), fontsize=10, loc="left")
    return figure


def _cells(
    axes: Axes, settings: Settings, cells: pd.DataFrame, x: str, y: str, columns: list, rows: list
) -> None:
    grid = np.full((len(rows), len(columns)), np.nan)
    places = [(rows.index(cell[y]), columns.index(cell[x])) for _, cell in cells.iterrows()]
    for place, score in zip(places, cells["score"], strict=True):
        grid[place] = score
    norm = settings.norm()
    image = axes.imshow(grid, cmap=settings.colours, norm=norm, origin="lower", aspect="auto")
    if np.isfinite(grid).any():
        axes.figure.colorbar(image, ax=axes, extend=_extend(settings), pad=0.02)
    axes.grid(False)
    axes.set_xticks(range(len(columns)), [shown(value) for value in columns])
    axes.set_yticks(range(len(rows)), [shown(value) for value in rows])
    for i, (place, (_, cell)) in enumerate(zip(places, cells.iterrows(), strict=True)):
        best = settings.best is not None and i == 0
        if np.isnan(cell["score"]):
            axes.add_patch(_frame(place, facecolor="#e6e6e6", hatch="///", edgecolor="#c8c8c8", lw=0))
        if best:
            axes.add_patch(_frame(place, fill=False, edgecolor=BEST, lw=3, zorder=3))
        if grid.size <= CELLS:
            red, green, blue, _ = image.cmap(norm(cell["score"]))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 and np.isfinite(cell["score"])
            axes.text(
                place[1], place[0], _text(settings, cell), ha="center", va="center", fontsize=9,
                color="white" if dark else "black", weight="bold" if best else "normal",
            )  # fmt: skip


def _text(settings: Settings, cell: pd.Series) -> str:
    """The score, and how many seeds diverged."""
    if np.isnan(cell["score"]):
        return f"× round {cell['died']:g}" if np.isfinite(cell["died"]) else "×"
    some = f"\n{int(cell['dead'])} of {int(cell['dead'] + cell['seeds'])} ×" if cell["dead"] else ""
    return settings.number(cell["score"]) + some


def _points(axes: Axes, settings: Settings, cells: pd.DataFrame, x: str, y: str) -> None:
    dead = cells[cells["score"].isna()]
    living = cells[cells["score"].notna()][::-1]  # the best on top
    axes.scatter(dead[x], dead[y], marker="x", color=DEAD, s=40, label="diverged")
    image = axes.scatter(
        living[x], living[y], c=living["score"], cmap=settings.colours, norm=settings.norm(), s=60, lw=0.4,
        edgecolor="#404040",
    )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, extend=_extend(settings), pad=0.02)
    if settings.best is not None:
        axes.scatter(cells[x].iloc[:1], cells[y].iloc[:1], s=190, facecolor="none", edgecolor=BEST, lw=2.5)
    for which, name in (("x", x), ("y", y)):
        draw_scale(axes, which, cells[name])
    if len(dead):
        legend_below(axes)


def _caption(settings: Settings, others: list[str]) -> list[str]:
    best, score = settings.best, settings.number
    notes = [f"mean of {settings.seeds} seeds"] if settings.seeds > 1 else []
    notes += [f"best of {', '.join(map(settings.short, others))}"] if others else []
    notes += ["×: diverged"] if settings.table["dead"].any() else []
    marked = []
    if best is not None:
        marked = [f"marked: best on validation rows, {score(best.validation)}"]
        marked += [f"on test rows {score(best.test)}"] if np.isfinite(best.test) else []
    edges = [] if best is None or not best.edges else [best.at_edge()]
    return [", ".join(line) for line in (notes, marked, edges) if line]


def _extend(settings: Settings) -> str:
    """Whether scores lie beyond the ends of the colours."""
    low, high = settings.limits()
    score = settings.table["score"]
    below, above = bool((score < low).any()), bool((score > high).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")


def _frame(place: tuple[int, int], **style):  # type: ignore[no-untyped-def]
    from matplotlib.patches import Rectangle

    return Rectangle((place[1] - 0.5, place[0] - 0.5), 1, 1, **style)
