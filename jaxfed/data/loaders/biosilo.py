"""BioSilo: biomedical data sets with the clients that they came from (https://github.com/briannamueller/BioSilo).

A partition has ``client_ids`` and ``client(i, split)``, which gives ``(X, y, groups)`` for ``"train"`` and
``"test"``: ``X`` an array or a named tuple of arrays, ``groups`` an id per row (a patient) or None. That is
all that is used here (BioSilo 0.1), so that any object with it will do. Each data set has terms of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxfed.core.dataset import TEST, Dataset
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.task import Task
from jaxfed.data.arrays import gather
from jaxfed.data.splits import split_hospitals


def from_biosilo(
    partition: Any,
    *,
    validation: float = 0.1,
    seed: int = 0,
    task: Task | str | None = None,
    impute: str | None = None,
    name: str | None = None,
) -> Dataset:
    """The clients of a partition as hospitals: ``from_biosilo(biosilo.load("eICU"))``.

    Args:
        partition: what ``biosilo.load`` returns.
        validation: the share of each client's training rows that become validation rows, of which BioSilo has
            none; all rows of a group are in one part.
        seed: of these.
        task, impute: as in :func:`~jaxfed.data.arrays.from_arrays`.
        name: what the data are called; None for ``partition.dataset``.

    Raises:
        InvalidInput: no such object, and all that ``from_arrays`` refuses.
    """
    if not callable(getattr(partition, "client", None)) or not hasattr(partition, "client_ids"):
        raise InvalidInput(
            f"from_biosilo: got {type(partition).__name__}; give what biosilo.load(name) returns, an object "
            "with client_ids and client(i, split)"
        )
    if not 0 <= validation < 1:
        raise InvalidInput(
            f"from_biosilo: validation={validation!r}: give a share of the training rows, below 1"
        )
    pairs, parts, patients = {}, {}, {}
    problems = Problems("from_biosilo")
    for i, client in enumerate(map(str, partition.client_ids)):
        train, test = (_client(partition, i, part) for part in ("train", "test"))
        x = {key: np.concatenate([np.asarray(train[0][key]), np.asarray(test[0][key])]) for key in train[0]}
        y = np.concatenate([np.asarray(train[1]), np.asarray(test[1])])
        groups = None if train[2] is None else [f"{client}/{group}" for group in (*train[2], *test[2])]
        first = len(train[1])
        inside = split_hospitals(
            {client: y[:first]},
            (1 - validation, validation, 0),
            seed,
            y.dtype.kind in "iub",
            problems,
            None if groups is None else {client: np.array(groups[:first], object)},
        )
        pairs[client] = (x["x"] if list(x) == ["x"] else x, y)
        parts[client] = np.concatenate([inside, np.full(len(y) - first, TEST, np.int8)])
        if groups is not None:
            patients[client] = np.array(groups, object)
    problems.raise_if_any()
    called = name or str(getattr(partition, "dataset", "biosilo"))
    whole, notices = gather(
        "from_biosilo", pairs, parts, seed, task, None, None, impute, called, patients=patients or None
    )
    notices.emit()
    return whole


def _client(partition: Any, i: int, split: str) -> tuple[dict[str, Any], Any, Any]:
    """``{name: array}``, labels and groups of one client's rows."""
    given = partition.client(i, split)
    if not isinstance(given, tuple) or len(given) != 3:
        raise InvalidInput(
            f"from_biosilo: client({i}, {split!r}) gives {type(given).__name__}; it should be (X, y, groups)"
        )
    x, y, groups = given
    return (x._asdict() if hasattr(x, "_asdict") else {"x": x}), y, groups
