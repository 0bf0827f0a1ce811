"""Figures of attacks and audits, from arrays and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.pages.axes import COLOURS, MARKERS, legend_below, plain_ticks, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"loss": "loss threshold", "lira": "LiRA"}
GREY = "#808080"
FEW = 20  # hospitals whose names have room


def membership_figure(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], table: pd.DataFrame, everyone: str
) -> Figure:
    """ROC curves on logarithmic axes, and the area under them in every hospital with its interval.

    Args:
        curves: false and true positive rates by attack.
        table: see ``Membership.table``.
        everyone: the name of the row over all hospitals.
    """
    figure, (left, right) = subplots(2, width=5.4)
    least = 1.0
    for colour, (attack, (false, true)) in zip(COLOURS, curves.items(), strict=False):
        positive = false[false > 0]
        least = min(least, positive[0] if len(positive) else 1.0)
        area = float(table["auroc"][attack, everyone])
        name = f"{NAMES.get(attack, attack)}, AUROC {area:.2f}"
        left.step(false, true, where="post", color=colour, lw=1.8, label=name)
    low = min(least, 0.01) / 2
    left.plot([low, 1], [low, 1], color=GREY, lw=0.9, ls=(0, (5, 4)))
    left.set(xscale="log", yscale="log", xlim=(low, 1.05), ylim=(low, 1.05))
    for which in "xy":
        plain_ticks(left, which)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title="Who was in the training data?")
    legend_below(left, 2)
    hospitals = [name for name in table.index.unique("hospital") if name != everyone]
    for i, (colour, attack) in enumerate(zip(COLOURS, curves, strict=False)):
        part = table.loc[attack].loc[hospitals]
        place = np.arange(len(part)) + 0.16 * (i - (len(curves) - 1) / 2)
        bars = np.abs(part[["auroc_low", "auroc_high"]].to_numpy().T - part["auroc"].to_numpy())
        right.errorbar(
            place, part["auroc"], bars, fmt=MARKERS[i], ms=5, lw=1.2, color=colour,
            label=NAMES.get(attack, attack),
        )  # fmt: skip
    right.axhline(0.5, color=GREY, lw=0.9, ls=(0, (5, 4)))
    right.set(ylabel="AUROC, 95% interval", title="Hospital by hospital")
    named = len(hospitals) <= FEW
    right.set_xticks(range(len(hospitals)), hospitals if named else [""] * len(hospitals))
    if len(hospitals) > 5:
        right.tick_params(axis="x", rotation=60)
    return figure


def audit_figure(
    scores: np.ndarray,
    included: np.ndarray,
    table: pd.DataFrame,
    claim: float,
    delta: float,
    confidence: float,
) -> Figure:
    """Histograms of the canaries' scores, and the bound over the number of guesses beside the claim."""
    figure, (left, right) = subplots(2, width=5.4)
    edges = np.histogram_bin_edges(scores[np.isfinite(scores)], 40)
    for colour, there, name in ((COLOURS[1], included, "in the data"), (COLOURS[0], ~included, "left out")):
        left.hist(scores[there], [*edges], color=colour, alpha=0.55, label=f"{name} ({there.sum()})")
    left.set(xlabel="score of the canary", ylabel="canaries", title="What the model says of canaries")
    legend_below(left, 2)
    right.plot(table["guesses"], table["bound"], color=COLOURS[1], lw=1.6, marker="o", ms=5)
    top = 1.15 * max(float(table["bound"].max()), claim if np.isfinite(claim) else 0, 0.1)
    if np.isfinite(claim):
        right.axhline(claim, color=COLOURS[5], lw=1.2)
        right.annotate(
            f"claimed: {claim:.3g}", (1, claim), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            fontsize=9,
        )  # fmt: skip
    right.set(
        xlabel="canaries guessed", ylabel=f"epsilon is at least, {confidence:.0%} confidence",
        title=f"What the guesses prove at delta = {delta:g}", ylim=(0, top),
    )  # fmt: skip
    return figure


def inversion_figure(table: pd.DataFrame, spread: np.ndarray, units: str) -> Figure:
    """Every number of the rebuilt rows over the true one; the first row feature by feature.

    Args:
        table: see ``Inversion.table``.
        spread: ``[features]`` standard deviations.
        units: what the numbers are measured in.
    """
    figure, (left, right) = subplots(2, width=5.4)
    rows = list(dict.fromkeys(table["row"]))
    scale = np.tile(np.where(spread > 0, spread, 1), len(rows))
    true, rebuilt = table["true"].to_numpy() / scale, table["rebuilt"].to_numpy() / scale
    for colour, row in zip(COLOURS * (1 + len(rows) // len(COLOURS)), rows, strict=False):
        at = (table["row"] == row).to_numpy()
        left.scatter(true[at], rebuilt[at], s=22, color=colour, alpha=0.8, lw=0)
    ends = np.array(left.get_xlim())
    left.plot(ends, ends, color=GREY, lw=0.9, ls=(0, (5, 4)), zorder=1)
    left.set(
        xlabel="true number, in standard deviations", ylabel="rebuilt number",
        title=f"{len(rows)} rebuilt row" + "s" * (len(rows) > 1),
    )  # fmt: skip
    first = table.iloc[: min(FEW, len(spread))]
    place = np.arange(len(first))[::-1]
    error = (rebuilt - true)[: len(first)]
    right.axvline(0, color=COLOURS[5], lw=0.9)
    right.scatter(error, place, s=30, color=COLOURS[1], lw=0, zorder=3)
    labels = [
        f"{feature}: {_plain(true, sd)}, {_plain(rebuilt, sd)}"
        for feature, true, rebuilt, sd in zip(
            first["feature"], first["true"], first["rebuilt"], scale, strict=False
        )
    ]
    right.set_yticks(place, labels, fontsize=8)
    far = max(1.0, 1.1 * float(np.nanmax(np.abs(error), initial=0)))
    right.set(
        xlabel="error, in standard deviations", xlim=(-far, far),
        title=f"Row {rows[0]}: true, rebuilt ({units})",
    )  # fmt: skip
    return figure


def _plain(value: float, spread: float) -> str:
    """A number with digits that matter beside the spread of its feature."""
    digits = max(0, 2 - int(np.floor(np.log10(spread))))
    return f"{round(float(value), digits) + 0.0:.10g}"


def prevalence_figure(table: pd.DataFrame, label: str) -> Figure:
    """The share of a class that an upload tells, over the true one.

    Args:
        table: see ``Prevalence.table``.
        label: the class.
    """
    figure, (axes,) = subplots(1, width=5.0, height=4.6)
    methods = [name for name in ("bias", "regression") if name in table and table[name].notna().any()]
    for colour, marker, method in zip(COLOURS, MARKERS, methods, strict=False):
        error = np.abs(table[method] - table["true"]).mean()
        axes.scatter(
            table["true"], table[method], color=colour, marker=marker, s=30, alpha=0.8, lw=0,
            label=f"{method}, mean error {error:.3f}",
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=(0, (5, 4)))
    axes.set(
        xlabel=f"share of {label!r} in the hospital", ylabel="share that its upload tells",
        title="What one upload tells of a hospital", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03),
    )  # fmt: skip
    legend_below(axes, 1)
    return figure
