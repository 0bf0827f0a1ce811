"""From arrays that a user holds, one pair per hospital, to a checked :class:`Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean, listed
from jaxfed.core.task import Task
from jaxfed.data.features import gather_features
from jaxfed.data.ids import notice_alike
from jaxfed.data.labels import gather_labels
from jaxfed.data.missing import METHODS, impute
from jaxfed.data.notices import Notices
from jaxfed.data.splits import Split, split_hospitals


def from_arrays(
    hospitals: Mapping[Any, tuple[Any, Any]],
    *,
    split: Split = (0.7, 0.1, 0.2),
    seed: int = 0,
    task: Task | str | None = None,
    classes: Sequence[Any] | None = None,
    features: Sequence[str] | None = None,
    impute: str | None = None,
    name: str = "data",
) -> Dataset:
    """Check everything once and build a dataset.

    Args:
        hospitals: ``{hospital: (x, y)}``. ``x`` is ``[n, d]``, ``[n, h, w, c]``, a table (its
            columns are matched by name), or a pytree of arrays with n rows each; ``y`` is ``[n]``
            class numbers from 0, reals for regression, or ``[n, 2]`` (time, event) for survival, with
            event 1 or 0. Lists and tensors are converted, 64-bit numbers become 32-bit unless
            ``jax_enable_x64``. Hospitals are named ``str(id)``; one without rows is kept and never takes
            part.
        split: fractions (train, validation, test), drawn inside each hospital, stratified by label (or
            event) and keyed by (seed, hospital); or ``{hospital: [n]}`` of 0/1/2; or None: all training.
        seed: of the split.
        task: ``"binary"``, ``"multiclass"``, ``"regression"``, ``"survival"``, ``"survival-efron"`` or a
            :class:`jaxfed.Task` such as :func:`jaxfed.evaluation.discrete_hazard`; by default from the
            labels (only the first two are ever guessed).
        classes: names of the classes in the order of their numbers; needed where labels are text.
        features: names of the columns of a single matrix; chooses columns of tables.
        impute: ``"mean"``, ``"median"``, ``"zero"`` or ``"flag"`` replaces missing and infinite
            values, fitted on all hospitals' training rows; None refuses them. With ``"flag"`` the
            tables of some hospitals may lack columns; see :func:`~jaxfed.data.missing.impute`.
        name: what the data are called.

    Raises:
        InvalidInput: everything that cannot be used, for all hospitals, in one list.

    Warns:
        DataWarning: what can be used but deserves a second look, once per kind.

    >>> import numpy as np
    >>> x, y = np.zeros((10, 3)), np.arange(10) % 2
    >>> from_arrays({"north": (x, y), "south": (x + 1, y)}).size
    array([10, 10])
    """
    dataset, notices = gather("from_arrays", hospitals, split, seed, task, classes, features, impute, name)
    notices.emit()
    return dataset


def gather(
    where: str,
    hospitals: Mapping[Any, tuple[Any, Any]],
    split: Split,
    seed: int,
    task: Task | str | None,
    classes: Sequence[Any] | None,
    features: Sequence[str] | None,
    how: str | None,
    name: str,
    patients: Mapping[str, np.ndarray] | None = None,
) -> tuple[Dataset, Notices]:
    """:func:`from_arrays` for other constructors; errors start with ``where``.

    ``patients`` holds the ids ``[n]`` of each hospital's rows: those of one are not split.
    """
    problems, notices = Problems(where), Notices(where)
    problems.check(how is None or how in METHODS, f"impute={how!r}: {did_you_mean(how, list(METHODS))}")
    pairs = _pairs(where, hospitals, problems)
    xs, ys = ({key: pair[i] for key, pair in pairs.items()} for i in (0, 1))
    x, size, names = gather_features(xs, features, how is not None, how == "flag", problems, notices)
    found = problems.count
    labels, kind, classes = gather_labels(ys, task, classes, problems, notices)
    for (hospital, y), n in zip(labels.items(), size, strict=True):
        given = len(y) if problems.count == found else _rows(ys[hospital])
        problems.hospital(hospital).check(
            x is None or given is None or given == n,
            f"x has {n} rows and y has {given}; give one label per row",
        )
    problems.check(not pairs or bool(size.any()), "no hospital has rows; give at least one that has")
    if x is None or isinstance(split, Mapping) or patients is not None or kind.survival:
        problems.raise_if_any()
    strata = {hospital: kind.strata(y) for hospital, y in labels.items()}
    parts = split_hospitals(strata, split, seed, kind.stratified, problems, patients)
    problems.raise_if_any()
    notice_alike(list(pairs), notices)
    if kind.has_classes:
        lone = [hospital for hospital, y in labels.items() if len(y) and (y == y[0]).all()]
        for hospital in lone:
            notices.add("all labels are of one class; AUROC is undefined there", hospital)
    largest = int(size.argmax())
    if np.count_nonzero(size) > 1 and size[largest] >= 0.99 * size.sum():
        share = f"{size[largest]} of {size.sum()} rows"
        notices.add(f"one hospital has {share}; the others hardly count", list(pairs)[largest])
    dataset = Dataset(
        x=x,
        y=np.concatenate([y for y in labels.values() if len(y)]),
        size=size,
        split=parts,
        hospitals=tuple(pairs),
        task=kind,
        classes=classes,
        features=names,
        name=name,
        patients=None if patients is None else np.concatenate([*patients.values()]).astype(str),
    )
    if how is not None:
        _notice_lacking(dataset, how == "flag", notices)
    return (dataset if how is None else impute(dataset, how)), notices


def _notice_lacking(dataset: Dataset, flag: bool, notices: Notices) -> None:
    if not isinstance(dataset.x, np.ndarray) or dataset.x.ndim != 2:
        return
    known = np.zeros((len(dataset), dataset.x.shape[1]), np.int64)
    np.add.at(known, dataset.owner, np.isfinite(dataset.x))
    lacks = (known == 0) & (dataset.size > 0)[:, None]
    names = [dataset.features[j] if dataset.features else int(j) for j in np.flatnonzero(lacks.any(0))]
    for c in np.flatnonzero(lacks.any(1)):
        how = (
            "and flagged" if flag else "with the values of other hospitals; impute='flag' tells the model so"
        )
        notices.add(
            f"{listed(names)} are not measured everywhere; they are filled in {how}", dataset.hospitals[c]
        )


def _pairs(where: str, hospitals: Any, problems: Problems) -> dict[str, tuple[Any, Any]]:
    if not isinstance(hospitals, Mapping) or not hospitals:
        raise InvalidInput(
            f"{where}: got {type(hospitals).__name__} with nothing to read as hospitals; "
            "give {hospital: (x, y)} with at least one hospital"
        )
    pairs: dict[str, tuple[Any, Any]] = {}
    same: dict[str, list[Any]] = {}
    for key, pair in hospitals.items():
        same.setdefault(str(key), []).append(key)
        if isinstance(pair, (tuple, list)) and len(pair) == 2:
            pairs[str(key)] = (pair[0], pair[1])
        else:
            problems.hospital(str(key)).add(f"got {type(pair).__name__}; give a pair (x, y)")
    for text, keys in same.items():
        problems.check(
            len(keys) == 1,
            f"hospitals {listed(keys)} are all called {text!r}; give each its own id",
        )
    return pairs


def _rows(y: Any) -> int | None:
    try:
        return len(y)
    except TypeError:
        return None
