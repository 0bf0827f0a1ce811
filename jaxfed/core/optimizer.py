"""Descriptions of optimisers: the factory is static and its numbers are leaves.

The optax transformation is built from the description inside the compiled run, so a step size can be traced,
swept and changed without compiling again.
"""

from __future__ import annotations

import dataclasses
import inspect
import numbers
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import optax
from jax import Array
from jax.core import Tracer

from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.hyperparameters import Number, PerHospital, Schedule
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optax factory with its arguments; make one with :func:`optimizer`.

    Attributes:
        numbers: keyword arguments that are numbers; leaves, may be traced.
        factory: static; any function that returns an ``optax.GradientTransformation``.
        options: static; the other keyword arguments.
    """

    numbers: dict[str, Number]
    factory: Callable[..., optax.GradientTransformation] = dataclasses.field(metadata={"static": True})
    options: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), metadata={"static": True})

    def build(self) -> optax.GradientTransformation:
        """The optax transformation with the current values of the numbers."""
        return self.factory(**self.numbers, **dict(self.options))

    def __repr__(self) -> str:
        arguments = {**self.numbers, **dict(self.options)}
        inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{getattr(self.factory, '__name__', self.factory)}({inside})"


def optimizer(factory: Callable[..., optax.GradientTransformation], **arguments: Any) -> Optimizer:
    """Describe an optimiser: ``optimizer(optax.sgd, learning_rate=0.05)``.

    Args:
        factory: a function that returns an optax gradient transformation, from optax or your own. A
            simulation refuses those that need the loss in each step, as ``optax.lbfgs`` does.
        **arguments: its keyword arguments. Floats become leaves that can be traced and swept; the rest
            (flags, strings, None, callables) is static. ``jaxfed.schedule(f)`` changes over rounds,
            ``jaxfed.per_hospital(values)`` between hospitals (client optimisers only).

    Raises:
        InvalidInput: the factory does not have an argument, or a number is not finite or negative.

    >>> import optax
    >>> optimizer(optax.sgd, learning_rate=0.05)
    sgd(learning_rate=0.05)
    """
    problems = Problems("optimizer")
    if isinstance(factory, optax.GradientTransformation) or not callable(factory):
        problems.add(
            f"{type(factory).__name__} is not a factory; give the function and its numbers apart, "
            "optimizer(optax.sgd, learning_rate=0.05), so that they can be changed without compiling again"
        )
        problems.raise_if_any()
    signature = inspect.signature(factory)
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        unknown = sorted(set(arguments) - set(signature.parameters))
        for name in unknown:
            problems.add(
                f"{factory.__name__} has no argument {name}; {did_you_mean(name, signature.parameters)}"
            )
    required = [
        name
        for name, p in signature.parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    missing = [name for name in required if name not in arguments]
    problems.check(not missing, f"{factory.__name__} needs {', '.join(missing)}")
    defaults = {name: p.default for name, p in signature.parameters.items()}
    arguments = {
        name: v.item() if np.ndim(v) == 0 and isinstance(v, np.ndarray) else v
        for name, v in arguments.items()
    }
    for name, value in arguments.items():
        _check_number(name, value, name == "learning_rate" or isinstance(defaults.get(name), float), problems)
    problems.raise_if_any()
    leaves = {
        name: float(value) if isinstance(value, numbers.Real) else value
        for name, value in arguments.items()
        if _is_number(name, value, defaults.get(name))
    }
    options = tuple(sorted((name, v) for name, v in arguments.items() if name not in leaves))
    return Optimizer(leaves, factory, options)


def failure(optimizer: Optimizer, params: PyTree) -> str | None:
    """Why an optimiser cannot step with gradients and parameters alone, or None; nothing is compiled.

    Line searches (``optax.lbfgs``) and step sizes that depend on the loss (``polyak_sgd``,
    ``reduce_on_plateau``) need the loss too. ``params`` are shapes.
    """
    leaves, tree = jax.tree.flatten(params)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    sizes = tuple((name, getattr(value, "shape", ())) for name, value in optimizer.numbers.items())
    try:
        return _known_failure(optimizer.factory, optimizer.options, sizes, tree, shapes)
    except TypeError:  # options that are not hashable
        return _failure(optimizer.factory, optimizer.options, sizes, tree, shapes)


def _failure(factory: Any, options: tuple, sizes: tuple, tree: Any, shapes: tuple) -> str | None:
    params = tree.unflatten([jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes])
    numbers = {name: np.full(shape, 0.1, np.float32) if shape else 0.1 for name, shape in sizes}

    def step(numbers: dict[str, Any], params: PyTree) -> PyTree:
        transformation = Optimizer(numbers, factory, options).build()
        return transformation.update(params, transformation.init(params), params)[0]

    try:
        jax.eval_shape(step, numbers, params)
    except Exception as error:  # whatever a user's optimiser raises
        why = (str(error).strip().splitlines() or [""])[0]
        return f"its update fails with gradients and parameters alone ({type(error).__name__}: {why})"
    return None


_known_failure = lru_cache(maxsize=64)(_failure)  # most configurations of a sweep have the same optimiser


def _check_number(name: str, value: Any, wanted: bool, problems: Problems) -> None:
    """Record a problem if a value should be a number and is none, is not finite, or is a negative step."""
    number = isinstance(value, (numbers.Real, Array, Schedule, PerHospital)) and not isinstance(value, bool)
    if not number:
        fine = not wanted or callable(value) or (value is None and name != "learning_rate")
        problems.check(fine, f"{name}={value!r}: give a number")
        return
    inside = value.values if isinstance(value, PerHospital) else value
    if isinstance(inside, (Schedule, Tracer)):
        return
    known = np.asarray(inside)
    problems.check(bool(np.isfinite(known).all()), f"{name}={value}: give a finite number")
    if name == "learning_rate":
        problems.check(not (known < 0).any(), f"learning_rate={value}: give a number >= 0")


def _is_number(name: str, value: Any, default: Any) -> bool:
    """Whether an argument is a number that may be traced; other integers may be sizes and are static."""
    if isinstance(value, bool):
        return False
    real = name == "learning_rate" or isinstance(default, float)
    if isinstance(value, numbers.Integral):
        return real
    return isinstance(value, (numbers.Real, Array, Schedule, PerHospital))
