"""The space of a sweep: fields, their values, and the combinations of values in configurations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jax import Array

from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.spec.paths import is_number

Mode = Literal["grid", "zip", "random"]


@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """A field and its values.

    Attributes:
        path: the dotted path of the field, as the user typed it.
        values: its values.
        labels: ``[len(values)]`` numbers or strings that stand for the values in coordinates.
    """

    path: str
    values: tuple[Any, ...]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """K configurations of F fields.

    Attributes:
        mode: how values of different fields are combined.
        axes: the fields.
        index: ``[K, F]`` the number of each configuration's value of each field.
    """

    mode: Mode
    axes: tuple[Axis, ...]
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def settings(self, k: int) -> dict[str, Any]:
        """The values of configuration ``k``, by path."""
        return {axis.path: axis.values[i] for axis, i in zip(self.axes, self.index[k], strict=True)}

    def named(self) -> dict[str, dict[str, Any]]:
        """``{path: {label: value}}`` for fields whose labels are text."""
        return {
            axis.path: dict(zip(axis.labels.tolist(), axis.values, strict=True))
            for axis in self.axes
            if axis.labels.dtype.kind == "U"
        }

    def label(self, k: int) -> str:
        """A text for configuration ``k``."""
        named = zip(self.axes, self.index[k], strict=True)
        return ", ".join(f"{axis.path}={axis.labels[i]}" for axis, i in named)


def axes_of(fields: Any, mode: Mode, samples: int | None, seed: int, problems: Problems) -> Axes:
    """The configurations of the given fields; problems with them are recorded in ``problems``."""
    empty = Axes(mode, (), np.zeros((0, 0), int))
    if mode not in ("grid", "zip", "random"):
        problems.add(f"mode={mode!r}: give 'grid', 'zip' or 'random'")
    if not isinstance(fields, Mapping) or not fields:
        problems.add(
            f"fields={fields!r}: nothing to sweep; give values by field, {{'client_optimizer.learning_rate': "
            "[0.01, 0.1], 'seed': range(5)}"
        )
    drawn = mode == "random"
    whole = isinstance(samples, (int, np.integer)) and not isinstance(samples, bool)
    if drawn and not (whole and samples > 0):  # type: ignore[operator]
        problems.add(f"samples={samples!r}: give the number of random configurations, at least 1")
    if not drawn and samples is not None:
        problems.add(f"samples={samples!r}: that is for mode='random'; leave it out")
    if problems.count:
        return empty
    rng = np.random.default_rng(seed)
    axes = []
    for path, given in fields.items():
        if drawn:
            axis = _drawn(path, given, int(samples or 0), rng, problems)
        else:
            axis = _listed(path, given, problems, once=mode == "grid")
        if axis is not None:
            axes.append(axis)
    if problems.count:
        return empty
    lengths = [len(axis.values) for axis in axes]
    if mode == "grid":
        return Axes(mode, tuple(axes), np.indices(lengths).reshape(len(axes), -1).T)
    named = {axis.path: len(axis.values) for axis in axes}
    problems.check(len({*lengths}) == 1, f"zip of unequal lengths: {named}; give each field as many values")
    index = np.repeat(np.arange(lengths[0])[:, None], len(axes), axis=1)
    if mode == "zip" and not problems.count:
        for k, j in _repeated([tuple(axis.labels[i] for axis in axes) for i in range(lengths[0])]):
            problems.add(f"configuration {k} is the same as configuration {j}; leave one out")
    return Axes(mode, tuple(axes), index)


def count_of(fields: Any, mode: Mode, samples: Any) -> int:
    """The number of configurations, without making them; 0 if it cannot be determined."""
    if mode == "random":
        return int(samples) if is_number(samples) else 0
    if not isinstance(fields, Mapping):
        return 0
    lengths = [len(values) for values in fields.values() if hasattr(values, "__len__")]
    return math.prod(lengths) if mode == "grid" else max(lengths, default=0)


def _listed(path: str, given: Any, problems: Problems, once: bool) -> Axis | None:
    """The axis of a field of a grid (every value at most ``once``) or of a zip."""
    values = _values(path, given, problems)
    if values is None:
        return None
    for i, j in _repeated(values) if once else []:
        problems.add(f"{path}: value {i} is the same as value {j}, {values[i]!r}; leave one out")
    return Axis(path, values, _labels(values, [*given] if isinstance(given, Mapping) else None))


def _values(path: str, given: Any, problems: Problems) -> tuple[Any, ...] | None:
    if isinstance(given, Mapping):
        values = [*given.values()]
    elif isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        problems.add(f"{path}={given!r}: give a list of values")
        return None
    else:
        values = [_plain(value) for value in given]
    if not values:
        problems.add(f"{path}: no values; give at least one")
        return None
    if any(isinstance(value, float) for value in values):
        values = [float(value) if is_number(value) else value for value in values]
    return tuple(values)


def _drawn(path: str, given: Any, samples: int, rng: np.random.Generator, problems: Problems) -> Axis | None:
    """The axis of a field of random configurations."""
    if hasattr(given, "sample"):
        values = [_plain(given.sample(rng)) for _ in range(samples)]
    elif isinstance(given, tuple) and len(given) in (2, 3) and all(map(is_number, given[:2])):
        low, high = given[:2]
        scale = given[2] if len(given) == 3 else "linear"
        fine = scale in ("linear", "log") and math.isfinite(low) and low < high < math.inf
        if not fine or (scale == "log" and low <= 0):
            problems.add(
                f"{path}={given!r}: give (low, high) or (low, high, 'log') with low < high, and low > 0 for "
                "'log'; for a choice of some values give a list"
            )
            return None
        values = _between(low, high, scale, samples, rng)
    else:
        choice = _values(path, given, problems)
        if choice is None:
            return None
        names = _labels(choice, [*given] if isinstance(given, Mapping) else None)
        picked = rng.integers(len(choice), size=samples)
        return Axis(path, tuple(choice[i] for i in picked), names[picked])
    return Axis(path, tuple(values), _labels(tuple(values), None))


def _between(low: Any, high: Any, scale: str, samples: int, rng: np.random.Generator) -> list[Any]:
    """Uniform draws; whole numbers (``high`` included) if both ends are whole."""
    whole = isinstance(low, (int, np.integer)) and isinstance(high, (int, np.integer))
    if whole and scale == "linear":
        return rng.integers(low, high + 1, samples).tolist()
    if scale == "linear":
        return rng.uniform(low, high, samples).tolist()
    drawn = np.exp(rng.uniform(math.log(low), math.log(high), samples))
    return np.rint(drawn).astype(int).tolist() if whole else drawn.tolist()


def _plain(value: Any) -> Any:
    """Scalars of NumPy and jax as Python numbers."""
    scalar = isinstance(value, np.generic) or (isinstance(value, (np.ndarray, Array)) and value.ndim == 0)
    return value.item() if scalar else value


def _labels(values: tuple[Any, ...], names: list[Any] | None) -> np.ndarray:
    if names is not None:
        return np.array([str(name) for name in names])
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return np.array(values)
    short = [_name(value) for value in values]
    if len({*short}) < len({id(value) for value in values}):
        short = [value if isinstance(value, str) else repr(value) for value in values]
    seen: dict[str, list[Any]] = {}
    for i, value in enumerate(values):
        same = seen.setdefault(short[i], [])
        if not any(value is other for other in same):
            same.append(value)
        number = next(n for n, other in enumerate(same) if other is value)
        short[i] += f" #{number + 1}" if number else ""
    return np.array(short)


def _name(value: Any) -> str:
    if isinstance(value, Schedule):
        return getattr(value.function, "__name__", "schedule")
    if isinstance(value, PerHospital):
        return "per_hospital"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__
    return value.__name__ if hasattr(value, "__name__") else str(value)


def _repeated(values: Any) -> list[tuple[int, int]]:
    """Pairs ``(i, j)``, j < i, of equal values."""
    seen: dict[Any, int] = {}
    pairs = []
    for i, value in enumerate(values):
        try:
            j = seen.setdefault(value, i)
        except TypeError:  # values that are not hashable are equal only if they are the same object
            j = seen.setdefault(id(value), i)
        if j != i:
            pairs.append((i, j))
    return pairs
