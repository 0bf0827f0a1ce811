"""Fields of a simulation by dotted path: ``algorithm.mu``, ``client_optimizer.learning_rate``."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import numbers
from typing import Any

import flax.linen as nn
import numpy as np
from jax import Array

from jaxfed.core.errors import InvalidInput
from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.core.optimizer import Optimizer, optimizer

# Fields that are the same for all configurations of a sweep.
APART = {"hospitals", "evaluate_on", "splits", "devices", "block", "models", "groups", "metrics"}


def replace(node: Any, path: str, value: Any) -> Any:
    """``node`` (a dataclass, or a dict of such) with the field at ``path`` changed.

    Raises:
        InvalidInput: the field does not exist, or the value is of another kind.
    """
    return _replace(node, path.split("."), path, value)


def has(node: Any, path: str) -> bool:
    """Whether ``node`` has a field at ``path``."""
    for name in path.split("."):
        names = children(node)
        if name not in names:
            return False
        node = names[name]
    return True


def get(node: Any, path: str) -> Any:
    """The value of the field at ``path``, which must exist."""
    for name in path.split("."):
        node = children(node)[name]
    return node


def unknown(node: Any, path: str, more: tuple[str, ...] = ()) -> str:
    """The message for a path that does not exist; ``more`` are valid paths that are no fields of ``node``."""
    known = [*more, *(name for name in fields(node) if name.split(".")[0] not in APART)]
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
    last = path.split(".")[-1]
    near += [name for name in known if name.split(".")[-1] == last and name not in near]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"there are {', '.join(known)}"
    return f"no field {path!r}; {hint}"


def fields(node: Any) -> list[str]:
    """All paths below ``node``."""
    paths = []
    for name, child in children(node).items():
        paths += [name, *(f"{name}.{below}" for below in fields(child))]
    return paths


def children(node: Any) -> dict[str, Any]:
    """The values that can be changed in ``node``, by name."""
    if isinstance(node, Optimizer):
        defaults = inspect.signature(node.factory).parameters
        given = {**node.numbers, **dict(node.options)}
        named = {name: p.default for name, p in defaults.items() if p.kind is not p.VAR_KEYWORD}
        return {**{name: None if v is inspect.Parameter.empty else v for name, v in named.items()}, **given}
    if isinstance(node, dict):
        return node
    if isinstance(node, (PerHospital, Schedule, type)):
        return {}
    if isinstance(node, (tuple, list)) and any(dataclasses.is_dataclass(item) for item in node):
        return {str(i): item for i, item in enumerate(node)}
    if not dataclasses.is_dataclass(node):
        return {}
    hidden = {"parent", "name"} if isinstance(node, nn.Module) else set()
    names = [f.name for f in dataclasses.fields(node) if f.init and f.name not in hidden]
    return {name: getattr(node, name) for name in names}


def _replace(node: Any, names: list[str], path: str, value: Any) -> Any:
    if not names:
        return value
    name, *rest = names
    known = children(node)
    if name not in known:
        raise InvalidInput(f"{path}: {type(node).__name__} has no {name!r}")
    if not rest:
        _check_kind(node, name, known[name], path, value)
    if isinstance(known[name], float) and isinstance(value, int) and not isinstance(value, bool) and not rest:
        value = float(value)  # so that whole and other numbers share a program
    child = _replace(known[name], rest, path, value)
    if isinstance(node, dict):
        return {**node, name: child}
    if isinstance(node, Optimizer):
        return optimizer(node.factory, **{**node.numbers, **dict(node.options), name: child})
    if isinstance(node, (tuple, list)):
        return type(node)(child if str(i) == name else item for i, item in enumerate(node))
    if isinstance(node, nn.Module):
        return node.clone(**{name: child})
    return dataclasses.replace(node, **{name: child})


def _check_kind(node: Any, name: str, old: Any, path: str, value: Any) -> None:
    """Raise unless a number is replaced by a number and a string by a string; None may become anything."""
    if is_number(old) or (isinstance(node, Optimizer) and name in node.numbers):
        fits = is_number(value) or isinstance(value, (PerHospital, Schedule)) or value is None
        kind = "a number, jaxfed.schedule(...) or jaxfed.per_hospital(...)"
    elif isinstance(old, (bool, np.bool_)):
        fits, kind = isinstance(value, (bool, np.bool_)), "True or False"
    elif isinstance(old, str):
        fits, kind = isinstance(value, str), "a string"
    else:
        return
    if not fits:
        raise InvalidInput(f"{path}={value!r}: give {kind}")


def is_number(value: Any) -> bool:
    """Whether a value is a real number and not a bool."""
    scalar = isinstance(value, (np.ndarray, Array)) and value.ndim == 0
    return (isinstance(value, numbers.Real) or scalar) and not isinstance(value, (bool, np.bool_))
