"""Hospitals: rows without one, names that look alike, ids of two types, one that has nearly all rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.disclosure import count_text
from jaxfed.data.check.finding import Finding
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import hospitals_text, named
from jaxfed.data.ids import alike, written

SMALL = 20  # rows, of which 70 % train: a median hospital below that has next to nothing to test on
NEARLY_ALL = 0.99


def find(survey: Survey) -> Iterator[Finding]:
    """Findings about hospitals as such, and patients without an id."""
    column, minimum = survey.hospital, survey.minimum
    if survey.homeless:
        count = count_text(survey.homeless, minimum)
        yield Finding(
            "no hospital", "problem", f"column {column!r} is missing in {count} rows, which belong to no "
            "hospital",
            (column,), (), count, statement=f"df = df.dropna(subset=[{column!r}])",
        )  # fmt: skip
    if survey.anonymous:
        count = count_text(survey.anonymous, minimum)
        yield Finding(
            "no patient", "problem", f"column {survey.patient!r} is missing in {count} rows",
            (str(survey.patient),), (), count, statement=f"df = df.dropna(subset=[{survey.patient!r}])",
        )  # fmt: skip
    if survey.two_types:
        yield Finding(
            "ids of two types", "problem",
            f"some ids in {column!r} are a number in one row and text in another, and may or may not be the "
            "same",
            (column,), (), count_text(survey.two_types, 1),
            statement=f"df[{column!r}] = df[{column!r}].astype(str)",
        )  # fmt: skip
    yield from _alike(survey)
    median = int(np.median(survey.size))
    if len(survey.size) > 1 and median < SMALL:
        shown = f"fewer than {minimum}" if median < minimum else str(median)
        yield Finding(
            "small hospitals", "caution",
            f"half of the {len(survey.size)} hospitals have {shown} rows or less: is {column!r} the column "
            "of the hospitals? A test share of so few rows measures nothing",
            (column,), arguments={"split": (0.5, 0.0, 0.5)},
        )  # fmt: skip
    largest = int(survey.size.argmax())
    if len(survey.size) > 1 and survey.size[largest] >= NEARLY_ALL * survey.size.sum():
        yield Finding(
            "one hospital", "caution",
            f"{hospitals_text(survey, [largest])} has {NEARLY_ALL:.0%} of the rows or more; the others "
            "hardly count in an average over patients",
            (column,), named(survey, [largest]), statement="jaxfed.algorithms.FedAvg(weighting='uniform')",
        )  # fmt: skip


def _alike(survey: Survey) -> Iterator[Finding]:
    number = {name: c for c, name in enumerate(survey.hospitals)}
    groups = [named(survey, [number[name] for name in group]) for group in alike(survey.hospitals)]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return
    size = {name: survey.size[c] for name, c in number.items()}
    # All spellings of a group become that of most rows.
    change = {
        name: max(group, key=lambda name: size[name])
        for group in groups
        for name in group
        if name != max(group, key=lambda name: size[name])
    }
    column = survey.hospital
    yield Finding(
        "names alike", "problem",
        "; ".join(" and ".join(map(written, group)) for group in groups[:5])
        + " differ only in case, spaces, the form of accents or leading zeros, and are different hospitals "
        "here",
        (column,), tuple(name for group in groups for name in group), str(len(groups)),
        statement=f"df[{column!r}] = df[{column!r}].replace({change!r})",
    )  # fmt: skip
