"""Labels: how they are coded, whether hospitals code them alike, and how many events there are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxfed.core.errors import listed
from jaxfed.data.check.disclosure import count_text
from jaxfed.data.check.finding import Finding
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import hospitals_text, named, rows_of
from jaxfed.data.labels import MANY

EVENTS = 5  # fewer events, or fewer patients without one, give no AUROC worth a number
CHANCE = 1e-6  # of a hospital with one class only, where it is called strange


def find(survey: Survey) -> Iterator[Finding]:
    """Findings about labels."""
    labels, column = survey.labels, survey.label
    lost = np.isnan(labels.y)
    if lost.any():
        count = count_text(int(lost.sum()), survey.minimum)
        yield Finding(
            "no label", "problem", f"label {column!r} is missing in {count} rows",
            (column,), (), count, statement=f"df = df.dropna(subset=[{column!r}])",
        )  # fmt: skip
    if labels.kind == "regression":
        yield from _amounts(survey)
        return
    levels = np.where(lost, -1, np.nan_to_num(labels.y)).astype(int)
    shown = [name for k, name in enumerate(labels.levels) if not survey.few(levels == k)]
    if len(shown) < 2 and len(labels.levels) < 3:
        yield Finding(
            "one label", "problem", f"label {column!r} has one value only, or a second in few rows",
            (column,), statement=f"df[{column!r}].value_counts()",
        )  # fmt: skip
        return
    differ = _differ(survey, levels)
    if differ is not None:
        yield differ
    elif not labels.said:
        yield _coding(survey, shown)
    if labels.kind == "binary":
        yield from _events(survey)


def _amounts(survey: Survey) -> Iterator[Finding]:
    if not survey.labels.said:
        yield Finding(
            "label coding", "problem",
            f"label {survey.label!r} has more than {MANY} different values, or some that are not whole: "
            "amounts?",
            (survey.label,), arguments={"task": "regression"},
        )  # fmt: skip


def _coding(survey: Survey, shown: list[str]) -> Finding:
    labels, column = survey.labels, survey.label
    rare = len(labels.levels) - len(shown)
    more = f" and {rare} more values, each of fewer than {survey.minimum} patients" if rare else ""
    if len(labels.levels) > 2 and not labels.text and not rare:
        text = f"label {column!r} has the values {listed(shown)}: say whether they are classes"
        return Finding("label coding", "caution", text, (column,), arguments={"classes": shown})
    what = "values" if labels.text else "numbers"
    text = f"label {column!r} has the {what} {listed(shown)}{more}"
    if rare:
        return Finding(
            "label coding", "problem", f"{text}: mistyped?", (column,), (), str(rare),
            statement=f"df[{column!r}].value_counts()",
        )  # fmt: skip
    if len(shown) == 2:
        text += (
            f"; of classes= the last is the positive one, here {shown[-1]!r}: exchange them if that is wrong"
        )
    return Finding("label coding", "problem", text, (column,), arguments={"classes": shown})


def _differ(survey: Survey, levels: np.ndarray) -> Finding | None:
    """Whether each hospital has two values at most, and not all hospitals the same two."""
    names = survey.labels.levels
    K, C = len(names), len(survey.size)
    count = np.zeros((C, K), int)
    np.add.at(count, (survey.owner[levels >= 0], levels[levels >= 0]), 1)
    has = count >= survey.minimum
    kinds: dict[tuple[int, ...], list[int]] = {}
    for c in range(C):
        if has[c].sum() == 2:
            kinds.setdefault(tuple(np.flatnonzero(has[c])), []).append(c)
    few = bool((has.sum(1) <= 2).all()) and not 2 < K <= len(kinds) - 1
    if survey.labels.kind != "multiclass" or K > 4 or len(kinds) < 2 or not few:
        return None
    usual = max(kinds, key=lambda pair: sum(survey.size[kinds[pair]]))
    column = survey.label
    told, typed = [], []
    for pair, numbers in kinds.items():
        told.append(f"{hospitals_text(survey, numbers)}: {' and '.join(repr(names[k]) for k in pair)}")
        if pair != usual and named(survey, numbers):
            change = {_value(survey, k): _value(survey, to) for k, to in zip(pair, usual, strict=True)}
            changed = f"df[{column!r}].mask({rows_of(survey, numbers)}, df[{column!r}].replace({change!r}))"
            typed.append(f"df[{column!r}] = {changed}")
    others = tuple(
        site for pair, numbers in kinds.items() if pair != usual for site in named(survey, numbers)
    )
    return Finding(
        "labels differ", "problem", f"hospitals code label {column!r} differently: {'; '.join(told)}",
        (column,), others, str(len(others)), statement="\n".join(typed),
    )  # fmt: skip


def _value(survey: Survey, k: int) -> str | int | float:
    """A level as it stands in the table."""
    name = survey.labels.levels[k]
    if survey.labels.text:
        return name
    return int(float(name)) if float(name).is_integer() else float(name)


def _events(survey: Survey) -> Iterator[Finding]:
    labels, column = survey.labels, survey.label
    known = np.isfinite(labels.y)
    rows, events = survey.count(known), survey.count(labels.positive)
    rate = events.sum() / max(rows.sum(), 1)
    least = np.minimum(events, rows - events)
    lone = (least == 0) & (rows > 0)
    log_chance = rows * np.log(np.where(events == 0, 1 - rate, rate)) if 0 < rate < 1 else np.zeros(len(rows))
    strange = np.flatnonzero(lone & (log_chance < np.log(CHANCE)))
    if len(strange):
        yield Finding(
            "one class", "caution",
            f"{hospitals_text(survey, strange.tolist())} have labels of one class only, which so many rows "
            "would not have by chance: are the labels of the others coded alike, or is this a part of the "
            "patients?",
            (column,), named(survey, strange.tolist()), str(len(strange)),
            statement=f"df.groupby({survey.hospital!r})[{column!r}].value_counts()",
        )  # fmt: skip
    few = np.flatnonzero((rows > 0) & (least < EVENTS) & ~np.isin(np.arange(len(rows)), strange))
    if len(few):
        yield Finding(
            "few events", "note",
            f"fewer than {EVENTS} patients of one of the two classes in {len(few)} of {len(rows)} "
            "hospitals: an AUROC of one of them says little, or is undefined; report the pooled one beside "
            "it, and give tests more rows",
            (column,), named(survey, few.tolist()), str(len(few)), arguments={"split": (0.6, 0.0, 0.4)},
        )  # fmt: skip
