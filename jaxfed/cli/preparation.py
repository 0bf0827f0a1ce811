"""Options of the command line for tables with text, dates and gaps: :func:`jaxfed.data.prepare`."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pandas as pd

import jaxfed
from jaxfed.core.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class PreparationOptions:
    """How columns that are not all complete numbers become features."""

    prepare: bool = False
    """One-hot text of a table, count the days between dates, impute and flag what is missing."""
    categories: tuple[str, ...] = ()
    """Columns of numbers that are codes, to one-hot: cp, or cp=1,2,3 with the levels."""
    ordinal: tuple[str, ...] = ()
    """Columns with their levels from low to high: asa=I,II,III."""
    dates: tuple[str, ...] = ()
    """Columns with what days are counted from: discharged=admitted, admitted=first, or a day."""
    winsorise: tuple[float, ...] = ()
    """Two quantiles, as 0.01 0.99: values of a table beyond them are set to them."""
    scale: Literal["standard", "robust"] = "standard"
    """Divide features of a table by their standard deviation, or by their interquartile range."""
    min_count: int = 5
    """Patients of all hospitals together that a level of a category needs."""


def wanted(options: PreparationOptions) -> bool:
    """Whether a table is to be prepared: --prepare, or an option that only that has."""
    own = [field for field in dataclasses.fields(PreparationOptions) if field.name != "scale"]
    return any(getattr(options, field.name) != field.default for field in own)


def prepared(
    options: PreparationOptions, frame: pd.DataFrame, impute: str, how: str, **arguments: Any
) -> jaxfed.Dataset:
    """The hospitals of a table that is prepared.

    Args:
        options: how.
        frame: the table.
        impute: as ``--impute``; ``flag`` is the mean here, because what is missing is flagged in any case.
        how: as ``--standardize``.
        **arguments: of :func:`jaxfed.data.prepare`, in common with ``from_frame``.
    """
    methods = {"none": None, "flag": "mean"}
    return jaxfed.data.prepare(
        frame,
        categories={
            name: levels or None for name, levels in _levels("categories", options.categories).items()
        },
        ordinal=_levels("ordinal", options.ordinal),
        dates=_pairs("dates", options.dates),
        impute=methods.get(impute, impute),
        winsorise=options.winsorise or None,  # type: ignore[arg-type]
        scale="none" if how == "none" else options.scale,
        how="local" if how == "local" else "federated",
        min_count=options.min_count,
        **arguments,
    )


def _levels(option: str, given: tuple[str, ...]) -> dict[str, list[str]]:
    """``{column: levels}`` of ``column=a,b,c``; of a column alone no levels."""
    made = {}
    for text in given:
        name, _, levels = text.partition("=")
        made[name] = [level.strip() for level in levels.split(",") if level.strip()]
        if option == "ordinal" and len(made[name]) < 2:
            raise InvalidInput(
                f"--ordinal {text}: give the levels from low to high, as {name}=low,middle,high"
            )
    return made


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """``{column: reference}`` of ``column=reference``."""
    made = {}
    for text in given:
        name, equals, reference = text.partition("=")
        if not equals or not reference:
            raise InvalidInput(
                f"--{option} {text}: say what days are counted from, as {name}=first (the hospital's first "
                f"day), {name}=2020-01-31, or {name}=the name of another column"
            )
        made[name] = reference
    return made
