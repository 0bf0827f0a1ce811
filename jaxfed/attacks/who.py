"""The choice of malicious hospitals, on the host: a number 0 or 1 for each hospital."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfed.core import checks
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.hyperparameters import PerHospital, Schedule, per_hospital

EXAMPLE = "jaxfed.attacks.malicious(hospitals, 0.2)"


def malicious(
    hospitals: Dataset,
    fraction: float | None = None,
    *,
    names: Sequence[str] | None = None,
    largest: int | None = None,
    smallest: int | None = None,
    seed: int = 0,
) -> PerHospital:
    """Mark hospitals as malicious; give exactly one of fraction, names, largest and smallest.

    Hospitals without training rows never take part, so only ``names`` can mark them.

    Args:
        hospitals: the data.
        fraction: share of the hospitals, in (0, 1), rounded down to whole hospitals and drawn at random.
        names: the hospitals themselves.
        largest: the number of hospitals with the most training rows.
        smallest: the number of hospitals with the fewest.
        seed: of the random choice.

    Returns:
        1 for each marked hospital and 0 for each other one, by name.

    Raises:
        InvalidInput: there is no such hospital, or a number that cannot be used.

    >>> from jaxfed.data import synthetic_ehr
    >>> malicious(synthetic_ehr(3, sizes=[100, 50, 30]), largest=1).values
    array([1, 0, 0])
    """
    problems = Problems("malicious")
    check_seed(seed, problems)
    ways = {"fraction": fraction, "names": names, "largest": largest, "smallest": smallest}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        what = " and ".join(given) or "nothing"
        raise InvalidInput(f"malicious: {what} given; give one of fraction, names, largest and smallest")
    rows = hospitals.counts[:, TRAIN]
    members = np.flatnonzero(rows > 0)
    marked = np.zeros(len(hospitals), np.int64)
    if names is not None:
        problems.raise_if_any()
        marked[_named(hospitals, names, problems)] = 1
        return _by_name(hospitals, marked)
    if fraction is not None:
        problems.extend(checks.number("fraction", fraction, 0, 1, above=True, below=True))
        count = 0 if problems.count else math.floor(fraction * len(members) + 1e-9)
        problems.check(
            count > 0 or problems.count > 0,
            f"fraction={fraction} of {len(members)} hospitals is less than 1; "
            f"give {_instead(hospitals, members)}",
        )
        problems.raise_if_any()
        order = members[np.random.default_rng(seed).permutation(len(members))]
    else:
        name = given[0]
        wanted: Any = ways[name]
        whole = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool)
        fine = whole and 0 < wanted <= len(members)
        problems.check(
            fine, f"{name}={wanted!r}: give a whole number from 1 to {len(members)}, the hospitals that train"
        )
        count = int(wanted) if fine else 0
        order = members[np.argsort(-rows[members] if largest is not None else rows[members], kind="stable")]
    problems.raise_if_any()
    marked[order[:count]] = 1
    return _by_name(hospitals, marked)


def numbers_of(hospitals: Dataset, who: Any, where: str) -> np.ndarray:
    """The numbers of the hospitals ``who``: names, or what :func:`malicious` returned.

    Raises:
        InvalidInput: there is no such hospital.
    """
    problems = Problems(where)
    if isinstance(who, PerHospital):
        names = who.names or hospitals.hospitals
        if len(names) != np.size(who.values):
            raise InvalidInput(
                f"{where}: {np.size(who.values)} marks for {len(names)} hospitals; give {EXAMPLE}"
            )
        who = [name for name, mark in zip(names, np.asarray(who.values), strict=True) if mark]
    numbers = _named(hospitals, who, problems)
    problems.raise_if_any()
    return numbers


def check_malicious(part: str, value: Any, problems: Problems) -> None:
    """Record a problem unless ``value`` is a mark, 0 or 1, for each hospital."""
    known = None if isinstance(value, Schedule) else checks.known(value)
    alone = isinstance(value, (bool, int, float, str, list, tuple, dict, Schedule)) or value is None
    if alone or (known is not None and not np.isin(known, (0, 1)).all()):
        problems.add(f"malicious={value!r}: say which hospitals are, {part}({EXAMPLE})")


def check_seed(seed: Any, problems: Problems) -> None:
    """Record a problem unless ``seed`` is a whole number of at least 0."""
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    problems.check(whole and seed >= 0, f"seed={seed!r}: give a whole number >= 0")


def _instead(hospitals: Dataset, members: np.ndarray) -> str:
    """What marks a hospital where a fraction was too small: three digits, rounded up; or a name."""
    if len(members) < 2:
        return f"names={[hospitals.hospitals[c] for c in members] or [*hospitals.hospitals[:1]]}"
    scale = 10 ** (2 - math.floor(-math.log10(len(members))))
    return f"at least {math.ceil(scale / len(members)) / scale:g}"


def _named(hospitals: Dataset, names: Any, problems: Problems) -> np.ndarray:
    if isinstance(names, str) or not isinstance(names, Sequence) or not len(names):
        problems.add(f"names={names!r}: give a list of hospitals, such as {[*hospitals.hospitals[:2]]}")
        problems.raise_if_any()
    number = {name: c for c, name in enumerate(hospitals.hospitals)}
    for name in names:
        if str(name) not in number:
            problems.add(f"no hospital {name!r}; {did_you_mean(name, hospitals.hospitals)}")
    problems.raise_if_any()
    return np.array([number[str(name)] for name in names])


def _by_name(hospitals: Dataset, marked: np.ndarray) -> PerHospital:
    return per_hospital(dict(zip(hospitals.hospitals, marked.tolist(), strict=True)))
