"""Checks of the generator's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxfed.core.errors import Problems


def check_number(key: str, value: Any, problems: Problems, low: float = 0) -> None:
    """A finite number, ``low`` or more."""
    fine = _is_number(value) and bool(low <= value < np.inf)
    problems.check(fine, f"{key}={value!r}: give a finite number, {low:g} or more")


def check_real(key: str, value: Any, problems: Problems) -> None:
    """A finite number of either sign."""
    fine = _is_number(value) and bool(np.isfinite(value))
    problems.check(fine, f"{key}={value!r}: give a finite number")


def check_share(key: str, value: Any, problems: Problems, example: str, below: bool = False) -> None:
    """A number from 0 to 1, or ``below`` 1."""
    fine = _is_number(value) and bool(0 <= value < 1 if below else 0 <= value <= 1)
    limit = "from 0 to below 1" if below else "from 0 to 1"
    problems.check(fine, f"{key}={value!r}: give a number {limit}, as {example}")


def check_between(key: str, value: Any, low: float, high: float, problems: Problems, more: str = "") -> None:
    """A number between two that it may not reach."""
    fine = _is_number(value) and bool(low < value < high)
    problems.check(fine, f"{key}={value!r}: give a number between {low:g} and {high:g}{more}")


def check_count(key: str, value: Any, least: int, problems: Problems) -> None:
    """A whole number, ``least`` or more."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    fine = whole and bool(value >= least)
    problems.check(fine, f"{key}={value!r}: give a whole number, {least} or more")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
