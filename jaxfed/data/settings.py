"""What :func:`~jaxfed.data.preparing.prepare` was asked to do, checked against the columns that there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfed.core.errors import Problems, did_you_mean, listed
from jaxfed.data.columns import as_written
from jaxfed.data.encoding import FIRST, day_of
from jaxfed.data.winsorising import check_limits

METHODS = ("median", "mean", "most_frequent", "zero")
SCALES = ("standard", "robust", "none")
WAYS = ("federated", "local")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a table is prepared.

    Attributes:
        categories: columns that are categories whatever they hold, with their levels if these are given.
        ordinal: columns, with their levels from low to high.
        dates: columns, with what days are counted from.
        impute: columns, with the method for their missing values.
        default: the method of all other columns; None refuses missing values.
        masks: whether missing values get a feature.
        winsorise: two quantiles, or None.
        scale: one of ``SCALES``.
        local: whether each hospital has numbers of its own.
        min_count: training rows of all hospitals together that a level needs.
        min_rows: training rows that a hospital needs: to share statistics or, ``local``, to use its own.
    """

    categories: Mapping[str, tuple[str, ...] | None]
    ordinal: Mapping[str, tuple[str, ...]]
    dates: Mapping[str, str]
    impute: Mapping[str, str]
    default: str | None
    masks: bool
    winsorise: tuple[float, float] | None
    scale: str
    local: bool
    min_count: int
    min_rows: int

    @property
    def sharing(self) -> int:
        """Training rows that a hospital needs to share its counts of levels."""
        return 1 if self.local else self.min_rows

    def method(self, column: str, kind: str) -> str | None:
        """The method for missing values of a column; None for a category that has a level for them."""
        if kind == "category":
            most = self.impute.get(column, self.default) == "most_frequent"
            return "most_frequent" if most or not self.masks else None
        usual = "most_frequent" if kind == "true/false" and self.default is not None else self.default
        return self.impute.get(column, usual)


def settings_of(
    names: Sequence[str],
    every: Sequence[str],
    *,
    categories: Any,
    ordinal: Any,
    dates: Any,
    impute: Any,
    masks: bool,
    winsorise: Any,
    scale: str,
    how: str,
    min_count: int,
    min_rows: int | None,
    problems: Problems,
) -> Settings:
    """The settings of arguments of ``prepare``; what is wrong with them goes to ``problems``.

    Args:
        names: the columns to learn from.
        every: all columns of the table.
        categories, ordinal, dates, impute, masks, winsorise, scale, how, min_count, min_rows: as there.
        problems: receives what is wrong.
    """
    levels = _levels("categories", categories, names, problems)
    order = _levels("ordinal", ordinal, names, problems)
    counted = {} if dates is None else dates
    if not isinstance(counted, Mapping):
        problems.add(f"dates={dates!r}: give {{column: 'first'}}, or {{column: another column}}")
        counted = {}
    counted = {str(name): str(reference) for name, reference in counted.items()}
    _check_columns("dates", counted, names, problems)
    for name, reference in counted.items():
        fine = (
            reference == FIRST or day_of(reference) is not None or (reference in every and reference != name)
        )
        problems.check(
            fine,
            f"dates[{name!r}]={reference!r}: give 'first' (of the hospital), a day as '2020-01-31', or "
            f"another column with a date; {did_you_mean(reference, every)}",
        )
    uses = [*levels, *order, *counted]
    twice = sorted({name for name in uses if uses.count(name) > 1})
    problems.check(not twice, f"columns {listed(twice)} are given in two of categories, ordinal and dates")
    methods = {str(name): method for name, method in impute.items()} if isinstance(impute, Mapping) else {}
    default = "median" if isinstance(impute, Mapping) else impute
    _check_columns("impute", methods, names, problems)
    for method in dict.fromkeys([*methods.values(), default]):
        hint = "a feature for missing values is what masks=True gives; " if method == "flag" else ""
        problems.check(
            method in METHODS or (method is None and not methods),
            f"impute={method!r}: {hint}{did_you_mean(method, METHODS)}",
        )
    problems.check(scale in SCALES, f"scale={scale!r}: {did_you_mean(scale, SCALES)}")
    problems.check(how in WAYS, f"how={how!r}: {did_you_mean(how, WAYS)}")
    least = min_rows if min_rows is not None else (10 if how == "local" else 1)
    for argument, number in (("min_count", min_count), ("min_rows", least)):
        whole = isinstance(number, (int, np.integer)) and number >= 1
        problems.check(whole, f"{argument}={number!r}: give a whole number, 1 or more")
    if winsorise is not None:
        check_limits("winsorise", winsorise, problems)
    return Settings(
        categories=levels,
        ordinal={name: of or () for name, of in order.items()},
        dates=counted,
        impute=methods,
        default=default,
        masks=bool(masks),
        winsorise=winsorise,
        scale=scale,
        local=how == "local",
        min_count=min_count,
        min_rows=least,
    )


def _levels(
    argument: str, given: Any, names: Sequence[str], problems: Problems
) -> dict[str, tuple[str, ...] | None]:
    """``{column: levels}`` as text; None for a category whose levels are not given."""
    remedy = "{column: [levels]}" if argument == "ordinal" else "a list of columns, or {column: [levels]}"
    if given is None:
        return {}
    if isinstance(given, (str, set, frozenset)) or not np.iterable(given):
        problems.add(f"{argument}={given!r}: give {remedy}")
        return {}
    if not isinstance(given, Mapping):
        problems.check(argument != "ordinal", f"ordinal={given!r}: give {remedy}, from low to high")
        given = dict.fromkeys(given)
    made: dict[str, tuple[str, ...] | None] = {}
    for name, levels in given.items():
        if levels is None and argument == "categories":
            made[str(name)] = None
            continue
        if isinstance(levels, (str, set, frozenset)) or not np.iterable(levels):
            problems.add(f"{argument}[{name!r}]={levels!r}: give a list of its levels")
            continue
        texts = tuple(as_written(level) for level in levels)
        fine = len(texts) >= 2 and len(set(texts)) == len(texts)
        problems.check(fine, f"{argument}[{name!r}]={list(texts)}: give two levels or more, each once")
        made[str(name)] = texts
    _check_columns(argument, made, names, problems)
    return made


def _check_columns(argument: str, given: Any, names: Sequence[str], problems: Problems) -> None:
    for name in given:
        problems.check(
            name in names, f"{argument}: {name!r} is no column to learn from; {did_you_mean(name, names)}"
        )
