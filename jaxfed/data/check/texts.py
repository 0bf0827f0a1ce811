"""Features that are not numbers: dates, bounds such as '<5', percentages, codes for missing, text."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxfed.core.errors import listed
from jaxfed.data.check.finding import Finding, dropping
from jaxfed.data.check.survey import Survey
from jaxfed.data.columns import KINDS, parses
from jaxfed.data.lookalikes import PATIENT

MOST = 5  # values that are shown
STATEMENTS = {
    "percentages": "df[{column!r}] = df[{column!r}].str.rstrip('% ').astype(float)",
    "thousands": "df[{column!r}] = df[{column!r}].str.replace(',', '').astype(float)",
    "decimal commas": "df[{column!r}] = df[{column!r}].str.replace(',', '.').astype(float)",
    "numbers as text": "df[{column!r}] = pd.to_numeric(df[{column!r}])",
    "text": "df = pd.get_dummies(df, columns=[{column!r}], dtype=float)",
}
WORDS = {
    "bounds": "holds bounds among numbers",
    "percentages": "holds percentages as text",
    "thousands": "holds numbers with commas between thousands, or decimal commas",
    "decimal commas": "holds numbers with decimal commas",
    "dates": "holds dates",
    "numbers as text": "holds numbers as text",
    "codes": "holds text among numbers, which may mean that a value is missing",
    "text": "holds text",
}


def find(survey: Survey) -> Iterator[Finding]:
    """A finding for each feature that is not a number."""
    for name, (kind, values) in survey.texts.items():
        common = _common(survey, values, kind)
        text = f"column {name!r} {WORDS[kind]}" + (f", as {listed(common)}" if common else "")
        find_one = functools.partial(Finding, severity="problem", columns=(name,))
        if kind == "text" and survey.patient is None and PATIENT.fullmatch(name):
            text = f"column {name!r} looks like the id of a patient"
            yield find_one("patient", text=text, arguments={"patient": name})
        elif kind == "text" and _identifies(values, len(survey.labels.y)):
            text = f"column {name!r} holds text that is different in most rows: ids, or free text"
            yield find_one("id", text=text, arguments=dropping(survey, [name]))
        elif kind in ("codes", "bounds") and common:
            yield find_one(
                "missing codes" if kind == "codes" else kind, text=text, arguments={"missing": common}
            )
        elif kind == "dates":
            text += ": leave it out, or make it a number, such as days since admission"
            yield find_one("date", text=text, arguments=dropping(survey, [name]))
        elif kind in STATEMENTS:
            yield find_one(kind, text=text, statement=STATEMENTS[kind].format(column=name))
        else:
            text += f"; its values are each of fewer than {survey.minimum} patients"
            change = f"df[{name!r}] = pd.to_numeric(df[{name!r}], errors='coerce')"
            yield find_one(kind, text=text, statement=change)


def _common(survey: Survey, values: pd.Series, kind: str) -> list[str]:
    """Values that are not numbers, of enough patients each; of kinds whose values say something."""
    if kind not in ("codes", "bounds", "text"):
        return []
    code, seen = pd.factorize(values.map(lambda value: str(value).strip(), na_action="ignore"))
    places = [k for k in range(len(seen)) if not parses(str(seen[k]))]
    if kind == "bounds":
        places = [k for k in places if KINDS["bounds"].fullmatch(str(seen[k]))]
    if len(places) > 20 * MOST:
        return []
    return [str(seen[k]) for k in places if not survey.few(code == k)][:MOST]


def _identifies(values: pd.Series, rows: int) -> bool:
    return rows >= 20 and int(values.nunique()) > 0.5 * rows and bool(np.isfinite(rows))
