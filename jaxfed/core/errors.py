"""Errors that name the argument or hospital, the value and the remedy, and report all problems together."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
NUMBER = re.compile(r"'[^']*'|\d+(?:\.\d+)?")
SHOWN = 40  # a message lists at most this number of names in full


class InvalidInput(ValueError):
    """An input cannot be used; the message lists every problem with it."""


class Problems:
    """Collects every problem of an input, so that a user sees them in one error instead of one by one.

    Problems of the same kind in several hospitals are reported in one line, which names the hospitals.

    >>> problems = Problems("from_arrays")
    >>> for name in ("north", "south", "west"):
    ...     problems.hospital(name).add("y is None; give an array")
    >>> problems.raise_if_any()
    Traceback (most recent call last):
    jaxfed.core.errors.InvalidInput: from_arrays: hospital 'north': y is None; give an array (also hospital 'south', 'west')
    """  # noqa: E501

    def __init__(self, where: str, most: int = 12) -> None:
        self._where = where
        self._most = most
        self._count = 0
        self._kinds: dict[str, tuple[str, list[str]]] = {}

    def add(self, problem: str, kind: str | None = None, hospital: str | None = None) -> None:
        """Record one problem: hospital or argument, value, remedy.

        Args:
            problem: the text; it does not name the hospital if ``hospital`` is given.
            kind: only the first of several problems of the same kind is shown. The default is the text; for
                the problem of a hospital, the text without its numbers.
            hospital: name of the hospital that has the problem.
        """
        self._count += 1
        if hospital is None:
            self._kinds.setdefault(kind or problem, (problem, []))
        else:
            same = kind or NUMBER.sub(lambda match: match[0] if match[0][0] == "'" else "0", problem)
            self._kinds.setdefault(f"hospital: {same}", (problem, []))[1].append(hospital)

    def extend(self, problems: Iterable[str]) -> None:
        """Record several problems."""
        for problem in problems:
            self.add(problem)

    def check(self, fine: bool, problem: str, kind: str | None = None) -> None:
        """Record ``problem`` unless ``fine``."""
        if not fine:
            self.add(problem, kind)

    def hospital(self, name: str) -> HospitalProblems:
        """The same collection for problems of one hospital, which need not name it."""
        return HospitalProblems(self, name)

    @property
    def count(self) -> int:
        """The number of problems recorded so far."""
        return self._count

    def raise_if_any(self) -> None:
        """Raise one :class:`InvalidInput` that lists the recorded problems, if there are any."""
        lines = [_line(problem, hospitals) for problem, hospitals in self._kinds.values()]
        if not lines:
            return
        if len(lines) == 1:
            raise InvalidInput(f"{self._where}: {lines[0]}")
        shown = lines[: self._most]
        hidden = len(lines) - len(shown)
        text = [f"{self._where}: {len(lines)} problems", *(f"  - {line}" for line in shown)]
        if hidden:
            text.append(f"  ... and {hidden} more")
        raise InvalidInput("\n".join(text))


class HospitalProblems(Problems):
    """The problems of one hospital inside of a collection; make it with :meth:`Problems.hospital`."""

    def __init__(self, whole: Problems, name: str) -> None:
        self._whole, self._name = whole, name

    def add(self, problem: str, kind: str | None = None, hospital: str | None = None) -> None:
        """Record one problem of the hospital."""
        self._whole.add(problem, kind, hospital or self._name)

    @property
    def count(self) -> int:
        """The number of problems recorded so far, of all hospitals."""
        return self._whole.count

    def raise_if_any(self) -> None:
        """Raise the problems of the whole collection, if there are any."""
        self._whole.raise_if_any()


def listed(names: Iterable[object], most: int = 8) -> str:
    """The names as text for a message, cut to a readable number: ``'a', 'b' and 3 more``."""
    every = [repr(name) if isinstance(name, str) else str(name) for name in names]
    hidden = len(every) - most
    if hidden <= 0:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {hidden} more"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A hint: ``did you mean 'mild'?`` for a near miss, else the known names (of many, the first few)."""
    every = [str(name) for name in known]
    near = difflib.get_close_matches(str(given), every, n=2)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"choose from {every}" if len(every) <= SHOWN else f"choose from {listed(every)}"


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn of a line of the user: the innermost that is not in jaxfed."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "jaxfed":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def spelled(function: F, name: str | None = None) -> F:
    """The function, with an InvalidInput that suggests a name where a keyword argument does not exist.

    Its signature is the same for editors.

    Args:
        function: any function; a method or ``__init__`` too.
        name: its name in the message; None for its ``__name__``.
    """
    known = [*inspect.signature(function).parameters]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for given in kwargs:
            if given not in known:
                names = [argument for argument in known if argument != "self"]
                hint = did_you_mean(given, names)
                raise InvalidInput(f"{name or function.__name__}: no argument {given!r}; {hint}")
        return function(*args, **kwargs)

    return cast(F, checked)


def _line(problem: str, hospitals: list[str]) -> str:
    if not hospitals:
        return problem
    also = list(dict.fromkeys(hospitals[1:]))
    return f"hospital {hospitals[0]!r}: {problem}" + (f" (also hospital {listed(also)})" if also else "")
