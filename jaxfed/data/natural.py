"""Rows that belong together: a site, ward or physician is never cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems, listed
from jaxfed.data.quantity import check_whole


def by_id(ids: Any, hospitals: int | None = None, seed: int = 0) -> np.ndarray:
    """``[N]`` hospital numbers from an id for every row.

    Args:
        ids: ``[N]`` text or numbers, none missing.
        hospitals: None gives each id a hospital, in the order of their first row. A number shares whole ids
            out so that the hospitals have about equally many rows: the largest first, each to the hospital
            with the fewest (Graham 1969, doi 10.1137/0117039: the largest is below 4/3 of the best possible).
        seed: of the order among ids with equally many rows.

    Raises:
        InvalidInput: missing ids, or more hospitals than ids.

    >>> by_id(["north", "south", "north", "east"]).tolist()
    [0, 1, 0, 2]
    """
    check_whole("by_id", {}, seed=seed, **({} if hospitals is None else {"hospitals": hospitals}))
    problems = Problems("by_id")
    fine = np.ndim(ids) == 1 and len(ids) > 0
    problems.check(fine, f"ids have shape {np.shape(ids)}; give an id for each row")
    problems.raise_if_any()
    number, names = pd.factorize(pd.Series(list(ids), dtype=object))
    missing = np.flatnonzero(number < 0)
    problems.check(not len(missing), f"rows {listed(missing.tolist(), 5)} have no id; drop them")
    problems.check(
        hospitals is None or 1 <= hospitals <= len(names),
        f"hospitals={hospitals}: there are {len(names)} ids, which are not cut; give that or fewer, or None",
    )
    problems.raise_if_any()
    if hospitals is None:
        return number.astype(np.int64)
    rows = np.bincount(number)
    order = np.random.default_rng(seed).permutation(len(rows))
    order = order[np.argsort(-rows[order], kind="stable")]
    size, owner = np.zeros(hospitals, np.int64), np.empty(len(rows), np.int64)
    for i in order:
        owner[i] = int(size.argmin())
        size[owner[i]] += rows[i]
    return owner[number]
