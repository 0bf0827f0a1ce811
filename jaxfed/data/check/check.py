"""Look at a table before training on it: what is wrong, how hospitals differ, and what to type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.core.task import Task
from jaxfed.data.check import (
    copies,
    gaps,
    giveaways,
    outcome,
    reversal,
    roles,
    scales,
    sentinels,
    sites,
    texts,
    units,
)
from jaxfed.data.check.facts import facts_of
from jaxfed.data.check.finding import SEVERITIES, Finding, flags, merged
from jaxfed.data.check.medians import quartiles
from jaxfed.data.check.survey import Survey, survey_dataset, survey_frame
from jaxfed.data.check.tables import tables_of

FINDERS = (sites, outcome, reversal, texts, roles, giveaways, copies, sentinels, gaps, scales)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Check:
    """What a check has seen. ``print`` it, or ``save`` it as a page.

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

    def save(self, path: str | Path) -> Path:
        """Write one HTML page, which needs nothing else (``pip install 'jaxfed[report]'``).

        Raises:
            InvalidInput: it cannot be written there.
            ImportError: great-tables is not installed.
        """
        from jaxfed.data.check.page import page_of

        return page_of(self).save(path)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from jaxfed.data.check.page import brief_of

        return brief_of(self).fragment()


def check(
    data: pd.DataFrame | Dataset,
    *,
    hospital: str = "site",
    label: str = "died",
    patient: str | None = None,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[Any] = (),
    task: Task | str | None = None,
    classes: Sequence[Any] | None = None,
    minimum: int = 5,
    name: str | None = None,
) -> Check:
    """Look at a table, or at a dataset, before training on it; nothing of it is changed.

    Args:
        data: one row per patient or visit (:func:`~jaxfed.data.reading.read_table`), or a dataset, which
            knows its hospitals and labels. Other arguments than ``minimum`` are for tables, and as in
            :func:`~jaxfed.data.frame.from_frame`.
        hospital: column that says whose row it is.
        label: column to predict.
        patient: column that says whose row it is where a patient has several.
        features: columns to learn from; None: all others.
        drop: columns to leave out.
        missing: codes that stand for a missing value, such as ``["?", -9]``.
        task: ``"binary"``, ``"multiclass"`` or ``"regression"``; by default from the labels.
        classes: labels in the order of the classes; of two the last is the positive one.
        minimum: nothing known of fewer patients is shown.
        name: what the data are called.

    Returns:
        Findings, each with what to type; tables; a page.

    Raises:
        InvalidInput: no rows, or columns that are not there.

    >>> import pandas as pd
    >>> df = pd.DataFrame({"site": ["a", "b"] * 30, "age": [-9, 40, 50] * 20, "died": [0, 1, 1, 0] * 15})
    >>> [finding.python for finding in check(df).findings if finding.kind == "sentinel"]
    ['missing=[-9]']
    """
    if isinstance(minimum, bool) or not isinstance(minimum, (int, np.integer)) or minimum < 1:
        raise InvalidInput(f"check: minimum={minimum!r}: give a whole number, 1 or more")
    given: dict[str, Any] = {}
    if isinstance(data, Dataset):
        survey = survey_dataset(data if name is None else data.replace(name=name), minimum)
    elif isinstance(data, pd.DataFrame) and len(data):
        lists = {"features": features, "drop": drop, "missing": missing, "classes": classes}
        given = {"hospital": hospital, "label": label, "patient": patient, "task": task}
        given = {key: value for key, value in given.items() if value is not None}
        given |= {key: list(value) for key, value in lists.items() if value is not None and len(value)}
        survey = survey_frame(
            data, hospital, label, patient, features, drop, missing, task, classes, minimum, name or "table"
        )
    else:
        raise InvalidInput(f"check: got {type(data).__name__} without rows; give a DataFrame or a Dataset")
    return _checked(survey, given)


def _checked(survey: Survey, given: Mapping[str, Any]) -> Check:
    spread = quartiles(survey)
    findings = [found for finder in FINDERS for found in finder.find(survey)]
    findings += units.find(survey, spread)
    tables = tables_of(survey, spread)
    return Check(
        name=survey.name,
        findings=tuple(sorted(findings, key=lambda found: SEVERITIES.index(found.severity))),
        facts=tuple(facts_of(survey, tables["differences"])),
        tables=tables,
        given=given,
        minimum=survey.minimum,
    )
