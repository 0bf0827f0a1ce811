"""The columns of a table that hold what is predicted: a label, or a time and an event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, listed
from jaxfed.core.task import Task
from jaxfed.core.tasks import SURVIVAL, TASKS, multilabel
from jaxfed.core.tasks.multilabel import UNKNOWN
from jaxfed.data.columns import codes_of, numeric_text, without_codes

TRUE, FALSE = ("true", "yes"), ("false", "no")


def outcome_columns(
    label: str | Sequence[str],
    time: str | None,
    event: str | None,
    task: Task | str | None,
    problems: Problems,
) -> dict[str, str | None]:
    """``{role: column}`` of the label or labels, or of time and event; records what does not fit the task."""
    kind = TASKS.get(task) if isinstance(task, str) else task
    if time is None and event is None:
        problems.check(
            kind is None or not kind.survival,
            f"task={task!r}: give time= and event=, the columns of the time until the event (or until the "
            "patient was last seen) and of whether it was one",
        )
        if isinstance(label, str) or not isinstance(label, Sequence):
            return {"label": label}
        problems.check(
            len(label) > 1,
            f"label={list(label)}: give one column as text, label='died', or a list of at least two",
        )
        return {f"label {j}": column for j, column in enumerate(label, 1)}
    for name, column in (("time", time), ("event", event)):
        problems.check(column is not None, f"{name}=None: time and event belong together; give both columns")
    problems.check(
        kind is None or kind.survival,
        f"time and event are for survival, and not for task={task!r}; leave task out",
    )
    return {"time": time, "event": event}


def outcome_of(
    df: pd.DataFrame,
    columns: dict[str, str | None],
    missing: Sequence[Any],
    task: Task | str | None,
    classes: Sequence[Any] | None,
    problems: Problems,
) -> tuple[pd.Series | pd.DataFrame, Task | str | None, Sequence[Any] | None]:
    """The labels of all rows, the task and the classes: with time and event they are two columns of numbers.

    Several labels are a column of numbers each, -1 where one is missing. With time and event ``classes`` may
    name the values of ``event``: first what stands for a patient who was last seen without one.
    """
    if "label" in columns:
        return numeric_text(*without_codes(df[columns["label"]], *codes_of(missing))), task, classes
    if "label 1" in columns:
        each = {}
        for column in columns.values():
            values = numeric_text(*without_codes(df[column], *codes_of(missing)))
            each[column] = _events(values, None, problems, f"label column {column!r}").fillna(UNKNOWN)
        names = [re.sub(r"\W", "_", str(column)) for column in columns.values()]
        return pd.DataFrame(each), task or multilabel(names), classes
    time, event = (df[columns[role]] for role in ("time", "event"))
    if pd.api.types.is_datetime64_any_dtype(time.dtype):
        problems.add(
            f"time column {columns['time']!r} holds dates; give the time since entry, such as (df['end'] - "
            "df['start']).dt.days"
        )
    times = _numbers(
        numeric_text(*without_codes(time, *codes_of(missing))), f"time column {time.name!r}", problems
    )
    whose = f"event column {event.name!r}"
    events = numeric_text(*without_codes(event, *codes_of(missing)))
    y = pd.DataFrame({"time": times, "event": _events(events, classes, problems, whose)}, index=df.index)
    return y, task or SURVIVAL, None


def _events(values: pd.Series, classes: Sequence[Any] | None, problems: Problems, whose: str) -> pd.Series:
    """1 where there was an event, 0 where not, NaN where missing."""
    if classes is not None and len(classes) != 2:
        problems.add(f"classes={list(classes)}: give the two values of {whose}, the event last")
        classes = None
    text = values.astype(object).map(lambda value: None if pd.isna(value) else _text(value))
    seen = sorted(text.dropna().unique())
    names = [_text(value) for value in classes] if classes is not None else None
    if names is None and pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype(float)
    if names is None and {word.lower() for word in seen} <= {*TRUE, *FALSE}:
        return text.map(lambda word: float(word.lower() in TRUE), na_action="ignore").astype(float)
    strange = [word for word in seen if word not in (names or [])]
    if names is None or strange:
        two = seen if len(seen) == 2 else ["alive", "dead"]
        problems.add(
            f"{whose} holds {listed(strange)}; give 1 for an event and 0 for none, or classes= with its two "
            f"values, the event last, such as classes={two}"
        )
        return pd.Series(np.nan, values.index)
    return text.map({names[0]: 0.0, names[1]: 1.0}).astype(float)


def _numbers(values: pd.Series, whose: str, problems: Problems) -> pd.Series:
    numbers = pd.to_numeric(values.astype(object), errors="coerce")
    strange = values[numbers.isna() & values.notna()]
    if len(strange) and not pd.api.types.is_datetime64_any_dtype(values.dtype):
        shown = listed([*dict.fromkeys(map(str, strange))], 3)
        problems.add(f"{whose} holds {shown}, which are no numbers; give numbers, or missing=[...] for codes")
    return numbers.astype(float)


def _text(value: Any) -> str:
    whole = isinstance(value, (float, np.floating)) and value == np.floor(value)
    return str(int(value)) if whole else str(value).strip()
