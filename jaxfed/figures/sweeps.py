"""Figures of sweeps: which settings are good, how surely, and where training dies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.metrics.metric import Scoring
from jaxfed.figures.curves import curves_figure
from jaxfed.figures.heatmap import heatmap_figure
from jaxfed.figures.parallel import parallel_figure
from jaxfed.figures.settings import settings_of
from jaxfed.records.ranking import SEED, metrics_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("heatmap", "curves", "parallel")


def sweep_figure(
    frame: pd.DataFrame,
    swept: Mapping[str, np.ndarray],
    scoring: Scoring,
    metric: str,
    split: str,
    kind: str | None = None,
    x: str | None = None,
    y: str | None = None,
) -> Figure:
    """See :meth:`jaxfed.sweep.Sweep.plot`.

    Args:
        frame: see :meth:`jaxfed.sweep.Sweep.to_frame`.
        swept: the fields with the values they take, the seed included.
        scoring: what the metrics mean.
        metric, split, kind, x, y: what is shown.
    """
    fields = [name for name in swept if name != SEED]
    varied = [name for name in fields if len(swept[name]) > 1]
    if kind is None:
        kind = "heatmap" if x or y or len(varied) == 2 else "parallel" if len(varied) > 2 else "curves"
    _check(frame, metric, split, kind, x, y, fields)
    settings = settings_of(frame, [*swept], scoring, metric, split)
    if kind == "curves":
        return curves_figure(settings)
    if kind == "parallel":
        return parallel_figure(settings)
    rest = [name for name in (*varied, *fields) if name not in (x, y)]
    x = x or rest.pop(0)
    return heatmap_figure(settings, x, y or next(name for name in rest if name != x))


def _check(
    frame: pd.DataFrame, metric: str, split: str, kind: str, x: str | None, y: str | None, fields: list[str]
) -> None:
    problems = Problems("plot")
    splits, metrics = [*frame["split"].unique()], metrics_in(frame)
    problems.check(kind in KINDS, f"kind={kind!r}: {did_you_mean(kind, KINDS)}")
    problems.check(metric in metrics, f"metric={metric!r}: {did_you_mean(metric, metrics)}")
    problems.check(split in splits, f"split={split!r}: {did_you_mean(split, splits)}")
    for name, value in (("x", x), ("y", y)):
        problems.check(value is None or value in fields, f"{name}={value!r}: {did_you_mean(value, fields)}")
    problems.check(x is None or x != y, f"x={x!r} and y={y!r}: give two fields")
    few = kind == "heatmap" and len(fields) < 2
    problems.check(not few, f"kind='heatmap' needs two fields beside the seed, and there are {fields}")
    problems.check(kind != "parallel" or bool(fields), "kind='parallel' needs a field beside the seed")
    problems.raise_if_any()
