"""Every hospital's labels as class numbers or as real values, and the task they imply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
# More different whole numbers are amounts as likely as classes, and a user has to say which.
MANY = 20


def gather_labels(
    given: Mapping[str, Any],
    task: Task | str | None,
    classes: Sequence[Any] | None,
    problems: Problems,
    notices: Notices,
) -> tuple[dict[str, np.ndarray], Task, tuple[str, ...]]:
    """``{hospital: y}``, the task and the class names; what cannot be used goes to ``problems``.

    Class numbers run from 0. Whole floats and booleans become numbers with a notice; strings are
    numbered by their place in ``classes``, and so are numbers where all ``classes`` are numbers. Without
    ``task``, labels up to 1 are binary, others multiclass; regression is never guessed.
    """
    before = problems.count
    if isinstance(task, str) and task in TASKS:
        task = TASKS[task]
    elif task is not None and not isinstance(task, Task):
        problems.add(f"task={task!r}: {did_you_mean(task, [*TASKS])}, or give a jaxfed.Task")
        task = None
    if task is not None and not task.has_classes:
        labels = _real(given, classes, task, problems, notices)
        return _checked(labels, task, problems), task, ()
    names = _class_names(classes, problems)
    if problems.count > before:  # what is wrong with the labels depends on what was meant
        return {name: np.zeros(0, np.int32) for name in given}, task or BINARY, ()
    labels = {name: _numbers(name, y, names, problems, notices) for name, y in given.items()}
    if problems.count > before:
        return labels, task or BINARY, names or ()
    found, called = _infer(labels, task, names, problems, notices)
    return _checked(labels, found, problems), found, called


def _checked(labels: dict[str, np.ndarray], task: Task, problems: Problems) -> dict[str, np.ndarray]:
    """The labels, once the task has looked at each hospital's."""
    for name, y in labels.items():
        wrong = task.check(y) if task.check is not None and len(y) else None
        if wrong is not None:
            problems.hospital(name).add(wrong)
    return labels


def _class_names(classes: Any, problems: Problems) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, (str, set, frozenset)) or not isinstance(classes, Iterable):
        why = "a set has no order, and the last of two classes is the positive one; "
        problems.add(
            f"classes={classes!r}: {why if isinstance(classes, (set, frozenset)) else ''}give a list of the "
            "names of the classes, such as ['no', 'yes']"
        )
        return None
    names = tuple(map(str, classes))
    problems.check(
        len(names) >= 2 and len(set(names)) == len(names),
        f"classes={list(names)}: give the names of at least two classes, each once",
    )
    return names


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
            _check_range(y, 2, f"task={task.name!r}", problems.hospital(name))
        problems.check(
            names is None or len(names) == 2,
            f"task={task.name!r} with {len(names or ())} classes; give two, or task='multiclass'",
        )
        return task, names or ("0", "1")
    K = len(names) if names is not None else max(len(counts), 2)
    used = np.flatnonzero(counts)
    problems.check(
        names is not None or task is not None or len(used) <= MANY,
        f"y has {len(used)} different whole numbers, up to {len(counts) - 1}; pass task='regression' if they "
        "are amounts, or task='multiclass' if they are numbers of classes",
    )
    empty = [names[k] if names else k for k in range(min(K, len(counts))) if not counts[k]]
    if empty and rows and names is None:
        notices.add(
            f"labels run to {len(counts) - 1}, but classes {listed(empty)} never occur; number the classes "
            f"from 0, or name those that there are, classes={[str(k) for k in used[:4]]}"
            + (", of which the last is the positive one" if len(used) == 2 else "")
        )
    if K == 2 and task is None:
        return BINARY, names or ("0", "1")
    return task or MULTICLASS, names or tuple(map(str, range(K)))


def _numbers(
    name: str, raw: Any, names: tuple[str, ...] | None, problems: Problems, notices: Notices
) -> np.ndarray:
    none, own = np.zeros(0, np.int32), problems.hospital(name)
    text = _strings(raw)
    if text is not None:
        return _named(text, names, own)
    y = to_array(raw, "y", own)
    if y is None or not _one_column(y, own) or not _check_present(y, own):
        return none
    if names is not None and len(y):
        values = values_of(names, y.dtype == bool)
        if values is not None:
            return _matched(y, values, names, own)
    if y.dtype == bool:
        notices.add("labels were true/false; cast to 1/0", name)
    elif y.dtype.kind == "f":
        broken = y[y != np.round(y)]
        if len(broken):
            own.add(
                f"y has {len(broken)} labels that are no whole numbers (as {broken[0]:.6g}); "
                "give class numbers, or task='regression'"
            )
            return none
        if len(y):
            notices.add("labels were floats; cast to whole numbers", name)
    K = len(names) if names is not None else MOST
    why = f"classes={list(names)}" if names else "what can be a class number without classes="
    _check_range(y, K, why, own)
    return y.astype(np.int32) if _fits(y, K) else none


def values_of(names: tuple[str, ...], flags: bool) -> list[float] | None:
    """The values that the classes name, if they name values: ``["1", "2"]``, or ``["True", "False"]``."""
    if flags:
        words = [name.lower() for name in names]
        return [float(word == "true") for word in words] if sorted(words) == ["false", "true"] else None
    try:
        values = [float(name) for name in names]
    except ValueError:
        return None
    return values if len({*values}) == len(values) else None


def _matched(y: np.ndarray, values: list[float], names: tuple[str, ...], problems: Problems) -> np.ndarray:
    order = np.argsort(values)
    place = np.clip(np.searchsorted(np.asarray(values)[order], y), 0, len(values) - 1)
    number = order[place]
    strange = np.unique(y[np.asarray(values)[number] != y])
    if len(strange):
        there = listed([f"{value:g}" for value in strange], 3)
        problems.add(
            f"y has labels that are not among classes={list(names)}: {there}; name all classes, "
            "or drop these rows",
            kind="labels outside classes",
        )
        return np.zeros(0, np.int32)
    return number.astype(np.int32)


def _fits(y: np.ndarray, K: int) -> bool:
    return not len(y) or (int(y.min()) >= 0 and int(y.max()) < K)


def _check_range(y: np.ndarray, K: int, why: str, problems: Problems) -> None:
    for bad, what in [(y < 0, "negative"), (y >= K, f"above {K - 1}")]:
        if bad.any():
            values = np.unique(y[bad])
            problems.add(
                f"y has {np.count_nonzero(bad)} labels {what} "
                f"({listed([int(v) for v in values], 3)}), outside {why}; number the classes "
                "from 0 and drop unlabelled rows, or pass task='regression'",
                kind=f"labels {what}",
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


def _named(text: np.ndarray, names: tuple[str, ...] | None, problems: Problems) -> np.ndarray:
    none = np.zeros(0, np.int32)
    missing = np.array([bool(pd.api.types.is_scalar(v) and pd.isna(v)) for v in text.flat], bool)
    missing = missing.reshape(text.shape)
    seen = sorted({str(value) for value in text[~missing]})
    if names is None:
        problems.add(
            f"y holds text ({listed(seen)}); pass classes={seen[:4] if 1 < len(seen) < 5 else '[...]'}, the "
            "names of all classes in order (of two, the last is the positive one)",
            kind="labels are text",
        )
        return none
    if not _one_column(text, problems):
        return none
    strange = [value for value in seen if value not in names]
    count = sum(str(value) in strange for value in text[~missing])
    if strange:
        problems.add(
            f"y has {count} labels that are not among classes={list(names)}: "
            f"{listed(strange)}; {did_you_mean(strange[0], names)}",
            kind="labels outside classes",
        )
    if missing.any():
        problems.add(f"y has {missing.sum()} missing labels; drop these rows")
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
        own = problems.hospital(name)
        y = to_array(raw, "y", own)
        labels[name] = np.zeros(0, np.float32)
        if y is None or not (task.survival or (_not_a_column(y, own) and _check_present(y, own))):
            continue
        y = y if y.dtype.kind == "f" else y.astype(np.float64)
        labels[name] = narrow(y, lambda j: "y", problems, notices)
    shapes = {y.shape[1:] for y in labels.values() if len(y)}
    problems.check(len(shapes) <= 1, f"y has rows of shapes {sorted(shapes)}; give one shape")
    if len(shapes) == 1:
        (shape,) = shapes
        labels = {name: y.reshape(len(y), *shape) for name, y in labels.items()}
    return labels


def _check_present(y: np.ndarray, problems: Problems) -> bool:
    bad = ~np.isfinite(y) if y.dtype.kind == "f" else np.zeros(0, bool)
    if bad.any():
        problems.add(f"y has {bad.sum()} missing or infinite labels; drop these rows")
    return not bad.any()


def _one_column(y: np.ndarray, problems: Problems) -> bool:
    if y.ndim == 2 and y.shape[1] > 1:
        problems.add(
            f"y has shape {y.shape}; give class numbers [n] (one-hot: y.argmax(1)), or task='regression'"
        )
        return False
    return _not_a_column(y, problems)


def _not_a_column(y: np.ndarray, problems: Problems) -> bool:
    if y.ndim == 2 and y.shape[1] == 1:
        problems.add(
            f"y has shape {y.shape}, which would be compared with every other row's prediction; pass y[:, 0]"
        )
        return False
    if y.ndim == 0 or (y.ndim > 1 and not y.size) or y.ndim > 2:
        problems.add(f"y has shape {y.shape}; give one label per row")
        return False
    return True
