"""Numbers that stand for a missing value: -9, 999, 9999, or 0 where nobody can have it."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from jaxfed.data.check.finding import Finding
from jaxfed.data.check.roles import roles_of
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import hospitals_text, named

HIGH = (9, 99, 999, 9999, 99999, 999999, 88, 888, 8888, 77, 777, 7777)
LOW = (-1, -2, -7, -8, -9, -77, -88, -99, -999, -9999, -99999, *(-high for high in HIGH))
VALUES = 20  # different values of a measurement, of which 0 may be impossible
APART = 0.5  # of the range of the other values, that lies between them and a code


def find(survey: Survey) -> Iterator[Finding]:
    """A finding for each code."""
    codes: dict[int, list[str]] = {}
    for name, values in zip(survey.features, survey.x.T, strict=True):
        known = values[np.isfinite(values)]
        if len(known):
            for code in _codes(known):
                if not survey.few(values == code):
                    codes.setdefault(code, []).append(name)
    for code, columns in sorted(codes.items()):
        yield _finding(survey, code, columns)


def _finding(survey: Survey, code: int, columns: list[str]) -> Finding:
    hit = survey.x[:, [survey.features.index(name) for name in columns]] == code
    rows = [f"{name!r} ({count:,} rows)" for name, count in zip(columns[:8], hit.sum(0), strict=False)]
    people = survey.people(hit.any(1))
    sites = np.flatnonzero(people >= survey.minimum).tolist()
    text = f"{code} stands in {', '.join(rows)}"
    if sites and (people == 0).any():
        text += f", mostly in {hospitals_text(survey, sites)}" if (people > 0).sum() > len(sites) else ""
        text += f", in {hospitals_text(survey, sites)} only" if (people > 0).sum() == len(sites) else ""
    why = "below all other values by far" if code == 0 else "apart from all other values"
    text += f", {why}: does it mean that the value is missing?"
    finding = functools.partial(
        Finding, "sentinel", "problem", columns=tuple(columns), hospitals=named(survey, sites),
        count=f"{hit.sum():,}",
    )  # fmt: skip
    others = roles_of(survey)
    elsewhere = [
        (survey.x[:, j] == code).any()
        for j, name in enumerate(survey.features)
        if name not in columns and name not in others
    ]
    if not any(elsewhere):
        return finding(text=text, arguments={"missing": [code]})
    # missing= is for all columns, and the code is a value in some.
    numbers = {
        name: f"pd.to_numeric(df[{name!r}], errors='coerce')" if name in survey.texts else f"df[{name!r}]"
        for name in columns
    }
    typed = [f"df[{name!r}] = {given}.replace({code}, float('nan'))" for name, given in numbers.items()]
    return finding(text=f"{text} In other columns it is a value", statement="\n".join(typed))


def _codes(known: np.ndarray) -> list[int]:
    """Codes among the values, the outermost first; each is judged by what lies inside of it."""
    codes: list[int] = []
    inside = known
    while len(inside):
        low, high = inside.min(), inside.max()
        if low in LOW and _is_apart(inside, low):
            code = low
        elif high in HIGH and _is_apart(inside, high):
            code = high
        else:
            break
        codes.append(int(code))
        inside = inside[inside != code]
    if len(inside) and inside.min() == 0 and _is_impossible(inside[inside != 0]):
        codes.append(0)
    return codes


def _is_apart(values: np.ndarray, code: float) -> bool:
    rest = values[values != code]
    if not len(rest):
        return False
    low, high = rest.min(), rest.max()
    if code < 0 <= low and (high > 1 or code < -1):
        return True  # negative among what is not: no measurement, but -1 and 0/1 may be a coding
    gap = low - code if code < low else code - high
    return bool(gap > APART * max(high - low, 1.0))


def _is_impossible(rest: np.ndarray) -> bool:
    """Whether 0 lies far below a measurement of many different values."""
    if len(rest) < VALUES or len(np.unique(rest)) < VALUES:
        return False
    low, middle, high = np.quantile(rest, (0.01, 0.5, 0.99))
    return bool(rest.min() > 0 and low > 0.2 * (high - low) and rest.min() > 0.2 * middle)
