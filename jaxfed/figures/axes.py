"""What figures of training have in common: an axis of rounds, the line of no skill."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NO_SKILL = {"auroc": 0.5, "cindex": 0.5, "r2": 0.0}  # the value of a model that knows nothing


def whole_rounds(axes: Axes) -> None:
    """An ``x`` axis of rounds, with ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("rounds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def draw_no_skill(axes: Axes, metric: str) -> None:
    """A line where a model without any skill is, if the metric has such a value and it is in the picture."""
    if metric in NO_SKILL:
        axes.axhline(NO_SKILL[metric], color="#808080", lw=0.9, ls=(0, (5, 4)), zorder=1)
        axes.annotate(
            "no skill", (1, NO_SKILL[metric]), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            fontsize=8, color="#808080",
        )  # fmt: skip
