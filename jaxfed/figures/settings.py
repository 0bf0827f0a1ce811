"""What figures of sweeps have in common: settings in the order of merit, colours, scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.core.metrics.metric import Scoring
from jaxfed.records import ranking as choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

BEST = "#d1495b"
DEAD = "#8c8c8c"
COLOURS = "viridis"  # readable without colours, and for the colour-blind


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a sweep: its configurations, seeds taken together.

    Attributes:
        fields: the swept fields without the seed.
        table: one row per setting: its fields; ``score`` after the last round on the split that is shown
            (mean over living seeds, NaN without any); ``seeds`` that live; ``dead``; ``died``, the round in
            which the first seed did. Best first, where there are validation rows to choose on.
        rows: the table of the sweep for the split that is shown, with the number of the ``setting``.
        scoring: what the metrics mean.
        metric, split: what is shown.
        best: the first setting, or None where none could be chosen on validation rows.
    """

    fields: list[str]
    table: pd.DataFrame
    rows: pd.DataFrame
    scoring: Scoring
    metric: str
    split: str
    best: choice.Best | None

    @property
    def seeds(self) -> int:
        """How many seeds each setting has."""
        return int((self.table["seeds"] + self.table["dead"]).max())

    @property
    def label(self) -> str:
        """What is shown, in words."""
        return f"{self.split} {choice.label(self.metric, self.scoring)}"

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.scoring.higher_is_better(self.metric)

    @property
    def colours(self) -> str:
        """The colour map; bright is good."""
        return COLOURS if self.higher else f"{COLOURS}_r"

    def limits(self) -> tuple[float, float]:
        """Ends of the scale: a few bad settings must not hide how the good ones differ."""
        score = self.table["score"].to_numpy(float)
        score = np.sort(score[np.isfinite(score)])
        if len(score) < 2 or score[0] == score[-1]:
            middle = score[0] if len(score) else 0.0
            return middle - 0.01, middle + 0.01
        span = 3 * abs(np.median(score) - score[-1 if self.higher else 0]) or score[-1] - score[0]
        if self.higher:
            return max(score[0], score[-1] - span), score[-1]
        return score[0], min(score[-1], score[0] + span)

    def norm(self) -> Normalize:
        """Scores to colours."""
        from matplotlib.colors import Normalize

        return Normalize(*self.limits())

    def number(self, value: float) -> str:
        """A score with as many digits as tell the settings apart."""
        low, high = self.limits()
        digits = int(np.clip(2 - np.floor(np.log10(high - low)), 2, 4))
        return f"{value:.{digits}f}"

    def name(self, row: Any) -> str:
        """A setting in words; the last part of a path says enough where no other ends alike."""
        return ", ".join(f"{self.short(name)}={shown(row[name])}" for name in self.fields) or "all seeds"

    def short(self, field: str) -> str:
        """The last part of a path, or all of it where another ends alike."""
        last = field.rpartition(".")[2]
        return last if sum(name.rpartition(".")[2] == last for name in self.fields) == 1 else field


def settings_of(
    frame: pd.DataFrame, swept: Sequence[str], scoring: Scoring, metric: str, split: str
) -> Settings:
    """The settings of a sweep, chosen by ``metric`` on validation rows and shown on ``split``.

    Args:
        frame: see :meth:`jaxfed.sweep.Sweep.to_frame`.
        swept: names of the fields, the seed included.
        scoring: what the metrics mean.
        metric: a column of the table.
        split: which rows are shown.
    """
    fields = [name for name in swept if name != choice.SEED]
    frame = frame.assign(setting=choice.numbered(frame, fields))
    choose_on = "validation" if "validation" in frame["split"].to_numpy() else None
    on_split = choice.ranked(frame, fields, scoring, metric, split).set_index("setting")
    order, best = sorted(on_split.index), None
    if choose_on:
        ranks = choice.ranked(frame, fields, scoring, metric, choose_on)
        order = list(ranks["setting"])
        best = choice.best_of(frame, swept, scoring, metric, choose_on) if ranks["seeds"].iloc[0] else None
    firsts = frame.drop_duplicates("setting").set_index("setting")
    table = firsts.loc[order, fields].join(on_split[["score", "seeds", "dead"]])
    table["died"] = frame.groupby("setting")["diverged"].min()
    return Settings(fields, table, frame[frame["split"] == split], scoring, metric, split, best)


def shown(value: Any) -> str:
    """A field's value in words."""
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(choice.plain(value))


def is_number(values: Any) -> bool:
    """Whether a field's values are numbers."""
    return np.asarray(values).dtype.kind in "iuf"


def ordered(column: pd.Series) -> list:
    """The values of a field in ``Settings.table``: numbers by size, anything else as it was given."""
    unique = list(pd.unique(column.sort_index()))
    return sorted(unique) if is_number(column) else unique


def scale(values: Any) -> str:
    """``log`` for numbers that span a decade, ``symlog`` where some are 0, else ``linear``."""
    values = np.asarray(values, float)
    positive = values[values > 0]
    wide = len(positive) > 1 and positive.max() >= 10 * positive.min()
    if not wide or (values < 0).any():
        return "linear"
    return "log" if len(positive) == len(values) else "symlog"


def draw_scale(axis: Axes, which: str, values: Any) -> None:
    """Scale the ``x`` or ``y`` axis for a field, with ticks at its values where they are few."""
    unique = np.unique(np.asarray(values, float))
    kind = scale(unique)
    arguments = {"linthresh": unique[unique > 0].min()} if kind == "symlog" else {}
    getattr(axis, f"set_{which}scale")(kind, **arguments)
    if len(unique) <= 8:
        getattr(axis, f"set_{which}ticks")(unique, [shown(value) for value in unique])
        getattr(axis, f"{which}axis").minorticks_off()
