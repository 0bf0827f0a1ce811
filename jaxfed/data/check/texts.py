"""Features that are not numbers: dates, bounds such as '<5', percentages, codes for missing, text."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jaxfed.core.errors import listed
from jaxfed.data.check.finding import Finding, dropping
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import columns_text
from jaxfed.data.columns import KINDS, parses
from jaxfed.data.lookalikes import ENOUGH, PATIENT

MOST = 5  # values that are shown
CHECKED = 100  # different values that are counted
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
    "codes": "holds text among numbers",
    "text": "holds text",
}


def find(survey: Survey) -> Iterator[Finding]:
    """A finding for each feature that is not a number; one for all that hold codes among numbers."""
    for name, (kind, values) in survey.texts.items():
        finding = functools.partial(Finding, severity="problem", columns=(name,))
        text = f"column {name!r} {WORDS[kind]}"
        if kind in ("codes", "bounds"):
            continue
        if kind == "text" and survey.patient is None and PATIENT.fullmatch(name):
            text = f"column {name!r} looks like the id of a patient"
            yield finding("patient", text=text, arguments={"patient": name})
        elif kind == "text" and _identifies(values):
            text = f"column {name!r} holds text that is different in most rows: ids, or free text"
            yield finding("id", text=text, arguments=dropping(survey, [name]))
        elif kind == "dates":
            text += ": leave it out, or make it a number, such as days since admission"
            yield finding("date", text=text, arguments=dropping(survey, [name]))
        else:
            levels = _common(survey, {name: values}, kind) if kind == "text" else []
            text += f", as {listed(levels)}" if levels else ""
            yield finding(kind, text=text, statement=STATEMENTS[kind].format(column=name))
    for kind, called in (("codes", "missing codes"), ("bounds", "bounds")):
        columns = {name: values for name, (other, values) in survey.texts.items() if other == kind}
        if columns:
            yield _codes(survey, kind, called, columns)


def _codes(survey: Survey, kind: str, called: str, columns: dict[str, pd.Series]) -> Finding:
    names, common = list(columns), _common(survey, columns, kind)
    text = columns_text(names, WORDS[kind], WORDS[kind].replace("holds", "hold"))
    if common:
        text += f", as {listed(common)}: do they mean that a value is missing?"
        return Finding(
            called, "problem", text, tuple(names), (), str(len(names)), arguments={"missing": common}
        )
    text += f"; each of them stands for fewer than {survey.minimum} patients"
    typed = [f"df[{name!r}] = pd.to_numeric(df[{name!r}], errors='coerce')" for name in names]
    return Finding(called, "problem", text, tuple(names), (), str(len(names)), statement="\n".join(typed))


def _common(survey: Survey, columns: dict[str, pd.Series], kind: str) -> list[str]:
    """Values that are not numbers and stand for enough patients, in whichever column; the first few."""
    rows: dict[str, np.ndarray] = {}
    for values in columns.values():
        code, seen = pd.factorize(values.map(lambda value: str(value).strip(), na_action="ignore"))
        for k, text in enumerate(map(str, seen)):
            fits = KINDS["bounds"].fullmatch(text) if kind == "bounds" else not parses(text)
            if fits and len(rows) < CHECKED:
                rows[text] = rows.get(text, False) | (code == k)
    return [text for text, mask in rows.items() if not survey.few(mask)][:MOST]


def _identifies(values: pd.Series) -> bool:
    return len(values) >= ENOUGH and int(values.nunique()) > 0.5 * len(values)
