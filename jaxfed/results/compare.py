"""Several runs side by side: a table that a paper would print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
        against: name of a run; then ``gain`` is the share of hospitals that are better off than there
            (a hospital where the metric is undefined does not count).

    Returns:
        The round; the first metric's mean over hospitals, worst, 10th percentile, best, undefined and
        pooled; the mean log loss (or MSE); milliseconds per round and seconds of compiling.
    """
    return pd.DataFrame.from_dict(
        {name: _row(run, split, at, runs[against] if against else None) for name, run in runs.items()},
        orient="index",
    ).astype({"round": int, "undefined": int})


def _row(run: Run, split: str, at: At, against: Run | None) -> dict[str, float]:
    history = run.history
    metric, e = history.primary, history.chosen(at)
    frame = run.to_frame()
    row = frame[frame["split"] == split].iloc[e]
    loss = history.scoring.loss
    found = {
        "round": row["round"],
        metric: row[metric],
        "worst": row[f"{metric}_worst"],
        "p10": row[f"{metric}_p10"],
        "best": row[f"{metric}_best"],
        "undefined": row[f"{metric}_undefined"],
        "pooled": row[f"{metric}_pooled"],
        loss: row[loss],
    }
    if against is not None:
        found["gain"] = _gain(run, against, metric, split, at)
    found["ms_per_round"] = 1e3 * run.provenance["seconds_per_round"]
    found["compile_s"] = run.provenance["compile_seconds"]
    return found


def _gain(run: Run, against: Run, metric: str, split: str, at: At) -> float:
    if run is against:
        return float("nan")
    ours, theirs = (r.hospitals(split, at)[metric].to_numpy() for r in (run, against))
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    better = ours > theirs if run.history.scoring.higher_is_better(metric) else ours < theirs
    return float(better[both].mean()) if both.any() else float("nan")
