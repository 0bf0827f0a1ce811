"""Hospitals that measure a feature in another unit: their medians differ by a factor, their spreads alike.

Hospitals whose medians lie close together on a logarithmic scale are a group. Between two groups lies a gap
of more than :data:`GAP` robust deviations of the patients of one hospital, which no difference in case mix
that the generator's strongest preset makes comes near. The largest group is what the others are compared
with. Features that are not positive (scores) are grouped by their spreads alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np

from jaxfed.data.check.disclosure import rounded
from jaxfed.data.check.finding import Finding
from jaxfed.data.check.medians import NORMAL, POSITIVE, Quartiles
from jaxfed.data.check.survey import Survey
from jaxfed.data.check.wording import hospitals_text, named, rows_of

GAP = 2.5  # deviations of the patients of a hospital
LEAST = 1.8  # factor: smaller ones are not units but patients
FAR = 4.0  # factor between the spreads of a score
CLOSE = 1.25  # a factor is named if the one of the medians differs from it by less than this,
EXACT = 1.1  # or by less than this, where the column has another name


@dataclasses.dataclass(frozen=True)
class Unit:
    """Two units of a quantity: the larger numbers are ``factor`` times the smaller ones."""

    factor: float
    what: str
    column: str = ""


UNITS = (
    Unit(88.4, "creatinine in µmol/l and mg/dl", r"crea"),
    Unit(18.02, "glucose in mg/dl and mmol/l", r"glu|sugar|bz"),
    Unit(38.67, "cholesterol in mg/dl and mmol/l", r"chol|hdl|ldl"),
    Unit(88.57, "triglycerides in mg/dl and mmol/l", r"trig"),
    Unit(17.1, "bilirubin in µmol/l and mg/dl", r"bili"),
    Unit(59.48, "uric acid in µmol/l and mg/dl", r"uric|urate"),
    Unit(9.01, "lactate in mg/dl and mmol/l", r"lac"),
    Unit(2.8, "urea nitrogen in mg/dl and urea in mmol/l", r"bun|urea"),
    Unit(4.008, "calcium in mg/dl and mmol/l", r"\bca\b|calc"),
    Unit(7.5, "pressure in mmHg and kPa", r"press|bp|map|po2|pco2|sys|dia"),
    Unit(2.205, "weight in pounds and kilograms", r"weight|wt"),
    Unit(2.54, "length in centimetres and inches", r"height|length|waist"),
    Unit(365.25, "days and years", r"age|day|year|los|dur"),
    Unit(24, "hours and days", r"los|dur|hour|time|day"),
    Unit(10, "g/l and g/dl", r"h(a?emoglobin|b|gb)|alb|prot"),
)
ANY = (
    Unit(10, "a power of ten"),
    Unit(100, "per cent and fractions, or centimetres and metres"),
    Unit(1000, "a prefix such as milli"),
    Unit(1e6, "a prefix such as micro"),
)


def find(survey: Survey, spread: Quartiles) -> Iterator[Finding]:
    """A finding for each feature and each group of hospitals that is not the largest."""
    for j, name in enumerate(survey.features):
        values = survey.x[:, j]
        known = values[np.isfinite(values)]
        if not len(known) or len(np.unique(known[:1000])) < 5:
            continue
        if (known > 0).mean() >= POSITIVE:
            yield from _factors(survey, name, spread.low[:, j], spread.median[:, j], spread.high[:, j])
        else:
            yield from _spreads(survey, name, spread, j)


def _factors(
    survey: Survey, name: str, low: np.ndarray, median: np.ndarray, high: np.ndarray
) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        place, width = np.log(median), (np.log(high) - np.log(low)) / NORMAL
    usable = np.flatnonzero(np.isfinite(place) & np.isfinite(width))
    if len(usable) < 2:
        return
    gap = max(np.log(LEAST), GAP * float(np.median(width[usable])))
    usual, others = _groups(survey, usable, place, gap)
    for group in others:
        factor = float(np.exp(np.median(place[group]) - np.median(place[usual])))
        here, there = (float(rounded(np.median(median[sites]))) for sites in (group, usual))
        told = (
            f"column {name!r}: in {hospitals_text(survey, group)} the median is {here:g}, elsewhere {there:g}"
        )
        if _is_fahrenheit(max(here, there), min(here, there)):
            text = f"{told}: degrees Fahrenheit and Celsius?"
            change = "({} - 32) / 1.8" if here > there else "{} * 1.8 + 32"
        else:
            unit = _unit(name, max(factor, 1 / factor))
            exact = unit.factor if unit else float(rounded(np.array(max(factor, 1 / factor)), 2))
            text = f"{told}: a factor of about {max(factor, 1 / factor):.3g}"
            text += f" ({unit.what}: {unit.factor:g})?" if unit else "; another unit?"
            change = f"{{}} / {exact:g}" if factor > 1 else f"{{}} * {exact:g}"
        yield _finding(survey, name, group, text, change, True)


def _spreads(survey: Survey, name: str, spread: Quartiles, j: int) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = np.log(spread.high[:, j] - spread.low[:, j])
        outer = np.log(spread.ninetieth[:, j] - spread.tenth[:, j])
    usable = np.flatnonzero(np.isfinite(inner) & np.isfinite(outer))
    if len(usable) < 2:
        return
    usual, others = _groups(survey, usable, inner, np.log(FAR))
    for group in others:
        wide = float(np.median(outer[group]) - np.median(outer[usual]))
        if abs(wide) < np.log(FAR):
            continue  # a few more zeros, not a scale
        factor = float(rounded(np.exp(np.median(inner[group]) - np.median(inner[usual])), 2))
        text = (
            f"column {name!r}: in {hospitals_text(survey, group)} values spread about {factor:g} times as "
            "wide as elsewhere; another unit or scale?"
        )
        yield _finding(survey, name, group, text, f"{{}} / {factor:g}", False)


def _groups(
    survey: Survey, usable: np.ndarray, place: np.ndarray, gap: float
) -> tuple[list[int], list[list[int]]]:
    """Hospitals by place, cut where the next one is more than ``gap`` away: the largest group, the others."""
    order = usable[np.argsort(place[usable])]
    cuts = np.flatnonzero(np.diff(place[order]) > gap) + 1
    groups = [part.tolist() for part in np.split(order, cuts)]
    usual = max(groups, key=lambda group: (len(group), survey.size[group].sum()))
    return usual, [group for group in groups if group is not usual]


def _is_fahrenheit(high: float, low: float) -> bool:
    return 30 < low < 45 and abs((high - 32) / 1.8 - low) < 2


def _unit(name: str, factor: float) -> Unit | None:
    """The two units with about this factor: of a quantity of this name, of any, of one of another name."""
    distance = {unit: abs(np.log(unit.factor / factor)) for unit in UNITS + ANY}
    called = [unit for unit in UNITS if unit.column and re.search(unit.column, name.lower())]
    for units, far in ((called, CLOSE), (ANY, CLOSE), (UNITS, EXACT)):
        nearest = min(units, key=lambda unit: distance[unit], default=None)
        if nearest is not None and distance[nearest] < np.log(far):
            return nearest
    return None


def _finding(
    survey: Survey, name: str, group: Sequence[int], text: str, change: str, positive: bool
) -> Finding:
    column = f"df[{name!r}]"
    before = f"{column} = pd.to_numeric({column}, errors='coerce')\n" if name in survey.texts else ""
    rows = rows_of(survey, group)
    if (survey.x[:, survey.features.index(name)] <= 0).any() and positive:  # codes stay what they are
        rows = f"({rows}) & ({column} > 0)"
    return Finding(
        "unit", "problem", text, (name,), named(survey, group), str(len(group)),
        statement=f"{before}{column} = {column}.mask({rows}, {change.format(column)})",
        option="--standardize local",
    )  # fmt: skip
