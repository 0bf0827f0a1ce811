"""Look at a table before training on it: what is wrong, how hospitals differ, and what to type."""

from __future__ import annotations

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
from jaxfed.data.check.contents import Contents
from jaxfed.data.check.facts import facts_of
from jaxfed.data.check.finding import SEVERITIES
from jaxfed.data.check.medians import quartiles
from jaxfed.data.check.page import brief_of, page_of
from jaxfed.data.check.survey import Survey, survey_dataset, survey_frame
from jaxfed.data.check.tables import tables_of

FINDERS = (sites, outcome, reversal, texts, roles, giveaways, copies, sentinels, gaps, scales)


class Check(Contents):
    """What a check has seen, :class:`~jaxfed.data.check.contents.Contents`: print it, or save a page."""

    def save(self, path: str | Path) -> Path:
        """Write one HTML page, which needs nothing else (``pip install 'jaxfed[report]'``).

        Raises:
            InvalidInput: it cannot be written there.
            ImportError: great-tables is not installed.
        """
        return page_of(self).save(path)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return brief_of(self).fragment()


def check(
    data: pd.DataFrame | Dataset,
    *,
    hospital: str = "site",
    label: str = "died",
    time: str | None = None,
    event: str | None = None,
    patient: str | None = None,
    row_weights: str | None = None,
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
        time: column of the time until the event; with ``event``, which is then looked at as the label.
        event: column that says whether there was one.
        patient: column that says whose row it is where a patient has several.
        row_weights: column with weights of rows.
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
    if isinstance(label, (list, tuple)):
        raise InvalidInput(f"check: label={label!r}: look at one outcome at a time, and drop= the others")
    given: dict[str, Any] = {}
    if isinstance(data, Dataset):
        survey = survey_dataset(data if name is None else data.replace(name=name), minimum)
    elif isinstance(data, pd.DataFrame) and len(data):
        lists = {"features": features, "drop": drop, "missing": missing, "classes": classes}
        if (time is None) != (event is None):
            raise InvalidInput(f"check: time={time!r} and event={event!r}: give both of them, or label")
        given = {"hospital": hospital, "time": time, "event": event, "patient": patient}
        given |= {"label": label if event is None else None, "row_weights": row_weights, "task": task}
        given = {key: value for key, value in given.items() if value is not None}
        given |= {key: list(value) for key, value in lists.items() if value is not None and len(value)}
        survey = survey_frame(
            data, hospital, event or label, patient, (time, row_weights), features, drop, missing,
            None if event else task, classes, minimum, name or "table",
        )  # fmt: skip
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
