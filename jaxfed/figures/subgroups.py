"""Gaps between subgroups: the difference of each group from the reference, metric by metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.figures.panels import panels_of, place
from jaxfed.pages.axes import COLOURS
from jaxfed.pages.text import interval, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def subgroups_figure(table: pd.DataFrame, metrics: Sequence[str], labels: Mapping[str, str]) -> Figure:
    """A panel for each metric.

    Args:
        table: a row for each group: ``reference``, ``rows``, ``<metric>_gap`` with ``_low`` and ``_high``.
        metrics: which of them.
        labels: their labels.
    """
    figure, panels = panels_of(
        [labels.get(metric, metric) for metric in metrics], 3.0, 0.9 + 0.34 * len(table)
    )
    level = np.arange(len(table), 0, -1)
    other = ~table["reference"].to_numpy(bool)
    first = {place(axes).rowspan.start: axes for axes in reversed(panels)}
    for axes, metric in zip(panels, metrics, strict=True):
        gap, low, high = (table[f"{metric}_gap{end}"].to_numpy(float) for end in ("", "_low", "_high"))
        axes.axvline(0, color="#808080", lw=0.9, ls=(0, (5, 4)))
        axes.hlines(level[other], low[other], high[other], color=COLOURS[0], lw=1.4)
        axes.scatter(gap[other], level[other], color=COLOURS[0], s=24, zorder=3)
        axes.scatter(gap[~other], level[~other], color="white", edgecolor="#4d4d4d", s=30, zorder=3)
        axes.set_yticks([])
        axes.set_ylim(0.4, len(table) + 0.6)
    for axes in first.values():
        names = [_name(group, row) for group, row in table.iterrows()]
        axes.set_yticks(level, names, fontsize=8, parse_math=False)
    figure.supxlabel("difference from the reference group (hollow), with interval", fontsize=9)
    return figure


def subgroups_alt(table: pd.DataFrame, metric: str, label: str) -> str:
    """What the first panel shows, in words."""
    reference = table.index[table["reference"]][0]
    gaps = "; ".join(
        f"{group} {interval(row[f'{metric}_gap'], row[f'{metric}_gap_low'], row[f'{metric}_gap_high'])}"
        for group, row in table[~table["reference"]].iterrows()
    )
    return f"{label} of subgroups, difference from {reference}: {gaps}."


def _name(group: object, row: pd.Series) -> str:
    return f"{shortened(group, 22)} ({row['rows']:,})"
