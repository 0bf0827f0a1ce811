"""One thing that a check has seen, and what to type about it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxfed.data.check.survey import Survey

Severity = Literal["problem", "caution", "note"]
SEVERITIES = ("problem", "caution", "note")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was seen in plain words, and what to type.

    Attributes:
        kind: a short name, such as ``"unit"`` or ``"one class"``.
        severity: ``"problem"`` (training is refused, or its results are wrong), ``"caution"`` (look at it)
            or ``"note"`` (a fact that a report should state).
        text: what was seen; nothing of fewer patients than the minimum is in it.
        columns: of the table, that it is about.
        hospitals: that it is about, of those that have enough patients to be named.
        count: how many rows, values, columns or hospitals, as text; ``"<5"`` where that is below the minimum.
        arguments: what to pass to ``check`` and ``from_frame``.
        statement: what to do to the table in Python first, where an argument is not enough.
        option: what to add to a command of the command line, where it is not the arguments.
    """

    kind: str
    severity: Severity
    text: str
    columns: tuple[str, ...] = ()
    hospitals: tuple[str, ...] = ()
    count: str = ""
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    statement: str = ""
    option: str = ""

    @property
    def python(self) -> str:
        """What to type in Python."""
        return self.statement or ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())

    @property
    def command(self) -> str:
        """What to add to the command; empty where the file itself must be mended."""
        return self.option or flags(self.arguments)


def flags(arguments: Mapping[str, Any]) -> str:
    """Arguments as options of the command line: ``missing=['?', -9]`` is ``--missing '?' -9``."""
    words = []
    for name, value in arguments.items():
        several = isinstance(value, (list, tuple))
        words += [f"--{name.replace('_', '-')}", *map(str, value if several else [value])]
    return shlex.join(words)


def dropping(survey: Survey, columns: Sequence[str]) -> dict[str, Any]:
    """The argument that leaves columns out."""
    if not survey.chosen:
        return {"drop": list(columns)}
    return {"features": [name for name in survey.chosen if name not in columns]}


def merged(findings: Sequence[Finding]) -> dict[str, Any]:
    """The arguments of all findings together."""
    whole: dict[str, Any] = {}
    for name, value in (item for finding in findings for item in finding.arguments.items()):
        if name == "features" and name in whole:
            whole[name] = [column for column in whole[name] if column in value]
        elif isinstance(value, list) and name in ("drop", "missing"):
            whole[name] = list(dict.fromkeys([*whole.get(name, []), *value]))
        else:
            whole[name] = value
    return whole
