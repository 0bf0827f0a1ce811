"""Small panels of one kind side by side, a hospital or a metric each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxfed.pages.axes import grid
from jaxfed.pages.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

COLUMNS, TICKS = 3, 4


def panels_of(titles: Sequence[str], width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A panel for each title, three in a row (of four, two)."""
    columns = 2 if len(titles) == 4 else min(COLUMNS, len(titles))
    wide = width if columns > 1 else 1.5 * width
    figure, rows = grid(math.ceil(len(titles) / columns), columns, wide, height)
    every = [axes for row in rows for axes in row]
    for axes in every[len(titles) :]:
        axes.remove()
    panels = every[: len(titles)]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(shortened(title, 28), fontsize=9, parse_math=False)
        axes.tick_params(labelsize=8)
        axes.locator_params(nbins=TICKS)
    return figure, panels


def outer_ticks(panels: Sequence[Axes], *, left: bool = True) -> None:
    """Numbers only at the outer axes, where panels have the same scales (``left``: the vertical one too)."""
    columns = 1 + max(place(axes).colspan.start for axes in panels)
    for number, axes in enumerate(panels):
        axes.tick_params(
            labelbottom=number + columns >= len(panels), labelleft=not left or number % columns == 0
        )


def place(axes: Axes) -> SubplotSpec:
    """Where a panel lies in the grid of its figure."""
    spec = axes.get_subplotspec()
    assert spec is not None
    return spec


def legend_above(figure: Figure, panel: Axes) -> None:
    """The legend of one panel, over all of them."""
    columns = 4 if figure.get_figwidth() > 8 else 2
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
