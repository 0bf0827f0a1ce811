"""Figures of runs, from their histories: how they converge, and what every hospital gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxfed.records.history import At, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#d1495b", "#5c8d3f", "#8a5aa8", "#c98b1b", "#4d4d4d")


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
    """Metric of every hospital, at the last round or the best on validation rows, over its size."""
    figure, axes = subplots(1)
    draw_hospitals(axes[0], histories, metric, split, at)
    return figure


def comparison_figure(
    histories: Mapping[str, History], metric: str | None = None, split: str = "test"
) -> Figure:
    """Both of them, of one run or of several; ``histories`` by the name of the run."""
    figure, axes = subplots(2)
    draw_convergence(axes[0], histories, metric, split)
    draw_hospitals(axes[1], histories, metric, split)
    return figure


def draw_convergence(axes: Axes, histories: Mapping[str, History], metric: str | None, split: str) -> None:
    """The convergence panel."""
    metric, split = _chosen(histories, metric, split)
    worst = "worst" if len(histories) == 1 else None
    for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
        frame = history.rounds_frame()
        frame = frame[frame["split"] == split]
        s = history.splits.index(split)
        values = history.single[metric][:, :, s]
        known = ~np.isnan(values).all(axis=0)
        nothing = np.full((2, len(values)), np.nan)
        low, high = np.nanpercentile(values[:, known], [10, 90], axis=1) if known.any() else nothing
        axes.plot(frame["round"], frame[metric], color=colour, lw=2, label=name if worst is None else "mean")
        axes.fill_between(
            frame["round"], low, high, color=colour, alpha=0.12, lw=0,
            label=None if worst is None else "10th to 90th percentile",
        )  # fmt: skip
        axes.plot(frame["round"], frame[f"{metric}_worst"], color=colour, lw=1, ls=":", label=worst)
    axes.set_xlabel("rounds")
    axes.set_ylabel(f"{split} {_label(histories, metric)} of the hospitals")
    axes.set_title("Convergence" + ("" if worst else ": mean, 10-90 %, worst (dotted)"))
    axes.legend(frameon=False)


def draw_hospitals(
    axes: Axes, histories: Mapping[str, History], metric: str | None, split: str, at: At = "best"
) -> None:
    """The panel of hospitals."""
    metric, split = _chosen(histories, metric, split)
    for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
        frame = history.hospitals_frame(split, at)
        undefined = int(frame[metric].isna().sum())
        note = f" ({undefined} undefined)" if undefined else ""
        axes.scatter(
            frame["train_rows"], frame[metric], s=14, color=colour, alpha=0.6, lw=0, label=name + note
        )
    axes.set_xscale("log")
    axes.set_xlabel("training rows of the hospital")
    axes.set_ylabel(f"{split} {_label(histories, metric)}")
    axes.set_title("Every hospital")
    axes.legend(frameon=False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=150)


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


def subplots(count: int, width: float = 6.0) -> tuple[Figure, list[Axes]]:
    """A row of panels of ``width`` inches."""
    from jaxfed.figures.canvas import Canvas

    figure = Canvas(width * count, 4.0)
    axes = [figure.add_subplot(1, count, i + 1) for i in range(count)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, lw=0.6)
    return figure, axes
