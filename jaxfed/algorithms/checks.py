"""Checks of an algorithm's numbers, as messages that name the argument, the value and the remedy."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.core.local import LocalTraining


def number(
    name: str, value: Any, least: float = 0.0, most: float = math.inf, *, above: bool = False
) -> list[str]:
    """A finite number from (or ``above``) ``least`` to ``most``; what only the run knows passes."""
    values = _known(value)
    if values is None:
        return []
    if np.issubdtype(values.dtype, np.number):
        enough = values > least if above else values >= least
        if np.isfinite(values).all() and enough.all() and (values <= most).all():
            return []
    wanted = f"{'>' if above else '>='} {least:g}" + ("" if most == math.inf else f" and <= {most:g}")
    return [f"{name}={value!r}: give a number {wanted}"]


def shared(
    name: str, value: Any, least: float = 0.0, most: float = math.inf, *, above: bool = False
) -> list[str]:
    """As :func:`number`, and the same one for all hospitals."""
    if isinstance(value, PerHospital):
        return [f"{name}=per_hospital(...): the server uses it too; give one number for all hospitals"]
    return number(name, value, least, most, above=above)


def count(name: str, value: Any, least: int = 1) -> list[str]:
    """A whole number of at least ``least``, for all hospitals or for each."""
    values = _known(value)
    if values is None or (np.issubdtype(values.dtype, np.integer) and (values >= least).all()):
        return []
    return [f"{name}={value!r}: give a whole number >= {least}"]


def uniform(algorithm: str, weighting: str) -> list[str]:
    """Hospitals must have equal weights."""
    if weighting == "uniform":
        return []
    return [f"weighting={weighting!r}: {algorithm} is a plain mean over hospitals; give weighting='uniform'"]


def plain_sgd(
    algorithm: str,
    local: LocalTraining,
    *,
    momentum: bool = False,
    why: str = "reads the gradients from the distance of plain steps",
) -> list[str]:
    """The hospitals' optimiser must be sgd, without momentum unless ``momentum``."""
    optimizer = local.optimizer
    if optimizer is None:
        return []
    arguments = {**optimizer.numbers, **dict(optimizer.options)}
    allowed = {"learning_rate", "momentum"} if momentum else {"learning_rate"}
    used = {
        name for name, value in arguments.items() if not (value is None or value is False or _is(value, 0))
    }
    numbers = "learning_rate" in optimizer.numbers and used <= {*optimizer.numbers}
    if optimizer.factory is optax.sgd and used <= allowed and numbers:
        rate = optimizer.numbers["learning_rate"]
        first = rate.function(jnp.zeros((), jnp.int32)) if isinstance(rate, Schedule) else rate
        known = _known(first)
        if known is None or (known > 0).all():
            return []
        return [f"client_optimizer={optimizer!r}: {algorithm} divides by the step size; start above 0"]
    remedy = "optimizer(optax.sgd, learning_rate=...), a number or jaxfed.schedule(...)"
    remedy += ", with or without momentum" if momentum else ""
    return [f"client_optimizer={optimizer!r}: {algorithm} {why}; give {remedy}"]


def _is(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number


def _known(value: Any) -> np.ndarray | None:
    """The value as an array, or None where it is only known inside the run."""
    if isinstance(value, (Schedule, jax.core.Tracer)):
        return None
    return np.asarray(value.values if isinstance(value, PerHospital) else value)
