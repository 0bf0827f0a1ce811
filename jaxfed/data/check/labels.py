"""The labels of a table before anything is known of how they are coded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.tasks import as_task
from jaxfed.data.labels import MANY, values_of

Kind = Literal["two classes", "several classes", "amounts"]
# Labels of those without an event, as they are often written; the other one of two is the positive one.
NEGATIVE = {
    "0", "0.0", "no", "n", "none", "false", "f", "negative", "neg", "-", "alive", "survived", "survivor",
    "healthy", "control", "absent", "benign", "normal", "nein", "non",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Labels of N rows.

    Attributes:
        y: ``[N]`` numbers of ``levels``, or real values; NaN where missing.
        levels: different values in the order of their numbers, as text; empty for real values.
        kind: what is predicted.
        said: whether the user, or a dataset, says what the levels mean.
        text: whether the values are text.
    """

    y: np.ndarray
    levels: tuple[str, ...]
    kind: Kind
    said: bool
    text: bool

    @property
    def positive(self) -> np.ndarray:
        """``[N]`` which rows are of the positive class of two."""
        return self.y == 1


def read_labels(values: pd.Series, task: Any, classes: Sequence[Any] | None) -> Labels:
    """Labels of a column; ``task`` and ``classes`` are what the user says of them."""
    known = None if task is None else as_task(task)
    numbers = pd.api.types.is_numeric_dtype(values.dtype)
    if numbers:
        real = values.to_numpy(dtype=float, na_value=np.nan)
        seen = np.unique(real[np.isfinite(real)])
        amounts = len(seen) > MANY or bool((seen != np.round(seen)).any())
        if (known is not None and not known.has_classes) or (known is None and classes is None and amounts):
            return Labels(real, (), "amounts", known is not None, False)
        y = np.full(len(real), np.nan)
        y[np.isfinite(real)] = np.searchsorted(seen, real[np.isfinite(real)])
        order = [_written(value) for value in seen]
    else:
        code, found = pd.factorize(values.map(_written, na_action="ignore"))
        order = _ordered([str(level) for level in found])
        place = np.array([order.index(str(level)) for level in found], float)
        y = np.where(code >= 0, place[code] if len(place) else np.nan, np.nan)
    if classes is not None:
        wanted = [_written(c) for c in classes]
        if numbers:
            order = [_meant(wanted, pd.api.types.is_bool_dtype(values.dtype)).get(n, n) for n in order]
        levels = [*wanted, *(level for level in order if level not in wanted)]
        place = np.array([levels.index(level) for level in order], float)
        y = np.where(np.isnan(y), np.nan, place[np.nan_to_num(y).astype(int)] if len(place) else np.nan)
        order = levels
    several = known is not None and known.output_per_class
    kind: Kind = "several classes" if len(order) > 2 or several else "two classes"
    said = classes is not None or (numbers and set(order) <= {"0", "1"})
    return Labels(y, tuple(order), kind, said or several, not numbers)


def given_labels(data: Dataset) -> Labels:
    """Labels of a dataset; of a time and an event, whether there was one."""
    if data.task.survival:
        return Labels(np.asarray(data.y[:, 1], float), ("no event", "event"), "two classes", True, False)
    if not data.task.has_classes:
        y = np.asarray(data.y, float)
        return Labels(y if y.ndim == 1 else y.reshape(len(y), -1)[:, 0], (), "amounts", True, False)
    levels = data.classes or tuple(map(str, range(int(data.y.max()) + 1)))
    kind: Kind = "two classes" if data.task.two_classes else "several classes"
    return Labels(data.y.astype(float), levels, kind, True, False)


def _meant(classes: list[str], flags: bool) -> dict[str, str]:
    """The class that each number in a table stands for: the value in its name, or else its place."""
    values = values_of(tuple(classes), flags)
    places = range(len(classes)) if values is None else values
    return {_written(float(place)): name for place, name in zip(places, classes, strict=True)}


def _ordered(levels: list[str]) -> list[str]:
    """Levels in alphabetical order; of two the one without an event first."""
    levels = sorted(levels)
    return levels[::-1] if len(levels) == 2 and levels[1].strip().casefold() in NEGATIVE else levels


def _written(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
