"""Checks of numbers and choices that the accounting needs to know, as messages with the remedy."""

from __future__ import annotations

import math
import numbers
from typing import Any, get_args

from jaxfed.core.errors import did_you_mean
from jaxfed.core.hyperparameters import Schedule


def real(name: str, value: Any, least: float, most: float, *, above: bool = False) -> list[str]:
    """A problem unless ``value`` is a finite number from ``least`` (or above it) to ``most``."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if number and (value > least if above else value >= least) and value <= most:
        return []
    wanted = f"{'>' if above else '>='} {least:g}" + ("" if most == math.inf else f" and <= {most:g}")
    return [f"{name}={value!r}: give a finite number {wanted}"]


def share(name: str, value: Any) -> list[str]:
    """A problem unless ``value`` lies strictly between 0 and 1."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 < float(value) < 1:
        return []
    return [f"{name}={value!r}: give a number above 0 and below 1, well below 1 over the number of patients"]


def whole(name: str, value: Any, least: int = 1) -> list[str]:
    """A problem unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least:
        return []
    return [f"{name}={value!r}: give a whole number >= {least}"]


def constant(name: str, value: Any) -> list[str]:
    """A problem if ``value`` changes over rounds; it may differ between hospitals."""
    if isinstance(value, Schedule):
        return [f"{name}: a schedule has no accounting here; give one number"]
    return []


def choice(name: str, value: Any, kinds: Any) -> list[str]:
    """A problem unless ``value`` is a member of a Literal."""
    names = get_args(kinds)
    return [] if value in names else [f"{name}={value!r}: {did_you_mean(value, names)}"]
