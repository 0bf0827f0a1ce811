"""What all parts of the check look at: hospitals, features, labels, patients, and how few are too few."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.data.check.labels import Labels, given_labels, read_labels
from jaxfed.data.columns import FEW, codes_of, is_number, kind_of, numeric_text, plain_numbers, without_codes
from jaxfed.data.ids import id_texts


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """A table or a dataset, as its check sees it; N rows hospital by hospital, C hospitals, d features.

    Attributes:
        name: what the data are called.
        hospital: column of the hospitals.
        label: column to predict.
        patient: column of the patients, or None.
        weighted: whether weights of rows are given.
        chosen: the features, if the user named them, else empty.
        left_out: columns of the table that are nothing of all this.
        features: names of the features that are numbers.
        x: ``[N, d]`` float64, NaN where missing or no number.
        whole: ``[d]`` whether all values of a feature are whole numbers.
        texts: features that are not numbers, or not all of them, ``{name: (kind, column)}``.
        hospitals: names, in the order of their first row.
        ids: the same as they stand in the table.
        size: ``[C]`` rows.
        labels: what is predicted, row by row.
        patients: ``[N]`` numbers of the patients; None where each row is one.
        minimum: no value of fewer patients is shown.
        homeless: rows without a hospital, which are in nothing else.
        anonymous: rows without a patient, each of which counts as one.
        two_types: how many hospitals' ids are a number in one row and text in another.
        prepared: whether the features are imputed or standardised already.
    """

    name: str
    hospital: str
    label: str
    patient: str | None
    weighted: bool
    chosen: tuple[str, ...]
    left_out: tuple[str, ...]
    features: tuple[str, ...]
    x: np.ndarray
    texts: Mapping[str, tuple[str, pd.Series]]
    hospitals: tuple[str, ...]
    ids: tuple[Any, ...]
    size: np.ndarray
    labels: Labels
    patients: np.ndarray | None
    minimum: int
    homeless: int = 0
    anonymous: int = 0
    two_types: int = 0
    prepared: bool = False

    @functools.cached_property
    def start(self) -> np.ndarray:
        """``[C]`` first row of each hospital."""
        return np.concatenate([[0], np.cumsum(self.size)[:-1]]).astype(np.int64)

    @functools.cached_property
    def owner(self) -> np.ndarray:
        """``[N]`` number of the hospital of each row."""
        return np.repeat(np.arange(len(self.size)), self.size)

    def rows(self, c: int) -> slice:
        """The rows of hospital number ``c``."""
        return slice(int(self.start[c]), int(self.start[c] + self.size[c]))

    def count(self, mask: np.ndarray) -> np.ndarray:
        """``[C]`` rows in ``mask [N]``."""
        return np.bincount(self.owner[mask], minlength=len(self.size))

    def people(self, mask: np.ndarray) -> np.ndarray:
        """``[C]`` patients of whom a row is in ``mask [N]``; rows where each is one."""
        if self.patients is None:
            return self.count(mask)
        number = int(self.patients.max()) + 1
        pairs = np.unique(self.owner[mask] * number + self.patients[mask])
        return np.bincount(pairs // number, minlength=len(self.size))

    def few(self, mask: np.ndarray) -> bool:
        """Whether too few patients have a row in ``mask [N]`` to show what is special about it."""
        persons = mask.sum() if self.patients is None else len(np.unique(self.patients[mask]))
        return bool(persons < self.minimum)

    @functools.cached_property
    def named(self) -> np.ndarray:
        """``[C]`` which hospitals have enough patients to be named."""
        return self.people(np.ones(len(self.owner), bool)) >= self.minimum


def survey_frame(
    df: pd.DataFrame,
    hospital: str,
    label: str,
    patient: str | None,
    others: Sequence[str | None],
    features: Sequence[str] | None,
    drop: Sequence[str],
    missing: Sequence[Any],
    task: Any,
    classes: Sequence[Any] | None,
    minimum: int,
    name: str,
) -> Survey:
    """Of a table with a row per patient or visit; ``others`` are columns that are no features either."""
    columns = _choose(df, hospital, label, patient, others, features, drop)
    ids, mixed = id_texts(df[hospital])
    lost = np.array([text is None for text in ids])
    if lost.all():
        raise InvalidInput(
            f"check: column {hospital!r} is empty; name the column of the hospitals, hospital="
        )
    code, names = pd.factorize(np.array(ids, object)[~lost])
    order = np.flatnonzero(~lost)[np.argsort(code, kind="stable")]
    table = df.iloc[order]
    texts, numbers, x = {}, codes_of(missing), []
    kept = []
    for column in columns:
        values, hits = without_codes(table[column], *numbers)
        values = plain_numbers(numeric_text(values, hits))
        if is_number(values):
            x.append(values.to_numpy(dtype=float, na_value=np.nan))
        else:
            kind, read = kind_of(values)[0], pd.to_numeric(values.astype(object), errors="coerce")
            if kind == "text" and read.notna().any() and values[read.isna()].nunique() <= FEW:
                kind = "codes"  # for missing, and more of them than numbers
            texts[str(column)] = (kind, values)
            if kind not in ("codes", "bounds", "numbers as text"):
                continue
            # What is a number of such a column is looked at like any other.
            x.append(read.to_numpy(float))
        kept.append(str(column))
    target, _ = without_codes(table[label], *numbers)
    patients, anonymous = (None, 0) if patient is None else _people(table[patient])
    return Survey(
        name=name,
        hospital=hospital,
        label=label,
        patient=patient,
        weighted=others[1] is not None,
        chosen=() if features is None else tuple(map(str, features)),
        left_out=tuple(str(c) for c in df.columns if c not in (hospital, label, patient, *columns)),
        features=tuple(kept),
        x=_finite(np.stack(x, axis=1)) if x else np.zeros((len(table), 0)),
        texts=texts,
        hospitals=tuple(names),
        ids=tuple(df[hospital].iloc[np.flatnonzero(~lost)[np.unique(code, return_index=True)[1]]].tolist()),
        size=np.bincount(code, minlength=len(names)),
        labels=read_labels(target, task, classes),
        patients=patients,
        minimum=minimum,
        homeless=int(lost.sum()),
        anonymous=anonymous,
        two_types=len(mixed),
    )


def survey_dataset(data: Dataset, minimum: int) -> Survey:
    """Of a dataset; features of something else than one matrix are not looked at."""
    matrix = isinstance(data.x, np.ndarray) and data.x.ndim == 2
    x = data.x.astype(np.float64) if matrix else np.zeros((len(data.y), 0))
    return Survey(
        name=data.name,
        hospital="hospital",
        label="label",
        patient=None if data.patients is None else "patient",
        weighted=True,
        chosen=(),
        left_out=(),
        features=(data.features or tuple(f"feature {j}" for j in range(x.shape[1]))) if matrix else (),
        x=_finite(x),
        texts={},
        hospitals=data.hospitals,
        ids=data.hospitals,
        size=np.asarray(data.size),
        labels=given_labels(data),
        patients=None if data.patients is None else pd.factorize(data.patients)[0],
        minimum=minimum,
        prepared=bool(data.steps),
    )


def _people(ids: pd.Series) -> tuple[np.ndarray, int]:
    """``[N]`` numbers of the patients, and how many rows have no id: each has a number of its own."""
    number, names = pd.factorize(np.array(id_texts(ids)[0], object))
    lost = number < 0
    return np.where(lost, len(names) + np.cumsum(lost), number), int(lost.sum())


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, np.nan)


def _choose(
    df: pd.DataFrame,
    hospital: str,
    label: str,
    patient: str | None,
    others: Sequence[str | None],
    features: Sequence[str] | None,
    drop: Sequence[str],
) -> list[Any]:
    """The columns to learn from, where all that are named are there."""
    problems, names = Problems("check"), [str(column) for column in df.columns]
    for argument, column in (("features", features), ("drop", drop)):
        if isinstance(column, str):
            raise InvalidInput(f"check: {argument}={column!r}: give a list, as [{column!r}]")
    problems.check(len({*names}) == len(names), "columns are given twice; rename them")
    given = [("hospital", hospital), ("label", label), ("patient", patient)]
    given += zip(("time", "weights"), others, strict=True)
    roles = [(role, column) for role, column in given if column is not None]
    for role, column in [*roles, *(("feature", f) for f in features or ()), *(("drop", f) for f in drop)]:
        if column not in df.columns:
            problems.add(f"no {role} column {column!r}; {did_you_mean(column, names)}")
    problems.raise_if_any()
    taken = {hospital, label, patient, *others, *drop}
    return [column for column in (df.columns if features is None else features) if column not in taken]
