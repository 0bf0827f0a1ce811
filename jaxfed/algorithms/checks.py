"""Checks of an algorithm's numbers, as messages that name the argument, the value and the remedy."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from jaxfed.core.checks import count, known, number, shared
from jaxfed.core.hyperparameters import Number, Schedule
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer

__all__ = ["count", "number", "plain_sgd", "rate_of", "shared", "uniform"]


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
        values = known(first)
        if values is None or (values > 0).all():
            return []
        return [f"client_optimizer={optimizer!r}: {algorithm} divides by the step size; start above 0"]
    remedy = "optimizer(optax.sgd, learning_rate=...), a number or jaxfed.schedule(...)"
    remedy += ", with or without momentum" if momentum else ""
    return [f"client_optimizer={optimizer!r}: {algorithm} {why}; give {remedy}"]


def rate_of(optimizer: Optimizer | None, algorithm: str, argument: str) -> tuple[Number, str] | None:
    """The step size of an optimiser, and the argument of the algorithm that gives it another one."""
    if optimizer is None or "learning_rate" not in optimizer.numbers:
        return None
    example = f"{algorithm}({argument}=jaxfed.optimizer(optax.sgd, learning_rate=0.05))"
    return optimizer.numbers["learning_rate"], example


def _is(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number
