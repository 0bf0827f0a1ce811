"""Every hospital's labels as class numbers or as real values, and the task they imply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, did_you_mean, listed
from jaxfed.core.task import Task
from jaxfed.core.tasks import BINARY, MULTICLASS, TASKS
from jaxfed.data.convert import to_array
from jaxfed.data.notices import Notices
from jaxfed.data.precision import narrow

# Larger numbers are taken for ids or amounts; classes= lifts the limit.
MOST = 10_000


def gather_labels(
    given: Mapping[str, Any],
    task: Task | str | None,
    classes: Sequence[Any] | None,
    problems: Problems,
    notices: Notices,
) -> tuple[dict[str, np.ndarray], Task, tuple[str, ...]]:
    """``{hospital: y}``, the task and the class names; what cannot be used goes to ``problems``.

    Class numbers run from 0. Whole floats and booleans become numbers with a notice; strings are
    numbered by their place in ``classes``. Without ``task``, labels up to 1 are binary, others
    multiclass; regression is never guessed.
    """
    if isinstance(task, str) and task in TASKS:
        task = TASKS[task]
    elif task is not None and not isinstance(task, Task):
        problems.add(f"task={task!r}: {did_you_mean(task, [*TASKS])}, or give a jaxfed.Task")
        task = None
    if task is not None and not task.has_classes:
        labels = _real(given, classes, task, problems, notices)
        return _checked(labels, task, problems), task, ()
    names = None if classes is None else tuple(map(str, classes))
    if names is not None:
        problems.check(
            len(names) >= 2 and len(set(names)) == len(names),
            f"classes={list(names)}: give the names of at least two classes, each once",
        )
    before = problems.count
    labels = {name: _numbers(name, y, names, problems, notices) for name, y in given.items()}
    if problems.count > before:
        return labels, task or BINARY, names or ()
    found, called = _infer(labels, task, names, problems, notices)
    return _checked(labels, found, problems), found, called


def _checked(labels: dict[str, np.ndarray], task: Task, problems: Problems) -> dict[str, np.ndarray]:
    """The labels, once the task has looked at each hospital's."""
    for name, y in labels.items():
        wrong = task.check(y) if task.check is not None and len(y) else None
        problems.check(wrong is None, f"hospital {name!r}: {wrong}")
    return labels


def _infer(
    labels: Mapping[str, np.ndarray],
    task: Task | None,
    names: tuple[str, ...] | None,
    problems: Problems,
    notices: Notices,
) -> tuple[Task, tuple[str, ...]]:
    rows = sum(map(len, labels.values()))
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *labels.values()]))
    if task is not None and task.two_classes:
        for name, y in labels.items():
            _check_range(name, y, 2, f"task={task.name!r}", problems)
        problems.check(
            names is None or len(names) == 2,
            f"task={task.name!r} with {len(names or ())} classes; give two, or task='multiclass'",
        )
        return task, names or ("0", "1")
    K = len(names) if names is not None else max(len(counts), 2)
    empty = [names[k] if names else k for k in range(min(K, len(counts))) if not counts[k]]
    if empty and rows and names is None:
        notices.add(
            f"labels run to {len(counts) - 1}, but classes {listed(empty)} never occur; "
            "number the classes from 0, or name them all with classes="
        )
    if K == 2 and task is None:
        return BINARY, names or ("0", "1")
    return task or MULTICLASS, names or tuple(map(str, range(K)))


def _numbers(
    name: str, raw: Any, names: tuple[str, ...] | None, problems: Problems, notices: Notices
) -> np.ndarray:
    none, whose = np.zeros(0, np.int32), f"hospital {name!r}: y"
    text = _strings(raw)
    if text is not None:
        return _named(name, text, names, problems)
    y = to_array(raw, whose, problems)
    if y is None or not _one_column(whose, y, problems):
        return none
    if y.dtype == bool:
        notices.add("labels were true/false; cast to 1/0", name)
    elif y.dtype.kind == "f":
        if not _check_present(whose, y, problems):
            return none
        broken = y[y != np.round(y)]
        if len(broken):
            problems.add(
                f"{whose} has {len(broken)} labels that are no whole numbers (as {broken[0]:.6g}); "
                "give class numbers, or task='regression'"
            )
            return none
        if len(y):
            notices.add("labels were floats; cast to whole numbers", name)
    K = len(names) if names is not None else MOST
    why = f"classes={list(names)}" if names else "what can be a class number without classes="
    _check_range(name, y, K, why, problems)
    return y.astype(np.int32) if _fits(y, K) else none


def _fits(y: np.ndarray, K: int) -> bool:
    return not len(y) or (int(y.min()) >= 0 and int(y.max()) < K)


def _check_range(name: str, y: np.ndarray, K: int, why: str, problems: Problems) -> None:
    for bad, what in [(y < 0, "negative"), (y >= K, f"above {K - 1}")]:
        if bad.any():
            values = np.unique(y[bad])
            problems.add(
                f"hospital {name!r}: y has {np.count_nonzero(bad)} labels {what} "
                f"({listed([int(v) for v in values], 3)}), outside {why}; number the classes "
                "from 0 and drop unlabelled rows"
            )


def _strings(raw: Any) -> np.ndarray | None:
    """Labels as text, if any of them is text."""
    if hasattr(raw, "todense"):
        return None
    if isinstance(raw, (pd.Series, pd.Index, pd.Categorical)):
        raw = np.asarray(raw, dtype=object) if not pd.api.types.is_bool_dtype(raw.dtype) else raw
    try:
        array = np.asarray(raw)
    except (TypeError, ValueError, RuntimeError):
        return None
    if array.dtype.kind in "US":
        return array.astype(str)
    if array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat):
        return array
    return None


def _named(name: str, text: np.ndarray, names: tuple[str, ...] | None, problems: Problems) -> np.ndarray:
    none, whose = np.zeros(0, np.int32), f"hospital {name!r}: y"
    missing = np.array([not isinstance(value, str) and pd.isna(value) for value in text.flat], bool)
    found = sorted({str(value) for value in text.flat[~missing]})
    if names is None:
        problems.add(f"{whose} holds text ({listed(found)}); pass classes= with their names in order")
        return none
    if not _one_column(whose, text, problems):
        return none
    strange = [value for value in found if value not in names]
    count = sum(str(value) in strange for value in text[~missing])
    if strange:
        problems.add(
            f"{whose} has {count} labels that are not among classes={list(names)}: "
            f"{listed(strange)}; {did_you_mean(strange[0], names)}"
        )
    if missing.any():
        problems.add(f"{whose} has {missing.sum()} missing labels; drop these rows")
    if strange or missing.any():
        return none
    return np.array([names.index(str(value)) for value in text], np.int32)


def _real(
    given: Mapping[str, Any],
    classes: Sequence[Any] | None,
    task: Task,
    problems: Problems,
    notices: Notices,
) -> dict[str, np.ndarray]:
    problems.check(classes is None, f"classes has no meaning with task={task.name!r}; leave it out")
    labels = {}
    for name, raw in given.items():
        whose = f"hospital {name!r}: y"
        y = to_array(raw, whose, problems)
        labels[name] = np.zeros(0, np.float32)
        if y is None or not _not_a_column(whose, y, problems):
            continue
        if not _check_present(whose, y, problems):
            continue
        y = y if y.dtype.kind == "f" else y.astype(np.float64)
        labels[name] = narrow(y, lambda j: "y", problems, notices)
    shapes = {y.shape[1:] for y in labels.values() if len(y)}
    problems.check(len(shapes) <= 1, f"y has rows of shapes {sorted(shapes)}; give one shape")
    if len(shapes) == 1:
        (shape,) = shapes
        labels = {name: y.reshape(len(y), *shape) for name, y in labels.items()}
    return labels


def _check_present(whose: str, y: np.ndarray, problems: Problems) -> bool:
    bad = ~np.isfinite(y) if y.dtype.kind == "f" else np.zeros(0, bool)
    if bad.any():
        problems.add(f"{whose} has {bad.sum()} missing or infinite labels; drop these rows")
    return not bad.any()


def _one_column(whose: str, y: np.ndarray, problems: Problems) -> bool:
    if y.ndim == 2 and y.shape[1] > 1:
        problems.add(
            f"{whose} has shape {y.shape}; give class numbers [n] (one-hot: y.argmax(1)), "
            "or task='regression'"
        )
        return False
    return _not_a_column(whose, y, problems)


def _not_a_column(whose: str, y: np.ndarray, problems: Problems) -> bool:
    if y.ndim == 2 and y.shape[1] == 1:
        problems.add(
            f"{whose} has shape {y.shape}, which would be compared with every other row's "
            "prediction; pass y[:, 0]"
        )
        return False
    if y.ndim == 0 or (y.ndim > 1 and not y.size) or y.ndim > 2:
        problems.add(f"{whose} has shape {y.shape}; give one label per row")
        return False
    return True
