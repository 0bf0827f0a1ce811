"""Figures of runs, from their histories: how they converge, and what every hospital gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxfed.figures.axes import draw_no_skill, whole_rounds
from jaxfed.pages.axes import COLOURS, MARKERS, legend_below, plain_ticks, subplots
from jaxfed.records.history import At, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 16  # hospitals whose names have room under an axis


def convergence_figure(
    histories: Mapping[str, History], metric: str | None = None, split: str = "test"
) -> Figure:
    """Metric over rounds: mean over hospitals with its 10th to 90th percentile, and the worst hospital."""
    figure, axes = subplots(1)
    draw_convergence(axes[0], histories, metric, split)
    return figure


def hospitals_figure(
    histories: Mapping[str, History], metric: str | None = None, split: str = "test", at: At = "best"
) -> Figure:
    """Metric of every hospital, at the best or the last round: by name, or over its training rows."""
    figure, axes = subplots(1)
    draw_hospitals(axes[0], histories, metric, split, at)
    return figure


def comparison_figure(
    histories: Mapping[str, History], metric: str | None = None, split: str = "test", at: At = "best"
) -> Figure:
    """Both of them, of one run or of several; ``histories`` by the name of the run."""
    figure, axes = subplots(2)
    draw_convergence(axes[0], histories, metric, split, at)
    draw_hospitals(axes[1], histories, metric, split, at)
    return figure


def draw_convergence(
    axes: Axes, histories: Mapping[str, History], metric: str | None, split: str, at: At = "best"
) -> None:
    """The convergence panel, with a mark at the round that other panels show."""
    metric, split = _chosen(histories, metric, split)
    alone = len(histories) == 1
    for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
        frame = history.rounds_frame()
        frame = frame[frame["split"] == split]
        values = history.single[metric][:, :, history.splits.index(split)]
        known = ~np.isnan(values).all(axis=0)
        nothing = np.full((2, len(values)), np.nan)
        low, high = np.nanpercentile(values[:, known], [10, 90], axis=1) if known.any() else nothing
        rounds, mean = frame["round"].to_numpy(), frame[metric].to_numpy()
        axes.plot(rounds, mean, color=colour, lw=2, label="mean" if alone else name)
        axes.fill_between(
            rounds, low, high, color=colour, alpha=0.12, lw=0,
            label="10th to 90th percentile" if alone else None,
        )  # fmt: skip
        worst = frame[f"{metric}_worst"]
        axes.plot(rounds, worst, color=colour, lw=1, ls=":", label="worst hospital" if alone else None)
        e = history.chosen(at)
        label = f"round {rounds[e]}, {at} on validation rows" if alone and _selects(history, at) else None
        axes.plot(rounds[e], mean[e], "o", color=colour, ms=7, mec="white", label=label, zorder=5)
    draw_no_skill(axes, metric)
    whole_rounds(axes)
    axes.set_ylabel(f"{split} {_label(histories, metric)} of the hospitals")
    marked = ", selected round (dot)" if any(_selects(h, at) for h in histories.values()) else ""
    axes.set_title("Convergence" + ("" if alone else f": mean, 10-90 %, worst (dotted){marked}"), fontsize=11)
    legend_below(axes, columns=2 if alone else 3)


def draw_hospitals(
    axes: Axes, histories: Mapping[str, History], metric: str | None, split: str, at: At = "best"
) -> None:
    """The panel of hospitals: by name where they are few, else over their training rows."""
    metric, split = _chosen(histories, metric, split)
    first = next(iter(histories.values()))
    by_name = len(first.hospitals) <= FEW
    names = list(first.hospitals_frame(split, at)["train_rows"].sort_values().index)
    for number, (name, history) in enumerate(histories.items()):
        frame = history.hospitals_frame(split, at).reindex(names)
        beside = number - (len(histories) - 1) / 2  # markers of several runs stand side by side
        x = np.arange(len(frame)) + 0.16 * beside if by_name else frame["train_rows"] * 1.05**beside
        undefined = int(frame[metric].isna().sum())
        note = f" ({undefined} undefined)" if undefined else ""
        axes.scatter(
            x, frame[metric], s=46 if by_name else 18, marker=MARKERS[number % len(MARKERS)], lw=0.5,
            color=COLOURS[number % len(COLOURS)], edgecolor="white", alpha=0.9 if by_name else 0.65,
            label=name + note, zorder=3,
        )  # fmt: skip
        if by_name:
            missing = np.flatnonzero(frame[metric].isna())
            for place in missing:
                axes.annotate(
                    "n/a", (place + 0.16 * beside, 0.02), xycoords=("data", "axes fraction"), ha="center",
                    fontsize=7, rotation=90, color=COLOURS[number % len(COLOURS)],
                )  # fmt: skip
    draw_no_skill(axes, metric)
    if by_name:
        rows = first.hospitals_frame(split, at).loc[names, "train_rows"]
        labels = [f"{_short(name)}\n{n:,}" for name, n in rows.items()]
        turned = {"rotation": 45, "ha": "right"} if len(names) > 6 else {}
        axes.set_xticks(range(len(names)), labels, fontsize=8, **turned)  # type: ignore[arg-type]
        axes.set_xlabel("hospital, with its training rows")
    else:
        axes.set_xscale("log")
        plain_ticks(axes, "x")
        axes.set_xlabel("training rows of the hospital")
    axes.set_ylabel(f"{split} {_label(histories, metric)}")
    axes.set_title(f"Every hospital, {_when(histories, at)}", fontsize=11)
    if by_name and len(names) > 6:
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=3)
    else:
        legend_below(axes, below=0.22 if by_name else 0.16)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=150)


def _selects(history: History, at: At) -> bool:
    return at == "best" and history.validated


def _when(histories: Mapping[str, History], at: At) -> str:
    """Which round is shown."""
    if len(histories) == 1:
        return next(iter(histories.values())).at(at).split(",")[0]
    if any(_selects(history, at) for history in histories.values()):
        return "each run's best round on validation rows"
    return "last round"


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"


def _label(histories: Mapping[str, History], metric: str) -> str:
    return next(iter(histories.values())).scoring.label(metric)


def _chosen(histories: Mapping[str, History], metric: str | None, split: str) -> tuple[str, str]:
    history = next(iter(histories.values()))
    metric = metric or history.primary
    if metric not in history.single:
        raise ValueError(f"no metric {metric!r}; there are {', '.join(history.single)}")
    if split not in history.splits:
        raise ValueError(f"no split {split!r} was evaluated; there are {', '.join(history.splits)}")
    return metric, split
