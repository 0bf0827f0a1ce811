"""The runs of a sweep as data, each checked like a single run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.spec import paths
from jaxfed.spec.checks import check_spec
from jaxfed.spec.spec import Spec
from jaxfed.sweep.space import Axes

SEED, HOSPITALS, DATA = "seed", "hospitals", "data"


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """One run of a sweep.

    Attributes:
        number: the number of the configuration.
        spec: the checked specification of the run, with its hospitals.
        seed: the seed of the run.
    """

    number: int
    spec: Spec
    seed: int

    @property
    def hospitals(self) -> Dataset:
        """The hospitals that train."""
        return self.spec.hospitals

    @property
    def evaluation_hospitals(self) -> Dataset:
        """The hospitals that are evaluated."""
        return self.spec.evaluation_hospitals


def trials_of(
    spec: Spec, axes: Axes, seed: int, data: Callable[..., Dataset] | None, problems: Problems
) -> list[Trial]:
    """The trials of all configurations; problems are recorded in ``problems`` with the values."""
    _check_paths(spec, axes, data, problems)
    if problems.count:
        return []
    made: dict[tuple, Dataset] = {}
    checked = {id(spec.hospitals): spec}  # by their hospitals, which are checked once
    trials, messages = [], set()
    for k in range(len(axes)):
        settings = axes.settings(k)
        trial_seed = settings.pop(SEED, seed)
        try:
            _check_seed(trial_seed)
            changes = _data_of(settings, data, made)
            variant = _changed(spec, changes, settings)
            check_spec(variant, like=checked.get(id(variant.hospitals), spec))
            checked.setdefault(id(variant.hospitals), variant)
        except InvalidInput as error:
            message = str(error).removeprefix("Simulation: ")
            if message not in messages:
                named = any(message.startswith(axis.path + "=") for axis in axes.axes)
                problems.add(message if named else f"{axes.label(k)}: {message}")
            messages.add(message)
            continue
        trials.append(Trial(k, variant, int(trial_seed)))
    return trials


def _check_paths(spec: Spec, axes: Axes, data: Any, problems: Problems) -> None:
    """Record a problem for every path that is not a field, with a suggestion."""
    swept = {axis.path for axis in axes.axes}
    parents = {path for path in swept if any(other.startswith(path + ".") for other in swept)}
    for path in swept:
        root = path.split(".")[0]
        if root == DATA and path != DATA:
            problems.check(
                callable(data),
                f"{path}: pass data=f, and every configuration has the hospitals f({path[5:]}=...)",
            )
        elif path in (SEED, HOSPITALS) or any(path.startswith(parent + ".") for parent in parents):
            continue
        elif root in paths.APART or not paths.has(spec, path):
            problems.add(paths.unknown(spec, path, (SEED, HOSPITALS)))
    if data is not None:
        problems.check(
            any(path.startswith(DATA + ".") for path in swept),
            "data=...: no field begins with 'data.'; give for example 'data.alpha': [0.1, 1.0]",
        )
        problems.check(HOSPITALS not in swept, "hospitals and data.*: give one of them")


def _check_seed(seed: Any) -> None:
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**31:
        raise InvalidInput(f"seed={seed!r}: give a whole number >= 0 and below 2**31")


def _data_of(
    settings: dict[str, Any], data: Callable[..., Dataset] | None, made: dict[tuple, Dataset]
) -> dict[str, Any]:
    """The hospitals of a configuration, made once for all that share them."""
    if HOSPITALS in settings:
        return {HOSPITALS: settings.pop(HOSPITALS)}
    given = {path: settings.pop(path) for path in [*settings] if path.startswith(DATA + ".")}
    if not given or data is None:
        return {}
    key = tuple(given.values())
    if key not in made:
        arguments = {path.removeprefix(DATA + "."): value for path, value in given.items()}
        try:
            made[key] = data(**arguments)
        except Exception as error:  # whatever a user's function raises
            raise InvalidInput(f"data(**{arguments}): {type(error).__name__}: {error}") from error
    return {HOSPITALS: made[key]}


def _changed(spec: Spec, changes: dict[str, Any], settings: dict[str, Any]) -> Spec:
    """An unchecked copy with some fields changed; whole objects are replaced before the fields in them."""
    parts = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)} | changes
    for path, value in sorted(settings.items(), key=lambda item: item[0].count(".")):
        parts = paths.replace(parts, path, value)
    return Spec(**parts)
