"""Metrics of subgroups of patients or hospitals, and the gaps between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, did_you_mean, listed
from jaxfed.core.metrics.metric import Metric
from jaxfed.evaluation.intervals import Estimate, difference
from jaxfed.evaluation.tables import Table, estimates_of
from jaxfed.records.predictions import Predictions, with_model

SIZE = "hospital size"
THIRDS = ("small", "medium", "large")
MOST = 50  # groups


def groups_of(by: Any, p: Predictions, sizes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of the groups, and the number of the group of each row, -1 where there is no value."""
    if isinstance(by, str):
        if by != SIZE:
            raise InvalidInput(
                f"subgroups: by={by!r}: give {SIZE!r}, {{hospital: group}}, or a value for each row of the "
                f"data set, such as data.x[:, data.features.index({by!r})]"
            )
        place = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
        third = np.minimum(place * 3 // len(sizes), 2)
        if len(sizes) < 3:
            raise InvalidInput(f"subgroups: by={SIZE!r} needs three hospitals; there are {len(sizes)}")
        return [*THIRDS], third[p.owner]
    if isinstance(by, Mapping):
        missing = [name for name in p.hospitals if name not in by]
        if missing:
            raise InvalidInput(
                f"subgroups: by has no value for hospital {listed(missing, 4)}; give one for each hospital, "
                "None to leave it out"
            )
        values = pd.Series([by[name] for name in p.hospitals], dtype=object).to_numpy()[p.owner]
    else:
        column = pd.Series(by).to_numpy() if np.ndim(by) == 1 else None
        if column is None or len(column) <= p.row.max():
            given = f"the shape {np.shape(by)}" if column is None else f"{len(column)} values"
            raise InvalidInput(
                f"subgroups: by has {given}; give one value for each row of the data set, in its order (at "
                f"least {p.row.max() + 1})"
            )
        values = column[p.row]
    codes, names = pd.factorize(pd.Series(values), sort=True)
    if len(names) > MOST:
        raise InvalidInput(
            f"subgroups: by has {len(names)} different values; give at most {MOST} groups, such as "
            "pandas.cut(age, [0, 50, 65, 120]).astype(str)"
        )
    return [_name(value) for value in names], codes


def subgroup_table(
    p: Predictions,
    table: Table,
    users: Mapping[str, Metric],
    groups: list[str],
    codes: np.ndarray,
    reference: str | None,
    *,
    threshold: float,
    level: float,
) -> pd.DataFrame:
    """See :meth:`jaxfed.results.performance.Performance.subgroups`; groups as of :func:`groups_of`."""
    if reference is not None and reference not in groups:
        raise InvalidInput(f"subgroups: reference={reference!r}: {did_you_mean(reference, groups)}")
    G = len(groups)
    trained = with_model(p)
    code_of = np.full(p.row.max() + 1, -1)
    code_of[p.row] = codes
    code = code_of[trained.row]
    # as many segments as for hospitals where that is enough: their compiled program is used again
    segments = max(G, len(p.hospitals))
    given = (table, users, trained.outputs, trained.y, code, segments)
    values, _ = estimates_of(*given, threshold=threshold, level=level)
    known = code >= 0
    y, owner, code = trained.y[known], trained.owner[known], code[known]
    rows = np.bincount(code, minlength=G)
    frame = pd.DataFrame({"rows": rows}, index=pd.Index(groups, name="group"))
    frame["hospitals"] = [len(np.unique(owner[code == g])) for g in range(G)]
    if table.two_classes:
        frame["events"] = np.bincount(code, y > 0, minlength=G).astype(int)
        frame["non_events"] = frame["rows"] - frame["events"]
        frame["prevalence"] = frame["events"] / frame["rows"].where(frame["rows"] > 0)
    base = int(rows.argmax()) if reference is None else groups.index(reference)
    columns: dict[str, np.ndarray] = {}
    for metric, estimate in values.items():
        ends = ("", "_low", "_high")
        columns |= {f"{metric}{end}": v[:G] for end, v in zip(ends, estimate[:3], strict=True)}
        compared = difference(Estimate(*(v[:G] for v in estimate)), Estimate(*(v[base] for v in estimate)))
        for end, gap in zip(ends, compared, strict=True):
            gap = np.array(gap, np.float64)
            gap[base] = 0 if not end and np.isfinite(estimate.value[base]) else np.nan
            columns[f"{metric}_gap{end}"] = gap
    frame["reference"] = np.arange(G) == base
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def _name(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)
