"""What all figures have in common: panels, colours, plain ticks, legends beside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#d1495b", "#5c8d3f", "#8a5aa8", "#c98b1b", "#4d4d4d")
MARKERS = ("o", "s", "^", "D", "v", "P")


def subplots(count: int, width: float = 6.0, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A row of panels of ``width`` inches."""
    figure, (panels,) = grid(1, count, width, height)
    return figure, panels


def grid(
    rows: int, columns: int, width: float, height: float, margin: float = 0.0
) -> tuple[Figure, list[list[Axes]]]:
    """Rows of panels of ``width`` and ``height`` inches, with so many more for what is beside them."""
    from jaxfed.pages.canvas import Canvas

    figure = Canvas(width * columns + margin, height * rows + margin)
    panels = [
        [figure.add_subplot(rows, columns, r * columns + c + 1) for c in range(columns)] for r in range(rows)
    ]
    for axes in (axes for row in panels for axes in row):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
    return figure, panels


def plain_ticks(axes: Axes, which: str) -> None:
    """Ticks of a logarithmic ``x`` or ``y`` axis at 1, 2 and 5 times powers of ten, as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = getattr(axes, f"{which}axis")
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    wide = high > 2000 * low
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_below(axes: Axes, columns: int = 3, below: float = 0.16) -> None:
    """A legend under the panel, so that it hides no data; ``below`` in heights of the panel."""
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -below), ncols=columns)
