"""Wrong labels in the training rows of some hospitals.

Label flip: Biggio, Nelson, Laskov 2012, arXiv:1206.6389; for several classes the class c becomes L - 1 - c,
as in Allen-Zhu et al. 2020, arXiv:2012.14368. Validation and test rows keep their labels, features change
nowhere.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from jaxfed.attacks.who import check_seed, numbers_of
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean


def label_flip(hospitals: Dataset, who: Any, source: str | None = None, target: str | None = None) -> Dataset:
    """Turn labels around: class c becomes L - 1 - c, or all rows of one class become another.

    Args:
        hospitals: the data, of a task with classes.
        who: names of hospitals, or what :func:`jaxfed.attacks.malicious` returns.
        source: a class whose rows get the label ``target``; None with ``target=None`` for all classes.
        target: the class that they get.

    Raises:
        InvalidInput: there is no such hospital or class, or only one of ``source`` and ``target`` is given.
    """
    inside = _training(hospitals, who, "label_flip")
    if (source is None) != (target is None):
        raise InvalidInput(f"label_flip: source={source!r} and target={target!r}; give both classes, or none")
    y = np.array(hospitals.y)
    if source is None or target is None:
        y[inside] = len(hospitals.classes) - 1 - y[inside]
        return hospitals.replace(y=y)
    before, after = (class_of(hospitals, name, "label_flip") for name in (source, target))
    y[inside & (hospitals.y == before)] = after
    return hospitals.replace(y=y)


def random_labels(hospitals: Dataset, who: Any, *, seed: int = 0) -> Dataset:
    """Labels that say nothing: each row gets any class with the same probability.

    Draws belong to the hospital's name and ``seed``.

    Raises:
        InvalidInput: there is no such hospital, the task has no classes, or ``seed`` is no whole number.
    """
    problems = Problems("random_labels")
    check_seed(seed, problems)
    problems.raise_if_any()
    inside = _training(hospitals, who, "random_labels")
    y = np.array(hospitals.y)
    for c in np.unique(hospitals.owner[inside]):
        rows = inside & (hospitals.owner == c)
        rng = rng_of(hospitals.hospitals[c], seed)
        y[rows] = rng.integers(len(hospitals.classes), size=int(rows.sum()))
    return hospitals.replace(y=y)


def class_of(hospitals: Dataset, name: Any, where: str) -> int:
    """The number of a class.

    Raises:
        InvalidInput: there is no such class.
    """
    if str(name) not in hospitals.classes:
        known = did_you_mean(name, hospitals.classes) if hospitals.classes else "the task has no classes"
        raise InvalidInput(f"{where}: no class {name!r}; {known}")
    return hospitals.classes.index(str(name))


def rng_of(hospital: str, seed: int) -> np.random.Generator:
    """Draws that belong to a hospital's name."""
    return np.random.default_rng([zlib.crc32(hospital.encode()), seed])


def _training(hospitals: Dataset, who: Any, where: str) -> np.ndarray:
    """``[N]`` bool: the training rows of these hospitals."""
    if not hospitals.classes:
        raise InvalidInput(
            f"{where}: the task {hospitals.task.name!r} has no classes; change hospitals.y yourself"
        )
    return np.isin(hospitals.owner, numbers_of(hospitals, who, where)) & (hospitals.split == TRAIN)
