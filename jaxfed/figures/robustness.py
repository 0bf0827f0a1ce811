"""Figures of the benchmark of aggregators: heat maps, convergence with bands, what robustness costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.figures.axes import whole_rounds
from jaxfed.pages.axes import COLOURS, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = "worst"  # the column of a heat map that is not an attack
ROW = 3  # panels beside each other
RANGE = 0.2  # of the colours below the best score: what is worse has failed, and how much does not matter


def heatmaps(final: pd.DataFrame, metric: Mapping[str, str]) -> Figure:
    """Defence x attack for each setting: the score on test rows of honest hospitals, mean over seeds.

    Args:
        final: rows of setting, defence, attack, score, diverged.
        metric: the name of the metric of each setting.
    """
    settings, defences = final["setting"].unique(), final["defence"].unique()
    attacks = [*final["attack"].unique(), WORST]
    width, height = 0.6 + 0.62 * len(attacks), 1.5 + 0.34 * len(defences)
    figure, panels = _wrapped(len(settings), width, height, margin=1.6)
    for number, (axes, setting) in enumerate(zip(panels, settings, strict=True)):
        part = final[final["setting"] == setting]
        scores = part.pivot_table(index="defence", columns="attack", values="score", sort=False)
        scores = scores.reindex(index=defences)
        scores[WORST] = scores.min(axis=1)
        values = scores[attacks].to_numpy()
        top = np.nanmax(values)
        low = max(min(np.nanmin(values), top - 0.05), top - RANGE)
        image = axes.imshow(values, cmap="viridis", vmin=low, vmax=top, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "black" if value > low + 0.55 * (top - low) else "white"
                weight = "bold" if value == np.nanmax(values[:, j]) else "normal"
                text = f"{value:.3f}".removeprefix("0")
                axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour, weight=weight)
        axes.axvline(len(attacks) - 1.5, color="white", lw=3)
        axes.grid(False)
        axes.set_xticks(range(len(attacks)), attacks, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(len(defences)), defences if number % ROW == 0 else [], fontsize=8)
        axes.set_title(f"{setting}, {metric[setting]}", fontsize=10)
        extend = "min" if np.nanmin(values) < low else "neither"
        figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05, extend=extend).ax.tick_params(labelsize=7)
    return figure


def curves(chosen: pd.DataFrame, metric: Mapping[str, str]) -> Figure:
    """Score over rounds: a row of panels for each setting, a panel for each attack, a line for each defence.

    The line is the mean over seeds and the band their range; dashed is the mean without attackers.

    Args:
        chosen: rows of setting, defence, attack, seed, round, score.
        metric: the name of the metric of each setting.
    """
    settings, attacks = chosen["setting"].unique(), chosen["attack"].unique()
    styles = _styles(chosen["defence"].unique())
    figure, panels = grid(len(settings), len(attacks), 2.9, 2.3, margin=0.6)
    for row, setting in enumerate(settings):
        inside = chosen[chosen["setting"] == setting]
        reference = inside[(inside["defence"] == "mean") & (inside["attack"] == "none")]
        best = reference.groupby("round")["score"].mean()
        for column, attack in enumerate(attacks):
            axes = panels[row][column]
            part = inside[inside["attack"] == attack]
            for defence, style in styles.items():
                group = part[part["defence"] == defence].groupby("round")["score"]
                mean = group.mean()
                axes.plot(mean.index, mean, lw=1.5, label=defence, **style)
                axes.fill_between(mean.index, group.min(), group.max(), color=style["color"], alpha=0.1, lw=0)
            dashed: dict[str, Any] = {"color": "black", "lw": 1.2, "ls": (0, (4, 3)), "zorder": 5}
            axes.plot(best.index, best, label="mean, no attackers", **dashed)
            low = min(inside["score"].quantile(0.02), reference["score"].min())
            axes.set_ylim(low - 0.02, inside["score"].max() + 0.02)
            whole_rounds(axes)
            if row == 0:
                axes.set_title(attack, fontsize=10)
            if row < len(settings) - 1:
                axes.set_xlabel("")
            if column == 0:
                axes.set_ylabel(f"{setting}\n{metric[setting]}, honest hospitals", fontsize=9)
            else:
                axes.tick_params(labelleft=False)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def costs(worst: pd.DataFrame, metric: Mapping[str, str]) -> Figure:
    """What each defence loses to the mean without attackers: with none (open), in its worst case (filled).

    Args:
        worst: rows of setting, defence, costs, lost, worst attack.
        metric: the name of the metric of each setting.
    """
    settings = worst["setting"].unique()
    figure, panels = _wrapped(len(settings), 4.6, 1.2 + 0.3 * worst["defence"].nunique(), margin=0.4)
    for axes, setting in zip(panels, settings, strict=True):
        part = worst[worst["setting"] == setting].iloc[::-1].reset_index(drop=True)
        places = range(len(part))
        limit = max(0.05, 1.2 * float(part.loc[part["lost"] < RANGE, "lost"].max()))
        shown = part["lost"].clip(upper=limit)
        axes.hlines(places, part["costs"], shown, color="#b8b8b8", lw=1.5, zorder=1)
        axes.scatter(
            part["costs"], places, s=36, facecolor="white", edgecolor=COLOURS[0], lw=1.6, zorder=3,
            label="without attackers",
        )  # fmt: skip
        axes.scatter(shown, places, s=36, color=COLOURS[1], label="under the worst attack", zorder=2)
        for place, row in enumerate(part.to_dict("records")):
            beyond = f": {row['lost']:.2f} →" if row["lost"] > limit else ""
            axes.annotate(
                row["worst attack"] + beyond, (shown[place], place), xytext=(6, 0), va="center", fontsize=7,
                textcoords="offset points", color="#606060",
            )  # fmt: skip
        axes.axvline(0, color="#808080", lw=0.8)
        axes.set_yticks(places, part["defence"], fontsize=8)
        axes.set_xlabel(f"{metric[setting]} lost to the mean without attackers", fontsize=9)
        axes.set_title(setting, fontsize=10)
        axes.margins(x=0.25)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _styles(defences: Any) -> dict[str, dict[str, Any]]:
    """A colour for each rule, and a line style for what is before it."""
    import matplotlib

    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    rules = [*dict.fromkeys(name.split(" + ")[-1] for name in defences)]
    before = [*dict.fromkeys(name.rpartition(" + ")[0] for name in defences)]
    lines = ["-", "--", ":", "-."]
    return {
        name: {
            "color": colours[rules.index(name.split(" + ")[-1]) % 10],
            "ls": lines[before.index(name.rpartition(" + ")[0]) % 4],
        }
        for name in defences
    }


def _wrapped(count: int, width: float, height: float, margin: float) -> tuple[Figure, list[Any]]:
    """Panels of this size, at most ``ROW`` beside each other."""
    columns = min(count, ROW)
    figure, rows = grid(-(-count // columns), columns, width, height, margin)
    panels = [axes for row in rows for axes in row]
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]
