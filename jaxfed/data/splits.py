"""Splits of each hospital's rows into training, validation and test rows.

The draws of a hospital are keyed by (seed, hospital name), so neither the order nor the number of
hospitals changes them. The parts of a hospital have the whole numbers of rows
nearest to the fractions (largest remainders), and so has each class in them, up to one row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.errors import Problems, listed, warn
from jaxfed.data.notices import DataWarning

Split = Sequence[float] | Mapping[Any, Any] | None


def resplit(dataset: Dataset, split: Split = (0.7, 0.1, 0.2), seed: int = 0) -> Dataset:
    """The same rows with new training, validation and test parts.

    Args:
        dataset: any dataset.
        split: three fractions (train, validation, test) that add up to 1; or ``{hospital: [n]}``
            of 0/1/2 or part names; or None for training rows only.
        seed: of the draws, together with the hospital's name.

    Numbers of a preparation (standardised, imputed) stay those of the old training rows. There is a warning
    where some of these are no training rows any more: split first, then prepare.

    Raises:
        InvalidInput: fractions or parts that cannot be used, all of them listed.
    """
    problems = Problems("resplit")
    stop = np.cumsum(dataset.size)
    strata = dataset.task.strata(dataset.y)
    labels = {name: strata[a:b] for name, a, b in zip(dataset.hospitals, dataset.start, stop, strict=True)}
    patients = None
    if dataset.patients is not None:
        patients = {h: dataset.patients[a:b] for h, a, b in zip(labels, dataset.start, stop, strict=True)}
    parts = split_hospitals(labels, split, seed, dataset.task.stratified, problems, patients)
    problems.raise_if_any()
    warn_of_seen_rows("resplit", dataset, parts)
    return dataset.replace(split=parts)


def warn_of_seen_rows(where: str, dataset: Dataset, parts: np.ndarray) -> None:
    """Warn if the dataset was prepared with training rows that are none in the new ``parts [N]``."""
    left = int(((dataset.split == TRAIN) & (parts != TRAIN)).sum())
    if dataset.steps and left:
        steps = " and ".join(dict.fromkeys(step.kind for step in dataset.steps))
        warn(
            f"{where}: the numbers of {steps} come from the old training rows, of which {left} are for "
            f"validation or test now, so that metrics are too good; {where} before you prepare the data",
            DataWarning,
        )


def split_hospitals(
    labels: Mapping[str, np.ndarray],
    split: Split,
    seed: int,
    stratify: bool,
    problems: Problems,
    patients: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """``[N]`` int8 part of every row, hospital by hospital; adds what is wrong to ``problems``.

    ``labels`` holds each hospital's ``y [n]``; with ``stratify`` its classes are spread evenly.
    ``patients`` holds ids ``[n]``: all rows of a patient are in one part.
    """
    if split is None:
        return np.zeros(sum(map(len, labels.values())), np.int8)
    if isinstance(split, Mapping):
        parts = _given(labels, split, problems)
        if patients is not None and not problems.count:
            _check_patients(np.concatenate([*patients.values()]), np.concatenate(parts), problems)
    else:
        fractions = _fractions(split, seed, problems)
        if fractions is None:
            return np.zeros(sum(map(len, labels.values())), np.int8)
        shared = _shared(patients or {})
        parts = [
            split_rows(y if stratify and y.ndim == 1 else len(y), fractions, seed, name)
            if patients is None
            else _split_patients(y, patients[name], shared, fractions, seed, name, stratify)
            for name, y in labels.items()
        ]
    return np.concatenate([np.zeros(0, np.int8), *parts])


def split_rows(
    labels: np.ndarray | int, fractions: Sequence[float] | np.ndarray, seed: int, name: str
) -> np.ndarray:
    """``[n]`` int8 parts of one hospital's rows: its labels ``[n]``, or ``n`` to ignore labels.

    A class with a single row goes to training: a model can be tested without it, not trained.
    """
    share = np.asarray(fractions, float)
    if isinstance(labels, int):
        stratum, sizes = np.zeros(labels, np.int64), np.array([labels])
    else:
        _, stratum, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    parts = np.zeros(len(stratum), np.int8)
    order = np.argsort(stratum[shuffled := _rng(seed, name).permutation(len(stratum))], kind="stable")
    members = np.split(shuffled[order], np.cumsum(sizes)[:-1])
    single = sizes == 1
    counts = np.floor(np.outer(sizes, share) + 1e-9).astype(np.int64)
    counts[single] = np.eye(3, dtype=np.int64)[TRAIN]
    room = _nearest(share * len(stratum)) - counts.sum(0)
    left = sizes - counts.sum(1)
    # Who has most left over chooses first, and takes the parts with most room: the order in which
    # Gale and Ryser's theorem finds totals that fit whenever there are any.
    for c in np.argsort(-left, kind="stable"):
        wish = np.lexsort((-(share * sizes[c] % 1), -room, share == 0))[: left[c]]
        counts[c, wish] += 1
        room[wish] -= 1
        parts[members[c]] = np.repeat(np.arange(3, dtype=np.int8), counts[c])
    return parts


def _split_patients(
    labels: np.ndarray,
    patients: np.ndarray,
    shared: set[str],
    fractions: np.ndarray,
    seed: int,
    name: str,
    stratify: bool,
) -> np.ndarray:
    """``[n]`` int8 parts of one hospital's rows, the same for all of a patient.

    A patient's class is the highest of its rows. Patients of several hospitals are drawn by their id alone.
    """
    ids, number = np.unique(patients.astype(str), return_inverse=True)
    parts = np.zeros(len(ids), np.int8)
    alone = np.array([patient not in shared for patient in ids], bool)
    if stratify and labels.ndim == 1:
        highest = np.zeros(len(ids), labels.dtype)
        np.maximum.at(highest, number, labels)
        parts[alone] = split_rows(highest[alone], fractions, seed, name)
    else:
        parts[alone] = split_rows(int(alone.sum()), fractions, seed, name)
    for i in np.flatnonzero(~alone):
        drawn = _rng(seed, f"patient {ids[i]}").random()
        parts[i] = min(int(np.searchsorted(np.cumsum(fractions), drawn, side="right")), len(SPLITS) - 1)
    return parts[number]


def _shared(patients: Mapping[str, np.ndarray]) -> set[str]:
    """Ids with rows in more than one hospital."""
    seen: set[str] = set()
    shared: set[str] = set()
    for ids in patients.values():
        own = {str(patient) for patient in ids}
        shared |= seen & own
        seen |= own
    return shared


def _check_patients(patients: np.ndarray, parts: np.ndarray, problems: Problems) -> None:
    _, number = np.unique(patients.astype(str), return_inverse=True)
    first = np.zeros(number.max(initial=-1) + 1, np.int8)
    first[number] = parts
    torn = np.unique(patients[first[number] != parts].astype(str))
    problems.check(
        not len(torn),
        f"split: rows of patient {listed(torn.tolist(), 3)} are in two parts; give all rows of a patient the "
        "same one",
    )


def _nearest(shares: np.ndarray) -> np.ndarray:
    """Whole numbers with the same sum, by largest remainders."""
    whole = np.floor(shares + 1e-9).astype(np.int64)
    extra = round(float(shares.sum())) - int(whole.sum())
    whole[np.argsort(whole - shares, kind="stable")[:extra]] += 1
    return whole


def _rng(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(digest, "big")]))


def _fractions(split: Any, seed: int, problems: Problems) -> np.ndarray | None:
    remedy = "give three fractions (train, validation, test) that add up to 1, as (.7, .1, .2)"
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        problems.add(f"seed={seed!r}: give a whole number, 0 or more")
        return None
    try:
        share = np.asarray(split, float)
    except (TypeError, ValueError):
        problems.add(f"split={split!r}: {remedy}")
        return None
    if share.shape != (3,) or not (share >= 0).all() or abs(share.sum() - 1) > 1e-6:
        problems.add(f"split={split!r}: {remedy}")
        return None
    if share[TRAIN] == 0:
        problems.add(f"split={split!r} leaves no training rows; give the first fraction > 0")
        return None
    return share


def _given(
    labels: Mapping[str, np.ndarray], split: Mapping[str, Any], problems: Problems
) -> list[np.ndarray]:
    keys = list(map(str, split))
    twice = sorted({key for key in keys if keys.count(key) > 1})
    problems.check(not twice, f"split: two entries for {listed(twice)}; give one for each hospital")
    split = dict(zip(keys, split.values(), strict=True))
    unknown = [name for name in split if name not in labels]
    absent = [name for name, y in labels.items() if name not in split and len(y)]
    problems.check(not unknown, f"split names hospitals that have no data: {listed(unknown)}")
    problems.check(not absent, f"split has no entry for hospital {listed(absent)}; give one each")
    parts = []
    for name, y in labels.items():
        own = problems.hospital(name)
        part = part_numbers(split.get(name, np.zeros(len(y), np.int8)), "", own)
        if len(part) != len(y):
            own.add(f"split has {len(part)} entries for {len(y)} rows")
            part = np.zeros(len(y), np.int8)
        parts.append(part)
    return parts


def part_numbers(values: Any, whose: str, problems: Problems) -> np.ndarray:
    """``[n]`` int8 from 0/1/2 or ``"train"``, ``"validation"`` (or ``"val"``), ``"test"``."""
    known: dict[object, int] = {"val": 1, **{name: i for i, name in enumerate(SPLITS)}}
    known |= {0: 0, 1: 1, 2: 2}
    values = np.asarray(values, dtype=object).ravel()
    keys = [value.lower() if isinstance(value, str) else value for value in values]
    # True is equal to 1, and would be validation
    truths = {str(key) for key in keys if isinstance(key, (bool, np.bool_))}
    strange = truths | {repr(key) for key in keys if key not in known}
    problems.check(
        not strange,
        f"{whose}split has the values {', '.join(sorted(strange)[:5])}; use 0, 1, 2 or {list(SPLITS)}",
    )
    return np.array([known.get(key, 0) for key in keys], np.int8)
