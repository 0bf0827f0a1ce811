"""Medians and spreads of every feature in every hospital, and the features whose hospitals fall into
groups."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxfed.data.check.survey import Survey

ENOUGH = 20  # values of a hospital, for a median that says something of its unit
POSITIVE = 0.99  # share of the values, of a feature that is measured in a unit with a zero
NORMAL = 1.349  # quartiles of a normal distribution lie that many deviations apart


@dataclasses.dataclass(frozen=True, eq=False)
class Quartiles:
    """Quantiles ``[C, d]`` of the measured values, NaN where there are fewer than :data:`ENOUGH`, or fewer
    patients than twice the minimum."""

    tenth: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    ninetieth: np.ndarray


def quartiles(survey: Survey) -> Quartiles:
    """Of all features in all hospitals."""
    C, d = len(survey.size), survey.x.shape[1]
    found = np.full((5, C, d), np.nan)
    for c in range(C):
        rows = np.sort(survey.x[survey.rows(c)], axis=0)  # missing values come last
        known = np.isfinite(rows).sum(0)
        for n in np.unique(known[known >= ENOUGH]):
            columns = np.flatnonzero(known == n)
            for k, share in enumerate((0.1, 0.25, 0.5, 0.75, 0.9)):
                place = share * (n - 1)
                below = int(place)
                above = min(below + 1, n - 1)
                value = rows[below, columns] * (1 - place % 1) + rows[above, columns] * (place % 1)
                found[k, c, columns] = value
    people = [survey.people(np.isfinite(values)) for values in survey.x.T]
    few = 2 * survey.minimum > np.reshape(people, (d, C)).T
    tenth, low, median, high, ninetieth = np.where(few, np.nan, found)
    return Quartiles(tenth, low, median, high, ninetieth)
