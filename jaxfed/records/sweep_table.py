"""The tidy table of a sweep: one row per configuration, evaluated round and split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.core.metrics.metric import Scoring
from jaxfed.core.tasks import known_scoring
from jaxfed.records.columns import across_hospitals

if TYPE_CHECKING:
    from xarray import Dataset

AXES = ("round", "split", "hospital")
CONFIG = "config"  # the only swept dimension of a sweep that is not a grid
POOLED = "_pooled"
RARER = "rarer"  # rows of the rarer of two classes
SCORING = "scoring"  # the attribute of a sweep that says what its metrics mean


def fields_of(data: Dataset) -> dict[str, np.ndarray]:
    """The swept fields with their values, in the order given."""
    axes = data["diverged"].dims
    across = [str(name) for name in axes if name != CONFIG]
    along = [str(name) for name, c in data.coords.items() if c.dims == (CONFIG,) and name != CONFIG]
    return {name: pd.unique(data[name].to_numpy()) for name in (*across, *along)}


def metrics_of(data: Dataset) -> tuple[str, ...]:
    """Names of the metrics that every hospital has."""
    return tuple(str(name) for name, values in data.data_vars.items() if {"round", *AXES} <= {*values.dims})


def scoring_of(data: Dataset) -> Scoring | None:
    """The meaning of the metrics, from the attributes or else from their names; None if neither gives it."""
    noted = data.attrs.get(SCORING)
    return known_scoring(metrics_of(data)) if noted is None else Scoring.from_json(noted)


def configurations(data: Dataset) -> pd.DataFrame:
    """One row per configuration: its number, its fields, ``diverged`` and ``rounds_done``."""
    diverged = data["diverged"]
    columns: dict[str, Any] = {"configuration": np.arange(diverged.size)}
    columns |= {
        name: data[name].broadcast_like(diverged).transpose(*diverged.dims).to_numpy().ravel()
        for name in fields_of(data)
    }
    columns["diverged"] = diverged.to_numpy().ravel()
    columns["rounds_done"] = data["rounds_done"].transpose(*diverged.dims).to_numpy().ravel()
    return pd.DataFrame(columns)


def tidy(data: Dataset, scoring: Scoring) -> pd.DataFrame:
    """See :meth:`jaxfed.sweep.Sweep.to_frame`."""
    table, axes = configurations(data), data["diverged"].dims
    K, E, S, C = len(table), *(data.sizes[name] for name in AXES)
    rows = data["rows"].broadcast_like(data["diverged"]).transpose(*axes, "split", "hospital")
    weight = rows.to_numpy().reshape(K, 1, S, C)
    rarer = None
    if RARER in data:
        fewest = data[RARER].broadcast_like(data["diverged"]).transpose(*axes, "split", "hospital")
        rarer = fewest.to_numpy().reshape(K, 1, S, C)
    # metrics of a configuration after it diverged are not results
    over = data["round"].to_numpy() >= table["diverged"].to_numpy()[:, None]
    columns: dict[str, Any] = {}
    for name in metrics_of(data):
        single = data[name].transpose(*axes, *AXES).to_numpy().reshape(K, E, S, C)
        pooled = data[name + POOLED].transpose(*axes, *AXES[:2]).to_numpy().reshape(K, E, S)
        measured = np.where(over[:, :, None, None], np.nan, single)
        columns |= across_hospitals(name, measured, weight, scoring, rarer)
        columns[name + POOLED] = np.where(over[:, :, None], np.nan, pooled).astype(np.float64)
    where = np.indices((K, E, S)).reshape(3, -1)
    frame = table.iloc[where[0]].reset_index(drop=True)
    ends = frame[["diverged", "rounds_done"]]
    frame = frame.drop(columns=["diverged", "rounds_done"])
    frame["round"] = data["round"].to_numpy()[where[1]]
    frame["split"] = data["split"].to_numpy()[where[2]]
    numbers = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
    return pd.concat([frame, numbers, ends], axis=1)
