"""Warnings about data that can be used but deserve a second look."""

from __future__ import annotations

import warnings

from jaxfed.core.errors import did_you_mean as did_you_mean
from jaxfed.core.errors import listed as listed


class DataWarning(UserWarning):
    """The data can be used, but something about them is unusual; the message says what to check."""


class Notices:
    """Collects what deserves a second look, and warns once per kind with the hospitals listed."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, hospital: str | None = None) -> None:
        """Record one notice; notices of one ``kind`` become one warning."""
        self._found.setdefault(kind, []).extend([] if hospital is None else [hospital])

    def emit(self, stacklevel: int = 3) -> None:
        """Warn; ``stacklevel`` 3 points at the caller of the function that calls this."""
        for kind, hospitals in self._found.items():
            whose = f" (hospital {listed(hospitals)})" if hospitals else ""
            warnings.warn(f"{self._where}: {kind}{whose}", DataWarning, stacklevel=stacklevel)
