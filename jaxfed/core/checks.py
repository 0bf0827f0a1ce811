"""Checks of the numbers of a part, as messages that name the argument, the value and the remedy."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from jaxfed.core.hyperparameters import PerHospital, Schedule


def number(
    name: str,
    value: Any,
    least: float = 0.0,
    most: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> list[str]:
    """Problems unless ``value`` is finite, >= ``least`` (> if ``above``) and <= ``most`` (< if ``below``).

    A value that is known only inside the run (a schedule, a traced number) passes.
    """
    values = known(value)
    if values is None:
        return []
    if np.issubdtype(values.dtype, np.number):
        above_least = values > least if above else values >= least
        below_most = values < most if below else values <= most
        if np.isfinite(values).all() and above_least.all() and below_most.all():
            return []
    wanted = f"{'>' if above else '>='} {least:g}"
    wanted += "" if most == math.inf else f" and {'<' if below else '<='} {most:g}"
    return [f"{name}={value!r}: give a number {wanted}"]


def shared(
    name: str,
    value: Any,
    least: float = 0.0,
    most: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> list[str]:
    """As :func:`number`, for a value that has to be the same for all hospitals."""
    if isinstance(value, PerHospital):
        return [f"{name}=per_hospital(...): the server uses it too; give one number for all hospitals"]
    return number(name, value, least, most, above=above, below=below)


def count(name: str, value: Any, least: int = 1) -> list[str]:
    """Problems unless ``value`` is a whole number >= ``least``, for all hospitals or for each."""
    values = known(value)
    if values is None or (np.issubdtype(values.dtype, np.integer) and (values >= least).all()):
        return []
    return [f"{name}={value!r}: give a whole number >= {least}"]


def shared_count(name: str, value: Any, least: int = 1) -> list[str]:
    """As :func:`count`, for a value that has to be the same for all hospitals."""
    if isinstance(value, PerHospital):
        return [f"{name}=per_hospital(...): the server uses it; give one number for all hospitals"]
    return count(name, value, least)


def hospital_number(name: str, value: Any, hospitals: int) -> list[str]:
    """The problem that none of ``hospitals`` has the number ``value``."""
    number = known(value)
    if number is None or number < hospitals:
        return []
    most = hospitals - 1
    return [f"{name}={value} of {hospitals} hospitals, which are counted from 0: give at most {most}"]


def known(value: Any) -> np.ndarray | None:
    """The value as an array, or None if it is known only inside the run."""
    inside = value.values if isinstance(value, PerHospital) else value
    if isinstance(inside, (Schedule, jax.core.Tracer, jax.ShapeDtypeStruct)) or type(inside) is object:
        return None  # jax replaces leaves by plain objects when it examines a tree's structure
    return np.asarray(inside)
