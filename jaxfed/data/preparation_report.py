"""What was done to each column of a dataset, as a table to read and to show around."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, listed
from jaxfed.data.encoding import FIRST, Column, Encoding
from jaxfed.data.preparation import Step, measured

LEVELS = 6  # of a category that are listed


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PreparationReport:
    """A row per column; printed in two lines each, and shown in notebooks as a table.

    Attributes:
        table: ``kind``, ``missing`` (share of training rows), ``done`` (what was done), ``numbers`` and
            ``features`` (how many came of it).
    """

    table: pd.DataFrame

    def __repr__(self) -> str:
        name, kind = (max(map(len, [*texts, ""])) for texts in (self.table.index, self.table["kind"]))
        lines = []
        for column, row in self.table.iterrows():
            missing = "" if np.isnan(row["missing"]) else f"{row['missing']:.1%} missing"
            start = f"{column:{name}}  {row['kind']:{kind}}  {missing:>13}  "
            lines.append(f"{start}{row['done']}".rstrip())
            lines += [f"{'':{len(start)}}{row['numbers']}"] if row["numbers"] else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return str(self.table.to_html(formatters={"missing": "{:.1%}".format}, border=0))


def preparation_report(prepared: Any) -> PreparationReport:
    """What was done to each column, with its numbers.

    Args:
        prepared: a dataset that was imputed, winsorised or standardised, or made by
            :func:`~jaxfed.data.preparing.prepare`; or a :class:`jaxfed.Run` of it, also from files.

    Raises:
        InvalidInput: nothing was done to it, or its features have no names.
    """
    source = getattr(prepared, "inputs", prepared)
    steps, features = getattr(source, "steps", ()), getattr(source, "features", ())
    if not steps or not features:
        raise InvalidInput(
            f"preparation_report: {type(prepared).__name__} has no features with names that were prepared"
        )
    names = measured(features, steps)
    encoding = steps[0] if isinstance(steps[0], Encoding) else None
    columns = [Column(name, "number") for name in names] if encoding is None else encoding.columns
    rows, place = {}, 0
    for column in columns:
        done, numbers = _encoded(column)
        for step in steps:
            if isinstance(step, Step) and column.kind != "category":
                more, value = _step(step, place)
                done += more
                numbers += value
        flags = sum(place in step.flagged for step in steps if isinstance(step, Step))
        rows[column.name] = {
            "kind": column.kind,
            "missing": np.nan if encoding is None else column.lacking / max(encoding.rows, 1),
            "done": "; ".join(done),
            "numbers": "; ".join(numbers),
            "features": len(column.features) + (0 if column.kind == "category" else flags),
        }
        place += len(column.features)
    return PreparationReport(pd.DataFrame.from_dict(rows, orient="index"))


def _encoded(column: Column) -> tuple[list[str], list[str]]:
    if column.kind == "category":
        done = [f"one-hot, other levels are {column.rest!r}"]
        if column.fill:
            done.append("missing: the most frequent level")
        elif column.flagged:
            done.append("missing: a level")
        filled = [f"filled with {listed(dict.fromkeys(column.fill), 3)}"] if column.fill else []
        return done, [listed(column.levels, LEVELS), *filled]
    if column.kind == "ordinal":
        return [f"0 to {len(column.levels) - 1}"], [" < ".join(column.levels)]
    if column.kind == "date":
        first = "the hospital's first day" if column.reference == FIRST else column.reference
        return [f"days since {first}"], []
    return [], []


def _step(step: Step, j: int) -> tuple[list[str], list[str]]:
    """What a step did to feature ``j``, and with which numbers."""
    parts = step.numbers.get("", ())
    values = [np.atleast_2d(part)[:, j] for part in parts]
    if not values or not np.isfinite(values[0]).any():
        return [], []
    whose = " of each hospital" if step.hospitals else ""
    if step.kind == "impute":
        name = (step.how[j] if len(step.how) > 1 else "".join(step.how)) or "value"
        flag = " and a flag" if j in step.flagged else ""
        return [f"missing: {name.replace('_', ' ')}{whose}{flag}"], [_named(name, values[0])]
    if step.kind == "clip":
        shown = [_named(name, value) for name, value in zip(step.how, values, strict=True)]
        return [f"winsorised{whose}"], shown
    if (values[0] == 0).all() and (values[1] == 1).all():
        return [], []
    centre, divisor = step.how or ("mean", "sd")
    shown = [_named(centre, values[0]), _named(divisor, values[1])]
    return [f"(x - {centre}) / {divisor}{whose}"], shown


def _named(name: str, values: np.ndarray) -> str:
    low, high = f"{np.nanmin(values):.4g}", f"{np.nanmax(values):.4g}"
    return f"{name.replace('_', ' ')} = {low if low == high else f'{low} to {high}'}"
