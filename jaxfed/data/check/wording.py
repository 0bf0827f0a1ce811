"""How findings name hospitals and columns, in sentences and in what can be typed."""

from __future__ import annotations

from collections.abc import Sequence

from jaxfed.core.errors import listed
from jaxfed.data.check.survey import Survey


def named(survey: Survey, numbers: Sequence[int]) -> tuple[str, ...]:
    """Names of those of the hospitals that have enough patients."""
    enough = survey.named
    return tuple(survey.hospitals[c] for c in numbers if enough[c])


def hospitals_text(survey: Survey, numbers: Sequence[int]) -> str:
    """``hospitals 'A', 'B' and 3 of fewer than 5 patients``."""
    names = named(survey, numbers)
    small = len(numbers) - len(names)
    few = f"{small} of fewer than {survey.minimum} patients" if small else ""
    what = "hospital" if len(numbers) == 1 else "hospitals"
    return f"{what} {' and '.join(part for part in (listed(names, 6), few) if part)}"


def columns_text(columns: Sequence[str], one: str, several: str) -> str:
    """``column 'a' looks ...`` or ``columns 'a', 'b' look ...``."""
    return f"column {columns[0]!r} {one}" if len(columns) == 1 else f"columns {listed(columns)} {several}"


def rows_of(survey: Survey, numbers: Sequence[int]) -> str:
    """The rows of hospitals that may be named, as ``df['site'] == 'A'``."""
    enough = survey.named
    ids = [survey.ids[c] for c in numbers if enough[c]]
    column = f"df[{survey.hospital!r}]"
    return f"{column} == {ids[0]!r}" if len(ids) == 1 else f"{column}.isin({ids!r})"
