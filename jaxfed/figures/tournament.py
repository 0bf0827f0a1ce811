"""The figure of a tournament: errors as colours, rule by attack, with the breakdown points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxfed.pages.axes import subplots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def tournament_figure(errors: pd.DataFrame, breakdown: pd.DataFrame, title: str, least: float) -> Figure:
    """A heat map.

    Args:
        errors: ``rule x attack``; NaN where a rule is impossible.
        breakdown: ``rule x attack``; its least over attacks stands beside the names of the rules.
        title: the second line of the title.
        least: no rule can guarantee an error below this.
    """
    from matplotlib.colors import LogNorm

    rules, attacks = list(errors.index), list(errors.columns)
    figure, (axes,) = subplots(1, width=float(np.clip(3.4 + 0.75 * len(attacks), 5, 16)))
    figure.set_figheight(float(np.clip(1.8 + 0.36 * len(rules), 3.2, 12)))
    values = errors.to_numpy(float)
    norm = LogNorm(0.01, 100, clip=True)
    shown = np.ma.masked_invalid(np.where(np.isposinf(values), 1e9, values))
    image = axes.imshow(shown, cmap="RdYlGn_r", norm=norm, aspect="auto")
    figure.colorbar(image, ax=axes, extend="both", pad=0.02, label="error (1: the spread of honest uploads)")
    axes.grid(False)
    axes.set_xticks(range(len(attacks)), attacks, rotation=35, ha="right")
    point = breakdown.min(axis=1)
    axes.set_yticks(range(len(rules)), [f"{rule} (f ≤ {point[rule]})" for rule in rules])
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            text = "–" if np.isnan(value) else "> 1000" if value > 1000 else f"{value:.2g}"
            text = "< .001" if value < 0.001 else text
            axes.text(j, i, text, ha="center", va="center", fontsize=8)
    axes.set_title(
        f"Squared error against the honest mean, by attack and rule (with the f it survives)\n{title}\n"
        f"no rule can guarantee less than {least:.2g}; –: impossible",
        fontsize=10, loc="left",
    )  # fmt: skip
    return figure
