"""What a check has seen, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.data.check.finding import SEVERITIES, Finding, flags, merged


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contents:
    """What a check has seen.

    Nothing in it is known of fewer than ``minimum`` patients: smaller counts are ``<5``, smaller hospitals
    have no name, medians are rounded, and extremes are not there. So it can be shown around.

    What the findings of a dataset say to type is for the table ``df`` that it was made of.

    Attributes:
        name: what the data are called.
        findings: problems first, then cautions, then notes.
        facts: rows, hospitals, labels, differences between the hospitals, a sentence each.
        tables: ``hospitals`` (rows, events, prevalence, missing), ``missing`` and ``medians`` (hospitals by
            features), and ``differences`` (labels, features, missingness, beside what chance alone does).
            What may not be shown is missing in them.
        given: the arguments of the call that say how the table is read.
        minimum: patients.
    """

    name: str
    findings: tuple[Finding, ...]
    facts: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    given: Mapping[str, Any]
    minimum: int

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for ``from_frame`` with everything that the findings propose: look at each first."""
        return merged([Finding("given", "note", "", arguments=self.given), *self.findings])

    @property
    def code(self) -> str:
        """All of it in Python, from the table ``df`` to the dataset ``hospitals``; look at each line."""
        statements = [found.statement for found in self.findings if found.statement]
        words = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        lines = [line for line in statements if line.startswith("df") and " = " in line]
        lines.append(f"hospitals = jaxfed.data.from_frame(df, {words})")
        return "\n".join([*lines, *(line for line in statements if line.startswith("hospitals"))])

    @property
    def command(self) -> str:
        """The same as options of ``jaxfed run --data``."""
        return flags(self.arguments)

    def summary(self, typed: str = "python") -> str:
        """The findings as text, with what to type in ``"python"`` or on the ``"command"`` line.

        Raises:
            InvalidInput: another ``typed``.
        """
        if typed not in ("python", "command"):
            raise InvalidInput(f"summary: typed={typed!r}: give 'python' or 'command'")
        lines = [f"Check of {self.name!r}", *(f"  {fact}" for fact in self.facts), ""]
        counts = [f"{n} {kind}s" if n != 1 else f"1 {kind}" for kind, n in self.count().items() if n]
        lines.append(f"{', '.join(counts)}:" if counts else "Nothing to mend.")
        for number, finding in enumerate(self.findings, 1):
            lines.append(f"{number:3}. {finding.severity}, {finding.kind}: {finding.text}")
            shown = finding.python if typed == "python" else finding.command
            if not shown and finding.statement:
                shown = f"mend the file, as in Python: {finding.statement}"
            lines += [f"       > {line}" for line in shown.splitlines()]
        return "\n".join(lines)

    def count(self) -> dict[str, int]:
        """Findings of each severity."""
        return {kind: sum(found.severity == kind for found in self.findings) for kind in SEVERITIES}
