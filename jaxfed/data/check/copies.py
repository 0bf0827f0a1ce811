"""Rows, or patients, that occur more than once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.disclosure import count_text
from jaxfed.data.check.finding import Finding
from jaxfed.data.check.roles import roles_of
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import hospitals_text, named
from jaxfed.data.lookalikes import find_repeats

SHARE = 0.01  # of all rows, that is a problem


def find(survey: Survey) -> Iterator[Finding]:
    """Findings about repeated rows, or patients in several hospitals."""
    if not survey.x.shape[1] and survey.patients is None:
        return
    ids = [name for name, kind in roles_of(survey).items() if kind == "id"]
    measured = np.array([name not in ids for name in survey.features], bool)
    repeats = find_repeats(np.ascontiguousarray(survey.x[:, measured]), survey.owner, survey.patients)
    # Columns in which rows differ that are the same otherwise.
    beside = [*survey.left_out, *ids, *(name for name in survey.texts if name not in survey.features)]
    if repeats is None:
        return
    if repeats.within and survey.patients is None:
        count = count_text(repeats.within, survey.minimum)
        yield Finding(
            "repeated rows", "problem" if repeats.within >= SHARE * len(survey.owner) else "caution",
            f"{count} rows repeat a row of their hospital: the same patient in training and test rows? Drop "
            "the copies, or name the column of the patients, patient=",
            (), (), count, statement=_dropping(beside),
        )  # fmt: skip
    if repeats.shared:
        count, sites = count_text(repeats.shared, survey.minimum), hospitals_text(survey, repeats.sites)
        if survey.patients is None:
            what = f"{count} rows occur in two or more of the {sites}: the same patients?"
            statement = _dropping([survey.hospital, *beside])
        else:
            what = (
                f"{count} patients have rows in two or more of the {sites}. If each hospital numbers its own "
                "patients, they are different people: give them ids that differ between hospitals"
            )
            column = survey.patient
            statement = (
                f"df[{column!r}] = df[{survey.hospital!r}].astype(str) + ' ' + df[{column!r}].astype(str)"
            )
        yield Finding(
            "shared patients", "caution", what, (survey.patient,) if survey.patient else (),
            named(survey, repeats.sites), count, statement=statement,
        )  # fmt: skip


def _dropping(beside: list[str]) -> str:
    """The statement that leaves the first of equal rows, whatever stands in some columns."""
    return (
        f"df = df.drop_duplicates(subset=df.columns.difference({beside!r}))"
        if beside
        else "df = df.drop_duplicates()"
    )
