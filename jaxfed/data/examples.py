"""Real data that come with scikit-learn, shared out to artificial hospitals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, did_you_mean, spelled
from jaxfed.core.task import Task
from jaxfed.data import partition as rules
from jaxfed.data import quantity, scaling
from jaxfed.data.arrays import gather
from jaxfed.data.sklearn_extra import needs_sklearn
from jaxfed.data.splits import Split

RULES: dict[str, Callable[..., np.ndarray]] = {
    rule.__name__: rule
    for rule in (
        rules.iid,
        rules.dirichlet,
        rules.dirichlet_by_class,
        rules.dirichlet_lognormal,
        rules.shards,
        rules.classes_per_hospital,
        rules.gamma_similarity,
        quantity.lognormal_sizes,
        quantity.zipf_sizes,
        quantity.dirichlet_sizes,
    )
}
Partition = str | Callable[..., np.ndarray]


def breast_cancer(
    hospitals: int = 10,
    *,
    partition: Partition = "iid",
    seed: int = 0,
    split: Split = (0.7, 0.1, 0.2),
    standardize: str = "federated",
    **options: Any,
) -> Dataset:
    """Breast cancer Wisconsin: 569 patients, 30 features of cell nuclei; 1 is malignant.

    Wolberg, Street, Mangasarian 1993 (doi 10.24432/C5DW2B, CC BY 4.0).

    Args:
        hospitals: how many.
        partition: the name of a rule of :mod:`~jaxfed.data.partition` or
            :mod:`~jaxfed.data.quantity`, or a function ``(labels, hospitals, seed) -> [N]``.
        seed: of the partition and the split.
        split: as in :func:`~jaxfed.data.splits.resplit`.
        standardize: ``"federated"``, ``"local"`` or ``"none"``.
        **options: of the rule, as ``alpha=.3``.

    >>> breast_cancer(5, partition="dirichlet", alpha=0.3).x.shape
    (569, 30)
    """
    raw = needs_sklearn("datasets").load_breast_cancer()
    assignment = assign(raw.target, hospitals, partition, seed, options)
    dataset, _ = _gather(
        raw.data,
        # scikit-learn counts malignant as 0; here 1 is the event, as everywhere else.
        1 - raw.target,
        assignment,
        hospitals,
        split,
        seed,
        classes=("benign", "malignant"),
        features=[str(feature) for feature in raw.feature_names],
        name="breast cancer",
    )
    return scaling.standardize(dataset, standardize)


def digits(
    hospitals: int = 30,
    *,
    partition: Partition = "iid",
    seed: int = 0,
    split: Split = (0.7, 0.1, 0.2),
    flat: bool = False,
    **options: Any,
) -> Dataset:
    """1,797 handwritten digits; pixels from 0 to 1, ``x [N, 8, 8, 1]`` or, ``flat``, ``[N, 64]``.

    Alpaydin, Kaynak 1998 (doi 10.24432/C50P49, CC BY 4.0). Arguments as in :func:`breast_cancer`.
    """
    raw = needs_sklearn("datasets").load_digits()
    x = (raw.data / 16).astype(np.float32)
    assignment = assign(raw.target, hospitals, partition, seed, options)
    dataset, _ = _gather(
        x if flat else x.reshape(-1, 8, 8, 1),
        raw.target,
        assignment,
        hospitals,
        split,
        seed,
        classes=tuple(map(str, range(10))),
        features=None,
        name="digits",
    )
    return dataset


def from_partition(
    x: np.ndarray,
    y: np.ndarray,
    assignment: np.ndarray,
    *,
    split: Split = (0.7, 0.1, 0.2),
    seed: int = 0,
    classes: tuple[str, ...] | None = None,
    features: list[str] | None = None,
    task: Task | str | None = None,
    name: str = "partition",
) -> Dataset:
    """One data set shared out by ``assignment [N]`` (from a rule); hospitals ``p00, p01, ...``.

    >>> import numpy as np
    >>> x, y = np.zeros((6, 2)), np.array([0, 1, 0, 1, 0, 1])
    >>> from_partition(x, y, np.array([0, 0, 0, 0, 1, 1])).size
    array([4, 2])
    """
    assignment = np.asarray(assignment)
    if assignment.shape != (len(y),) or assignment.dtype.kind not in "iu" or assignment.min() < 0:
        raise InvalidInput(
            f"from_partition: assignment has shape {assignment.shape} and type {assignment.dtype}; "
            f"give [{len(y)}] hospital numbers from 0"
        )
    hospitals = int(assignment.max()) + 1
    dataset, notices = _gather(
        x, y, assignment, hospitals, split, seed, classes=classes, features=features, name=name, task=task
    )
    notices.emit()
    return dataset


def _gather(
    x: Any, y: Any, assignment: np.ndarray, hospitals: int, split: Split, seed: int, *,
    classes: Any, features: Any, name: str, task: Task | str | None = None,
) -> tuple[Dataset, Any]:  # fmt: skip
    x, y = np.asarray(x), np.asarray(y)
    pairs = {f"p{c:02d}": (x[assignment == c], y[assignment == c]) for c in range(hospitals)}
    return gather(name, pairs, split, seed, task, classes, features, None, name)


def assign(
    y: np.ndarray, hospitals: int, partition: Partition, seed: int, options: dict[str, Any]
) -> np.ndarray:
    """``[N]`` hospital numbers by a rule that is named or given."""
    if isinstance(partition, str):
        if partition not in RULES:
            raise InvalidInput(f"partition={partition!r}: {did_you_mean(partition, list(RULES))}")
        partition = RULES[partition]
    return spelled(partition)(y, hospitals, seed, **options)
