"""The best settings of a sweep: chosen on validation rows, reported on test rows.

Choosing on the rows that are reported would make the chosen settings look better than they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.metrics.metric import Scoring, parts
from jaxfed.records.history import At

SEED = "seed"
# Summaries of several hospitals in one number, of which clearly either less or more is better.
KINDS = {
    "": "mean over hospitals",
    "_weighted": "weighted mean over hospitals",
    "_worst": "worst hospital",
    "_worst_decile": "worst decile of hospitals",
    "_best": "best hospital",
    "_pooled": "pooled",
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Best:
    """The best settings of a sweep.

    Attributes:
        settings: ``{field: value}``, without the seed, for ``sim.replace(**best.settings)``.
        names: ``{field: number or text}``: the same as the sweep's table has them.
        round: rounds of training after which they are best.
        metric, by: the criterion of the choice: a column of ``Sweep.to_frame()``, and a split.
        edges: ``{field: "smallest" or "largest"}``, fields of which the best value is the last that was
            tried in this direction, so that better ones may lie beyond. 0 is no such edge.
        seeds: number of seeds over which the numbers are averaged.
        dead: number of these settings' seeds that diverged (or were stopped) before that round.
        scoring: what the metrics mean.
        rows: their rows of ``Sweep.to_frame()`` at that round, one for each remaining seed and split.
    """

    settings: dict[str, Any]
    names: dict[str, Any]
    round: int
    metric: str
    by: str
    edges: dict[str, str]
    seeds: int
    dead: int
    scoring: Scoring
    rows: pd.DataFrame

    def value(self, metric: str | None = None, split: str = "test") -> float:
        """Mean over seeds of any column of ``Sweep.to_frame()``; NaN if that split was not evaluated."""
        part = self.rows.loc[self.rows["split"] == split, metric or self.metric]
        return float(part.mean()) if part.notna().any() else float("nan")

    @property
    def validation(self) -> float:
        """The metric on validation rows."""
        return self.value(split="validation")

    @property
    def test(self) -> float:
        """The metric on test rows, which were not used for the choice."""
        return self.value(split="test")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={plain(value)}" for name, value in self.names.items())
        values = [f"{split} {self.value(split=split):.4g}" for split in self.rows["split"].unique()]
        name = label(self.metric, self.scoring)
        edge = f"; {self.at_edge()}" if self.edges else ""
        return f"Best({settings or 'the seed alone'}; {name}: {', '.join(values)}; {self.counted()}{edge})"

    def at_edge(self) -> str:
        """A text on the fields whose best value is the last that was tried."""
        named = [f"{name} is the {which} that was tried" for name, which in self.edges.items()]
        return f"{', '.join(named)}: try beyond it" if named else ""

    def counted(self) -> str:
        """The number of seeds, as text."""
        return f"{self.seeds} seed{'s' * (self.seeds > 1)}" + f", {self.dead} more diverged" * (self.dead > 0)


def ranked(
    frame: pd.DataFrame, fields: Sequence[str], scoring: Scoring, metric: str, by: str, at: At = "last"
) -> pd.DataFrame:
    """Settings, best first: ``setting`` (its number in the table), ``round``, ``score``, ``seeds``, ``dead``.

    The score is the mean over seeds that did not diverge; settings with fewer diverged seeds go first,
    whatever the others score.
    """
    frame = frame.assign(setting=numbered(frame, fields))
    part = frame[frame["split"] == by]
    if at == "last":
        part = part[part["round"] == part["round"].max()]
    score = part[metric].where(np.isfinite(part[metric]))
    groups = score.groupby([part["setting"], part["round"]])
    table = groups.agg(score="mean", seeds="count", total="size").reset_index()
    table["dead"] = table.pop("total") - table["seeds"]
    order = np.lexsort((table["score"] * (-1 if scoring.higher_is_better(metric) else 1), table["dead"]))
    return table.iloc[order].drop_duplicates("setting").reset_index(drop=True)


def ranking(
    frame: pd.DataFrame, fields: Sequence[str], scoring: Scoring, metric: str, by: str, at: At
) -> pd.DataFrame:
    """:func:`ranked` with the fields' values and the score on test rows."""
    frame = frame.assign(setting=numbered(frame, fields))
    settings = [name for name in fields if name != SEED]
    order = ranked(frame, fields, scoring, metric, by, at)
    firsts = frame.drop_duplicates("setting").set_index("setting")
    table = firsts.loc[order["setting"], settings].reset_index(drop=True)
    finite = frame[(frame["split"] == by) & np.isfinite(frame[metric])][["configuration", "round"]]
    values = frame.merge(finite, on=["configuration", "round"]).groupby(["setting", "round", "split"])[metric]
    places = pd.MultiIndex.from_frame(order[["setting", "round"]])
    table["round"] = order["round"]
    for split in dict.fromkeys([by, "test"]):
        if split in frame["split"].to_numpy():
            table[f"{split} {metric}"] = values.mean().xs(split, level="split").reindex(places).to_numpy()
            table[f"{split} sd"] = values.std().xs(split, level="split").reindex(places).to_numpy()
    return table.assign(seeds=order["seeds"], dead=order["dead"])


def best_of(
    frame: pd.DataFrame,
    fields: Sequence[str],
    scoring: Scoring,
    metric: str,
    by: str,
    at: At = "last",
    values: Mapping[str, Mapping[str, Any]] | None = None,
) -> Best:
    """The first of :func:`ranked`; ``values`` has the values of the fields that are named in the table."""
    first = ranked(frame, fields, scoring, metric, by, at).iloc[0]
    if not first["seeds"]:
        diverged = frame["diverged"].min()
        why = (
            f"; the first diverged in round {diverged:g}. Try smaller step sizes, or at='best' for the "
            "rounds before"
            if np.isfinite(diverged)
            else f", and none diverged: there are no {by} rows to measure it on. Give the hospitals some, "
            "jaxfed.data.resplit(hospitals, (0.7, 0.1, 0.2)), or choose by= another split"
        )
        raise InvalidInput(f"best: no configuration has a finite {metric} on {by} rows{why}")
    rows = frame[(numbered(frame, fields) == first["setting"]) & (frame["round"] == first["round"])]
    finite = rows.loc[(rows["split"] == by) & np.isfinite(rows[metric]), "configuration"]
    rows = rows[rows["configuration"].isin(finite)]
    names = {name: plain(rows[name].iloc[0]) for name in fields if name != SEED}
    named = {} if values is None else values
    return Best(
        settings={k: named[k][name] if k in named else name for k, name in names.items()},
        names=names,
        round=int(first["round"]),
        metric=metric,
        by=by,
        edges={name: which for name in names if (which := _edge(frame[name], names[name]))},
        seeds=int(first["seeds"]),
        dead=int(first["dead"]),
        scoring=scoring,
        rows=rows.reset_index(drop=True),
    )


def _edge(values: pd.Series, best: Any) -> str:
    """``"smallest"`` or ``"largest"`` if ``best`` is that among at least three numbers, else empty."""
    unique = values.unique()
    if values.dtype.kind not in "iuf" or len(unique) < 3 or best == 0:
        return ""
    return "smallest" if best == unique.min() else "largest" if best == unique.max() else ""


def check_choice(metric: str, by: str, frame: pd.DataFrame) -> None:
    """Raise one error if settings cannot be chosen by this metric on this split."""
    problems = Problems("best")
    splits = list(frame["split"].unique())
    problems.check(
        by != "test",
        "by='test': settings that are chosen on test rows look better there than they are; choose on "
        "by='validation' and read .test",
    )
    problems.check(
        by == "test" or by in splits,
        f"by={by!r}: the sweep was evaluated on {', '.join(splits)}; choose one of them, or sweep a "
        "Simulation with splits=('validation', 'test')",
    )
    metrics = metrics_in(frame)
    problems.check(metric in metrics, f"metric={metric!r}: {did_you_mean(metric, metrics)}")
    problems.raise_if_any()


def metrics_in(frame: pd.DataFrame) -> list[str]:
    """The columns by which settings can be chosen."""
    return [str(name) for name in frame if _is_criterion(str(name), frame)]


def _is_criterion(column: str, frame: pd.DataFrame) -> bool:
    name, kind = parts(column)
    return kind in KINDS and f"{name}_pooled" in frame


def label(metric: str, scoring: Scoring) -> str:
    """The text that names a column in figures, such as ``AUROC, worst hospital``."""
    name, kind = parts(metric)
    return f"{scoring.label(name)}, {KINDS[kind]}"


def numbered(frame: pd.DataFrame, fields: Sequence[str]) -> pd.Series:
    """The number of each row's setting; settings are told apart by all fields but the seed, in order."""
    settings = [name for name in fields if name != SEED]
    if not settings:
        return pd.Series(0, index=frame.index)
    return frame.groupby(settings, sort=False, dropna=False).ngroup()


def plain(value: Any) -> Any:
    """A field's value as a Python number or string; a float32 is given with as few digits as it needs."""
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
