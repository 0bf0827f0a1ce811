"""A run's performance in words: notes on hospitals, and short tables of text and HTML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Performance = Any  # jaxfed.results.performance.Performance, whose module imports this one
SHOWN = 12  # hospitals in a short table


def notes(
    frame: pd.DataFrame, few: np.ndarray, model: np.ndarray, marks: dict[str, Any], minimum: int
) -> list[str]:
    """A note on each row: why it does not count, and what is undefined.

    Args:
        frame: has ``rows``, and with two classes ``events`` and ``non_events``.
        few: the number of rows of the rarer class (or of rows) where that is below ``minimum``, else -1.
        model: whether the hospital has a trained model.
        marks: see :class:`jaxfed.evaluation.tables.Table`.
        minimum: rows of each class that a hospital needs to count.
    """
    separated = marks.get("separated", np.zeros(len(frame), bool))
    texts = []
    for i, (_, row) in enumerate(frame.iterrows()):
        parts = []
        if row["rows"] == 0:
            parts.append("no rows")
        elif not model[i]:
            parts.append("no trained model")
        elif marks["broken"][i]:
            parts.append("an output is NaN, so no metric is defined")
        else:
            if few[i] >= 0:
                parts.append(f"{_scarce(row, int(few[i]))}: {_consequence(row, int(few[i]))}")
            if separated[i] and few[i] != 0:
                parts.append("a threshold separates the classes: no calibration slope")
        texts.append("; ".join(parts))
    return texts


def _scarce(row: pd.Series, few: int) -> str:
    """``"1 non-event"``, or the number of rows of a task without events."""
    if "events" not in row:
        return f"{few} row" + ("s" if few != 1 else "")
    what = "event" if row["events"] <= row["non_events"] else "non-event"
    return f"{few or 'no'} {what}" + ("s" if few > 1 else "")


def _consequence(row: pd.Series, few: int) -> str:
    if "events" in row and few == 0:
        return "AUROC undefined, not counted in worst and range"
    return f"{'AUROC ' if 'events' in row else ''}not counted in worst and range"


def text(p: Performance) -> str:
    """The parts that a reader asks for first, in sentences, and a short table."""
    lines = [
        f"Performance({_title(p)})",
        *_sentences(p),
        "",
        _short(p).to_string(index=False, justify="left"),
    ]
    hidden = len(p.hospitals) - SHOWN
    if hidden > 0:
        lines.append(f"... and {hidden} more hospitals in .hospitals")
    return "\n".join(lines)


def html(p: Performance) -> str:
    """The same as HTML."""
    from html import escape

    hidden = len(p.hospitals) - SHOWN
    more = f"<p>... and {hidden} more hospitals in <code>.hospitals</code></p>" if hidden > 0 else ""
    sentences = "".join(f"<li>{escape(line)}</li>" for line in _sentences(p))
    table = _short(p).to_html(index=False, border=0)
    return f"<b>Performance</b> of {escape(_title(p))}<ul>{sentences}</ul>{table}{more}"


def _title(p: Performance) -> str:
    positive = f"; positive class {p.positive}" if p.positive else ""
    return f"{p.name} on {p.split} rows of {len(p.hospitals)} hospitals, {p.round}{positive}"


def _sentences(p: Performance) -> list[str]:
    metric = p.first
    label, percent = p.labels[metric], f"{100 * p.level:g} %"
    row: Any = p.across.loc[metric]
    defined = int(row["hospitals"] + row["left_out"])
    pooled = p.pooled.iloc[0]
    lines = [
        f"{label}: mean of {defined} hospitals {_interval(row, 'macro')} ({percent} interval), "
        f"all rows together {_interval(pooled, metric)}"
    ]
    if row["hospitals"] > 0:
        lines.append(
            f"Worst {label} {_number(row['worst'])} ({row['worst_hospital']}), range "
            f"{_number(row['lowest'])} to {_number(row['highest'])}, of {row['hospitals']} hospitals that "
            "count"
        )
    if row["hospitals"] > 1:
        new = ""
        if np.isfinite(row["prediction_low"]):
            new = (
                f"; a new hospital is expected between {_number(row['prediction_low'])} and "
                f"{_number(row['prediction_high'])}"
            )
        scale = "" if row["scale"] == "identity" else f" ({row['scale']})"
        some = "" if row["pooled"] == row["hospitals"] else f" of {row['pooled']} hospitals with an error"
        lines.append(
            f"Random-effects mean{some} {_interval(row, 'mean')}, tau {_number(row['tau'])}{scale}, "
            f"I² {100 * row['i2']:.0f} %{new}"
        )
    aside = p.hospitals[~p.hospitals["counted"]]
    if len(aside):
        shown = [_aside(str(name), row) for name, row in aside.iterrows()]
        named = "; ".join(shown[:4]) + (f"; and {len(shown) - 4} more" if len(shown) > 4 else "")
        verb = "hospital does" if len(aside) == 1 else "hospitals do"
        lines.append(f"{len(aside)} {verb} not count in worst and range: {named}")
    if p.table.two_classes:
        lines.append(
            f"Calibration of all rows: intercept {_interval(pooled, 'calibration_intercept')} (ideally 0), "
            f"slope {_interval(pooled, 'calibration_slope')} (ideally 1)"
        )
        lines.append(
            f"Threshold {_number(p.threshold)} ({p.threshold_from}): sensitivity "
            f"{_interval(pooled, 'sensitivity')}, specificity {_interval(pooled, 'specificity')}"
        )
    return lines


def _aside(name: str, row: pd.Series) -> str:
    reason, scarce, _ = row["note"].partition(":")
    return f"{name}, {reason} among {row['rows']} rows" if scarce else f"{name}, {reason}"


def _short(p: Performance) -> pd.DataFrame:
    """Hospitals, and all rows together; where a hospital does not count, its scarce class is shown."""
    second = [name for name in ("calibration_slope", "brier", "rmse") if name in p.metrics][:2]
    frame = pd.concat([p.hospitals.iloc[:SHOWN], p.pooled])
    records = []
    for name, row in frame.iterrows():
        record = {"hospital": name, "rows": row["rows"]}
        if "events" in row:
            record["events"] = row["events"]
        first = _interval(row, p.first)
        if not row["counted"]:
            first = row["note"].split(":")[0]
        record[p.labels[p.first]] = first
        for metric in second:
            record[p.labels[metric]] = _number(row[metric])
        records.append(record)
    return pd.DataFrame.from_records(records)


def _interval(row: pd.Series, name: str) -> str:
    ends = row[f"{name}_low"], row[f"{name}_high"]
    if not np.isfinite(np.array(ends, float)).all():
        return _number(row[name])
    return f"{_number(row[name])} ({_number(ends[0])} to {_number(ends[1])})"


def _number(value: float) -> str:
    return "undefined" if not np.isfinite(value) else f"{value:.3f}"
