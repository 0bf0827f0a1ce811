"""The curves of a performance as tables: calibration and net benefit, of all rows and of hospitals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxfed.evaluation.calibration_curve import calibration_bins, calibration_curve
from jaxfed.evaluation.decision_curve import decision_curve
from jaxfed.records.predictions import Predictions
from jaxfed.results.performance_tables import POOLED


class Curved(NamedTuple):
    """What curves are made of: all rows together, and then the rows of the named hospitals.

    Attributes:
        names: of the curves, ``"(pooled)"`` first.
        logit, y: ``[N]`` of each row.
        segment: ``[N]`` int32 number of the name of each row.
    """

    names: list[str]
    logit: np.ndarray
    y: np.ndarray
    segment: np.ndarray


def calibration_curves(
    p: Predictions, hospitals: Sequence[str], bins: int, points: int, level: float
) -> pd.DataFrame:
    """See :meth:`jaxfed.results.performance.Performance.calibration`; ``p`` are rows with a model."""
    names, logit, y, segment = _curved(p, hospitals)
    binned = calibration_bins(logit, y, segment, len(names), bins, level)
    curve = calibration_curve(logit, y, segment, len(names), points, level)
    curve = {**curve, "rows": np.zeros((len(names), points), int)}
    columns = ("predicted", "observed", "low", "high", "rows")
    parts = [
        _tidy(names, {name: part[name] for name in columns}, kind=kind)
        for kind, part in (("bins", binned), ("curve", curve))
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame["observed"].notna()]
    order = {name: number for number, name in enumerate(names)}
    return frame.sort_values("hospital", key=lambda c: c.map(order), kind="stable", ignore_index=True)


def decision_curves(p: Predictions, hospitals: Sequence[str], at: np.ndarray, level: float) -> pd.DataFrame:
    """See :meth:`jaxfed.results.performance.Performance.decision_curve`; ``p`` are rows with a model.

    ``at [T]`` are the thresholds, float32.
    """
    names, logit, y, segment = _curved(p, hospitals)
    curve = decision_curve(logit, y, segment, len(names), jnp.asarray(at), level)
    where = {"threshold": np.broadcast_to(at, (len(names), len(at)))}
    columns = {name: curve[name] for name in ("net_benefit", "low", "high", "treat_all")}
    return _tidy(names, {**where, **columns, "treat_none": np.zeros((len(names), len(at)))})


def _curved(p: Predictions, hospitals: Sequence[str]) -> Curved:
    place = np.full(len(p.hospitals), -1)
    place[[p.hospitals.index(name) for name in hospitals]] = np.arange(1, len(hospitals) + 1)
    chosen = np.flatnonzero(place[p.owner] > 0)
    rows = np.concatenate([np.arange(len(p)), chosen])
    segment = np.concatenate([np.zeros(len(p)), place[p.owner[chosen]]]).astype(np.int32)
    return Curved([POOLED, *hospitals], p.outputs.reshape(len(p))[rows], p.y[rows], segment)


def _tidy(names: Sequence[str], columns: Mapping[str, Any], **constant: str) -> pd.DataFrame:
    """Arrays ``[names, n]`` as a table with a row for each entry."""
    arrays = {
        name: np.asarray(values, np.float64 if name != "rows" else int) for name, values in columns.items()
    }
    n = next(iter(arrays.values())).shape[1]
    return pd.DataFrame(
        {"hospital": np.repeat(names, n), **constant, **{name: v.reshape(-1) for name, v in arrays.items()}}
    )
