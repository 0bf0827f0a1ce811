"""Calibration to a budget: the least noise, and the most steps, whose epsilon is small enough."""

from __future__ import annotations

import functools
import math

from jaxfed.core.errors import Problems
from jaxfed.privacy import arguments
from jaxfed.privacy.accounting import Accountant, Adjacency, Mechanism, epsilon, uncovered

LARGEST_STEPS = 2**24


def noise_for(
    epsilon: float,
    steps: int,
    delta: float,
    *,
    rate: float = 1.0,
    adjacency: Adjacency = "add-or-remove",
    accountant: Accountant = "pld",
) -> float:
    """The least noise multiplier, to 0.1 %, whose epsilon after ``steps`` Poisson sampled steps is enough.

    >>> round(noise_for(1.0, 1000, 1e-5, rate=0.01), 2)
    1.42

    Raises:
        InvalidInput: a number out of range.
    """
    problems = Problems("noise_for")
    problems.extend(arguments.real("epsilon", epsilon, 0, math.inf, above=True))
    problems.extend(arguments.whole("steps", steps))
    problems.extend(arguments.share("delta", delta))
    problems.raise_if_any()
    Mechanism(1.0, rate, adjacency=adjacency)  # its checks
    if rate == 0:
        return 0.0
    return _noise_for(float(epsilon), int(steps), float(delta), float(rate), adjacency, accountant)


def steps_for(
    budget: float, mechanism: Mechanism, delta: float, *, unit: int = 1, accountant: Accountant = "pld"
) -> int:
    """The largest number of units of ``unit`` steps whose epsilon is at most ``budget``.

    0 if not even one unit fits; at most 2**24 steps, also for a mechanism that costs nothing.
    """
    problems = Problems("steps_for")
    problems.extend(arguments.real("budget", budget, 0, math.inf, above=True))
    problems.extend(arguments.whole("unit", unit))
    problems.raise_if_any()

    def fits(units: int) -> bool:
        return epsilon(mechanism, units * unit, delta, accountant=accountant) <= budget

    low, high = 0, 1
    quick = accountant == "pld" and not uncovered(mechanism, "rdp")
    if quick and mechanism.noise_multiplier and mechanism.rate:  # a lower bound that costs little
        low = steps_for(budget, mechanism, delta, unit=unit, accountant="rdp")
        high = math.ceil(1.3 * low) + 1
    while high * unit <= LARGEST_STEPS and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@functools.lru_cache(maxsize=4096)
def _noise_for(
    wanted: float, steps: int, delta: float, rate: float, adjacency: Adjacency, accountant: Accountant
) -> float:
    def enough(noise: float) -> bool:
        return (
            epsilon(Mechanism(noise, rate, adjacency=adjacency), steps, delta, accountant=accountant)
            <= wanted
        )

    low, high = 0.5, 1.0
    while not enough(high):
        low, high = high, 2 * high
    while enough(low):
        low, high = low / 2, low
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
