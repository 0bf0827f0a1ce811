"""The tables of a performance: metrics of hospitals, of all rows and over hospitals, and their spread."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxfed.evaluation.across import across
from jaxfed.evaluation.bootstrap import Statistic, bootstrap, percentile_interval
from jaxfed.evaluation.intervals import Estimate
from jaxfed.evaluation.pooling import RandomEffects, pool_auroc
from jaxfed.evaluation.tables import Estimates, Marks, Table
from jaxfed.evaluation.variance import variance_components
from jaxfed.records.predictions import Predictions
from jaxfed.results.performance_text import notes

POOLED = "(pooled)"


def hospitals_table(
    p: Predictions,
    modelled: Predictions,
    estimates: Estimates,
    marks: Marks,
    *,
    two_classes: bool,
    minimum_events: int,
) -> pd.DataFrame:
    """The rows of :attr:`jaxfed.results.performance.Performance.hospitals`, and one of all rows together.

    Args:
        p: of H hospitals.
        modelled: the rows of those that have a model.
        estimates: ``{metric: Estimate}`` with arrays ``[H + 1]``; the last is of all rows together.
        marks: ``{mark: [H + 1]}`` bool.
        two_classes: whether hospitals have events.
        minimum_events: rows of each class that a hospital needs to count; without classes, rows.
    """
    H = len(p.hospitals)
    index = pd.Index([*p.hospitals, POOLED], name="hospital")
    count = np.bincount(p.owner, minlength=H)
    trained = np.bincount(modelled.owner, minlength=H)
    frame = pd.DataFrame({"rows": np.append(count, len(modelled))}, index=index)
    few = np.where(frame["rows"] < minimum_events, frame["rows"], -1)
    if two_classes:
        events = np.bincount(p.owner, p.y > 0, minlength=H).astype(int)
        frame["events"] = np.append(events, int((modelled.y > 0).sum()))
        frame["non_events"] = frame["rows"] - frame["events"]
        frame["prevalence"] = frame["events"] / frame["rows"].where(frame["rows"] > 0)
        few = frame[["events", "non_events"]].min(axis=1).to_numpy()
        few = np.where(few < minimum_events, few, -1)
    columns = {
        f"{metric}{end}": values
        for metric, estimate in estimates.items()
        for end, values in zip(("", "_low", "_high"), estimate[:3], strict=True)
    }
    frame = pd.concat([frame, pd.DataFrame(columns, index=index)], axis=1)
    model = np.append((trained > 0) | (count == 0), True)
    frame["counted"] = (few < 0) & model & ~marks["broken"]
    frame.loc[POOLED, "counted"] = True
    frame["note"] = notes(frame, few, model, marks, minimum_events)
    return frame


def across_table(
    hospitals: pd.DataFrame, p: Predictions, estimates: Estimates, table: Table, level: float
) -> pd.DataFrame:
    """See :attr:`jaxfed.results.performance.Performance.across`; ``hospitals`` is its table of hospitals."""
    counted = hospitals["counted"].to_numpy()
    rows = hospitals["rows"].to_numpy()
    columns = {}
    for metric in estimates:
        estimate = Estimate(*(values[:-1] for values in estimates[metric]))
        pooled = None
        if metric == "auroc":
            counts = _positives_and_negatives(hospitals, p, table.two_classes)
            pooled = _pooled_auroc(estimate, counted, counts, level)
        columns[metric] = across(
            estimate, rows, counted, p.hospitals,
            higher=metric in table.higher, ideal=table.ideal.get(metric),
            scale=table.scales.get(metric, "identity"), pooled=pooled, level=level,
        )  # fmt: skip
    frame = pd.DataFrame.from_dict(columns, orient="index")
    frame.index.name = "metric"
    return frame


def _pooled_auroc(
    estimate: Estimate, counted: np.ndarray, counts: tuple[np.ndarray, np.ndarray], level: float
) -> RandomEffects:
    with jax.enable_x64(True):
        area = jnp.where(jnp.asarray(counted), jnp.asarray(estimate.value), jnp.nan)
        pooled = pool_auroc(area, *map(jnp.asarray, counts), jnp.asarray(estimate.se), level=level)
        return RandomEffects(*(np.asarray(x) for x in pooled))


def _positives_and_negatives(
    hospitals: pd.DataFrame, p: Predictions, two_classes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """``[H]`` rows of each class; of several classes those of an average one, and of the others."""
    if two_classes:
        return hospitals["events"].to_numpy(float), hospitals["non_events"].to_numpy(float)
    rows = hospitals["rows"].to_numpy(float)
    pairs = np.unique(np.stack([p.owner, p.y]), axis=1)
    classes = np.bincount(pairs[0].astype(int), minlength=len(rows))
    average = rows / np.maximum(classes, 1)
    return average, rows - average


def bootstrap_table(
    p: Predictions, statistic: Statistic, replicates: int, seed: int, level: float
) -> pd.DataFrame:
    """See :meth:`jaxfed.results.performance.Performance.bootstrap`; ``p`` are rows with a model."""
    point, drawn = bootstrap(
        statistic, p.outputs, p.y, p.owner, len(p.hospitals), replicates=replicates, seed=seed
    )
    table: dict[str, dict[str, float]] = {}
    for metric in (name for name in point if f"{name}_pooled" in point):
        value = point[metric][None]
        columns = {
            "macro": (_mean(value, None), _mean(drawn[metric], None)),
            "weighted": (_mean(value, point["rows"][None]), _mean(drawn[metric], drawn["rows"])),
            "pooled": (point[f"{metric}_pooled"], drawn[f"{metric}_pooled"]),
        }
        table[metric] = {}
        for name, (middle, replicated) in columns.items():
            low, high = percentile_interval(replicated, level)
            numbers = (np.ravel(middle)[0], low, high)
            ends = (name, f"{name}_low", f"{name}_high")
            table[metric] |= {end: float(x) for end, x in zip(ends, numbers, strict=True)}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("metric")


def variance_table(seeds: Sequence[Estimate], counted: np.ndarray) -> pd.DataFrame:
    """See :meth:`jaxfed.results.performance.Performance.variance`.

    Args:
        seeds: the metric in runs with different seeds, arrays ``[H + 1]``.
        counted: ``[H]`` bool, the hospitals that enter.
    """
    centre = np.stack([np.where(counted, estimate.centre[:-1], np.nan) for estimate in seeds])
    within = np.stack([estimate.se[:-1] ** 2 for estimate in seeds])
    parts = variance_components(centre, within)
    frame = pd.DataFrame({"variance": pd.Series(parts, dtype=float)}).rename_axis("source")
    frame["sd"] = np.sqrt(frame["variance"])
    frame["share"] = frame["variance"] / frame["variance"].sum()
    return frame


def _mean(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Means over the last axis of what is defined."""
    known = np.isfinite(values)
    share = known * (1.0 if weight is None else weight)
    total = share.sum(-1)
    mean = np.where(known, values, 0.0)
    return np.where(total > 0, (mean * share).sum(-1) / np.where(total > 0, total, 1), np.nan)
