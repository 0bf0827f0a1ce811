"""Errors that name who, what, the value and the remedy, and report several problems together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 40  # names that a message lists in full


class InvalidInput(ValueError):
    """What a user gave cannot be used; the message lists every problem that was found."""


class Problems:
    """Collects every problem of an input, so that a user meets them in one error instead of one by one.

    >>> problems = Problems("Simulation")
    >>> problems.add("batch_size=0: give a positive number, or None for full batches")
    >>> problems.raise_if_any()
    Traceback (most recent call last):
    jaxfed.core.errors.InvalidInput: Simulation: batch_size=0: give a positive number, or None for full batches
    """  # noqa: E501

    def __init__(self, where: str, most: int = 12) -> None:
        self._where = where
        self._most = most
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        """Record one problem: hospital or argument, value, remedy."""
        self._found.append(problem)

    def extend(self, problems: Iterable[str]) -> None:
        """Record several problems."""
        for problem in problems:
            self.add(problem)

    def check(self, fine: bool, problem: str) -> None:
        """Record ``problem`` unless ``fine``."""
        if not fine:
            self.add(problem)

    @property
    def count(self) -> int:
        """How many problems were recorded so far."""
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise one :class:`InvalidInput` that lists what was found."""
        if not self._found:
            return
        if len(self._found) == 1:
            raise InvalidInput(f"{self._where}: {self._found[0]}")
        shown = self._found[: self._most]
        hidden = len(self._found) - len(shown)
        lines = [f"{self._where}: {len(self._found)} problems", *(f"  - {line}" for line in shown)]
        if hidden:
            lines.append(f"  ... and {hidden} more of the same kinds")
        raise InvalidInput("\n".join(lines))


def listed(names: Iterable[object], most: int = 8) -> str:
    """``'a', 'b' and 3 more``: names for a message, cut to a readable number."""
    every = [repr(name) if isinstance(name, str) else str(name) for name in names]
    hidden = len(every) - most
    if hidden <= 0:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {hidden} more"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """``did you mean 'mild'?`` for a near miss, else what there is; of a long list the first few."""
    every = [str(name) for name in known]
    near = difflib.get_close_matches(str(given), every, n=2)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"choose from {every}" if len(every) <= SHOWN else f"choose from {listed(every)}"
