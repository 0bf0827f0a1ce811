"""The tables of a check, in which what is known of too few patients is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxfed.data.check.differences import class_counts, differences
from jaxfed.data.check.disclosure import is_hidden, rounded, shares, without_rest
from jaxfed.data.check.medians import Quartiles
from jaxfed.data.check.survey import Survey


def tables_of(survey: Survey, spread: Quartiles) -> dict[str, pd.DataFrame]:
    """The tables of :class:`~jaxfed.data.check.contents.Contents`."""
    index = pd.Index([name for name, named in zip(survey.hospitals, survey.named, strict=True) if named])
    index.name = survey.hospital
    columns = pd.Index(survey.features)
    missing, medians = _missing(survey), rounded(spread.median)
    return {
        "hospitals": _hospitals(survey, missing).set_axis(index),
        "missing": pd.DataFrame(missing[survey.named], index, columns),
        "medians": pd.DataFrame(medians[survey.named], index, columns),
        "differences": differences(survey).round({"seen": 3, "chance": 3, "chance_high": 3}),
    }


def _hospitals(survey: Survey, missing: np.ndarray) -> pd.DataFrame:
    named, minimum, labels = survey.named, survey.minimum, survey.labels
    table = pd.DataFrame({"rows": survey.size[named]})
    if survey.patients is not None:
        table["patients"] = survey.people(np.ones(len(survey.owner), bool))[named]
    known = np.isfinite(labels.y)
    rows = survey.people(known)
    if labels.kind == "two classes":
        # Of visits, a patient counts with every class that occurs.
        events = survey.people(labels.positive)
        rest = survey.people(known & ~labels.positive)
        hidden = is_hidden(events, rows, minimum) | is_hidden(rest, rows, minimum)
        count = pd.Series(survey.count(labels.positive), dtype="Int64").mask(hidden)
        table["events"] = count[named].reset_index(drop=True)
        table["prevalence"] = (count / survey.count(known)).astype(float)[named].to_numpy()
    elif labels.kind == "several classes":
        counts = class_counts(survey)
        part = without_rest(shares(counts, counts.sum(1, keepdims=True), minimum))
        for k, level in enumerate(labels.levels):
            if not survey.few(labels.y == k):
                table[f"label {level}"] = part[named, k]
    else:
        sums = np.bincount(survey.owner[known], labels.y[known], len(survey.size))
        mean = sums / np.maximum(survey.count(known), 1)
        table["label mean"] = rounded(np.where(rows >= 2 * minimum, mean, np.nan))[named]
    if survey.x.size:
        # Of the shares that are shown: a hidden one would be the rest.
        shown = np.isfinite(missing)
        part = np.where(shown, missing, 0).sum(1) / np.maximum(shown.sum(1), 1)
        table["missing"] = np.where(shown.any(1), part, np.nan)[named]
        gone = np.isnan(survey.x)
        never = [int(gone[survey.rows(int(c))].all(0).sum()) for c in np.flatnonzero(named)]
        table["features without values"] = never
    return table


def _missing(survey: Survey) -> np.ndarray:
    """``[C, d]`` shares."""
    columns = []
    for values in survey.x.T:
        gone = np.isnan(values)
        people = survey.people(gone), survey.people(~gone)
        few = [(count > 0) & (count < survey.minimum) for count in people]
        columns.append(np.where(few[0] | few[1], np.nan, survey.count(gone) / np.maximum(survey.size, 1)))
    return np.stack(columns, 1) if columns else np.zeros((len(survey.size), 0))
