"""Weights of rows in the training loss: survey weights, inverse probabilities, balanced classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean


def weigh_rows(dataset: Dataset, weights: Mapping[Any, Any] | Any) -> Dataset:
    """The same rows, with a weight for each in the training loss.

    A hospital trains on sum_i w_i loss_i / sum_i w_i and, where hospitals count by their rows, counts with
    the sum of its training rows' weights; so a weight of 2 is worth two equal rows. Metrics count every row
    once. Algorithms are as without weights; under :class:`jaxfed.privacy.HospitalDP` a hospital counts once
    whatever its weights, and :class:`jaxfed.privacy.PatientDP` refuses them.

    Args:
        dataset: any data set.
        weights: ``[N]`` numbers, at least 0, in the order of the rows, or ``{hospital: [n]}``.

    Raises:
        InvalidInput: a number is missing, negative or infinite, a length is wrong, or all training rows of a
            hospital have weight 0.

    >>> import jaxfed
    >>> hospitals = jaxfed.data.synthetic_ehr(hospitals=3)
    >>> balanced = weigh_rows(hospitals, 1 + 9 * hospitals.y)  # events count tenfold
    """
    problems = Problems("weigh_rows")
    parts = _parts(dataset, weights, problems)
    problems.raise_if_any()
    for (name, part), n in zip(parts.items(), dataset.size, strict=True):
        wrong = ~np.isfinite(part) | (part < 0)
        where = problems.hospital(name)
        where.check(len(part) == n, f"{len(part)} weights for {n} rows; give one for each row")
        where.check(
            not wrong.any(),
            f"{wrong.sum()} weights such as {part[wrong][:1]} are missing, infinite or below 0; give numbers "
            "of at least 0, such as 0 for rows that shall not count",
        )
    problems.raise_if_any()
    values = np.concatenate([np.zeros(0), *parts.values()]).astype(np.float32)
    weighted = dataset.replace(row_weights=values)
    trains = dataset.counts[:, TRAIN] > 0
    for c in np.flatnonzero(trains & (weighted.weight_factors == 0)):
        problems.hospital(dataset.hospitals[c]).add(
            "all training rows have weight 0; leave the hospital out, hospitals.select([...])"
        )
    problems.raise_if_any()
    return weighted


def _parts(dataset: Dataset, weights: Any, problems: Problems) -> dict[str, np.ndarray]:
    if not isinstance(weights, Mapping):
        array = _numbers(weights)
        if array is None or array.shape != (len(dataset.y),):
            shape = None if array is None else array.shape
            problems.add(f"weights have shape {shape}; give [{len(dataset.y)}] numbers, one for each row")
            return {}
        return dict(zip(dataset.hospitals, np.split(array, np.cumsum(dataset.size)[:-1]), strict=True))
    given = {str(name): _numbers(part) for name, part in weights.items()}
    for name in dataset.hospitals:
        part = given.get(name)
        problems.hospital(name).check(part is not None and part.ndim == 1, "no weights; give [n] numbers")
    for name in given:
        problems.check(name in dataset.hospitals, f"{name!r}: {did_you_mean(name, dataset.hospitals)}")
    return {name: part for name in dataset.hospitals if (part := given.get(name)) is not None}


def _numbers(values: Any) -> np.ndarray | None:
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        return None
