"""A comparison in words: what joining is worth, in sentences, and a short table of HTML."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from jaxfed.results.arms import FEDERATED, LOCAL, POOLED

Comparison = Any  # jaxfed.results.comparison.Comparison, whose module imports this one


def sentences(c: Comparison, few: int) -> list[str]:
    """The result: means of the arms, what the federation gains, how much of the gap it closes, and notes.

    ``few`` are the events and other rows that a hospital needs to be counted.
    """
    table, label = c.table, c.scoring.label(c.metric)
    means = ", ".join(f"{arm} {mean:.3f}" for arm, mean in table[c.metric].items())
    known = len(c.sizes) - int(table["undefined"].min())
    texts = [f"Mean {label} of {known} hospitals: {means}."]
    left_out = len(c.sizes) - int(c.counted.sum())
    if {LOCAL, FEDERATED} <= {*c.arms}:
        row = c.differences().loc[FEDERATED]
        texts.append(
            f"Joining the federation changes {label} by {row['gain']:+.3f} (95 % interval "
            f"{row['low']:+.3f} to {row['high']:+.3f}, over {row['hospitals']:.0f} hospitals) against "
            f"training alone; {row['share'] * row['hospitals']:.0f} of {row['hospitals']:.0f} hospitals "
            f"gain (interval {row['share_low']:.0%} to {row['share_high']:.0%})."
        )
    if {LOCAL, FEDERATED, POOLED} <= {*c.arms}:
        gap = c.gap_closed()
        share = f"{gap.value:.0%}" if np.isfinite(gap.value) else "an unknown part"
        ends = "no interval: pooled and local-only training cannot be told apart on these hospitals"
        if np.isfinite(gap.low):
            ends = f"interval {gap.low:.0%} to {gap.high:.0%}"
        texts.append(f"The federation closes {share} of the gap to pooled data ({ends}).")
    if left_out and "events" in c.sizes:
        texts.append(
            f"Intervals and the worst value leave out {left_out} of the hospitals, with fewer than {few} "
            "events or other rows in the test set."
        )
    return [*texts, *c.notes]


def html(c: Comparison) -> str:
    """The table of arms, and the sentences."""
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in c.sentences())
    return c.table.to_html(float_format="{:.3f}".format, border=0) + text
