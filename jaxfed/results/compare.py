"""Comparison of several runs in a table such as papers print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, did_you_mean, listed
from jaxfed.records.history import At

if TYPE_CHECKING:
    from jaxfed.results.run import Run


def compare(
    runs: Mapping[str, Run], split: str = "test", at: At = "best", against: str | None = None
) -> pd.DataFrame:
    """One row per run.

    Args:
        runs: ``{name: run}`` on the same hospitals.
        split: which rows.
        at: each run's ``"best"`` round on validation rows (early stopping, for all alike), or its
            ``"last"``.
        against: name of a run; then ``better_off`` is the share of hospitals that are so against that run
            (a hospital where the metric is undefined does not count). Hospitals are paired by name.

    Raises:
        InvalidInput: there are no runs, they have different hospitals or tasks, a run was not evaluated on
            the split, or ``against`` is not one of them.

    Returns:
        The round; the first metric's mean over hospitals, worst, worst decile and best (of hospitals with at
        least five rows of either class, see :meth:`jaxfed.records.history.History.rounds_frame`), number of
        hospitals without it, and that of all rows together; the mean log loss (or MSE); milliseconds per
        round and seconds of compiling.
    """
    _check(runs, split, against)
    return pd.DataFrame.from_dict(
        {
            name: _row(run, split, at, runs[against] if against is not None else None)
            for name, run in runs.items()
        },
        orient="index",
    ).astype({"round": int, "undefined": int})


def _check(runs: Mapping[str, Run], split: str, against: str | None) -> None:
    problems = Problems("compare")
    histories: dict[str, Any] = {name: getattr(run, "history", None) for name, run in dict(runs).items()}
    problems.check(bool(histories), "no runs; give {name: run} with at least one")
    for name, history in histories.items():
        problems.check(history is not None, f"{name!r} is {type(runs[name]).__name__}; give a Run")
    problems.raise_if_any()
    first, *others = histories
    for name in others:
        for what in ("task", "hospitals"):
            a, b = (getattr(histories[key], what) for key in (first, name))
            differ = sorted({*a} ^ {*b}) if what == "hospitals" else [a, b] if a != b else []
            problems.check(
                not differ,
                f"runs {first!r} and {name!r} are of different {what} ({listed(differ, 4)}); give runs "
                "of the same",
            )
    for name, history in histories.items():
        problems.check(
            split in history.splits,
            f"split={split!r}: run {name!r} was evaluated on {', '.join(history.splits)}; give one of these",
        )
    problems.check(
        against is None or against in histories, f"against={against!r}: {did_you_mean(against, [*histories])}"
    )
    problems.raise_if_any()


def _row(run: Run, split: str, at: At, against: Run | None) -> dict[str, float]:
    history = run.history
    metric, e = history.primary, history.chosen(at)
    frame = run.to_frame()
    row = frame[frame["split"] == split].iloc[e]
    loss = history.scoring.loss
    columns = {
        "round": row["round"],
        metric: row[metric],
        "worst": row[f"{metric}_worst"],
        "worst_decile": row[f"{metric}_worst_decile"],
        "best": row[f"{metric}_best"],
        "undefined": row[f"{metric}_undefined"],
        "all_rows": row[f"{metric}_pooled"],
        loss: row[loss],
    }
    if against is not None:
        columns["better_off"] = _better_off(run, against, metric, split, at)
    columns["ms_per_round"] = 1e3 * run.provenance["seconds_per_round"]
    columns["compile_s"] = run.provenance["compile_seconds"]
    return columns


def _better_off(run: Run, against: Run, metric: str, split: str, at: At) -> float:
    if run is against:
        return float("nan")
    names = list(run.history.hospitals)
    ours, theirs = (r.hospitals(split, at)[metric].loc[names].to_numpy() for r in (run, against))
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    better = ours > theirs if run.history.scoring.higher_is_better(metric) else ours < theirs
    return float(better[both].mean()) if both.any() else float("nan")
