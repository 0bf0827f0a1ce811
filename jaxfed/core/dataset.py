"""The flat sample store: every hospital's rows one after another, on the host.

A federation of C hospitals with N rows in all is one pytree ``x`` of ``[N, ...]`` and one ``y`` of
``[N]``; hospital ``c`` owns rows ``start[c] : start[c] + size[c]``. Nothing is padded, so the memory of a
hospital is proportional to its rows. :mod:`jaxfed.core.layout.plan` assigns hospitals to devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.task import Task
from jaxfed.core.tasks import as_task
from jaxfed.core.types import Weighted

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """All hospitals' samples. Build one with ``jaxfed.data.from_arrays``, ``from_frame`` or a loader.

    Attributes:
        x: features, a pytree of arrays ``[N, ...]``; rows hospital by hospital. Read-only arrays, such as
            ``np.load(..., mmap_mode="r")`` gives, are not copied if all rows are for training.
        y: ``[N]`` int32 class numbers (binary, multiclass), ``[N, ...]`` floats (regression) or ``[N, 2]``
            floats, time and event (survival).
        size: ``[C]`` rows of each hospital; 0 is allowed (the hospital never takes part).
        split: ``[N]`` int8; 0 train, 1 validation, 2 test.
        hospitals: ``C`` unique names. Random numbers belong to the name, so the order of hospitals
            changes no draw.
        task: ``"binary"``, ``"multiclass"``, ``"regression"``, ``"survival"`` or a :class:`jaxfed.Task`;
            stored as the task, which is equal to its name.
        classes: class names in the order of their numbers; empty where labels are no classes.
        features: names of the columns of ``x`` when it is one matrix ``[N, d]``, else empty.
        truth: per-row arrays ``[N]`` that a generator knows and a hospital does not (``p``, ``eta``).
        name: what the data are called in tables and figures.
        patients: ``[N]`` text, ids of the patients if some have several rows, else None: rows of the same
            patient are never split over train, validation and test.
        row_weights: ``[N]`` float32 weights of rows in the training loss, at least 0; None for equal ones.
            Metrics count every row once.
        steps: the preparation applied to ``x``, with its numbers; see :mod:`jaxfed.data.preparation`.
    """

    x: Any
    y: np.ndarray
    size: np.ndarray
    split: np.ndarray
    hospitals: tuple[str, ...]
    task: Task
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    name: str = "data"
    patients: np.ndarray | None = None
    steps: tuple[Any, ...] = ()
    row_weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", as_task(self.task))
        problems = Problems("Dataset")
        leaves = [*jax.tree.leaves(self.x), self.y, self.split, *self.truth.values()]
        leaves += [leaf for leaf in (self.patients, self.row_weights) if leaf is not None]
        problems.check(
            len({len(leaf) for leaf in leaves}) == 1,
            f"x, y, split and truth have {sorted({len(leaf) for leaf in leaves})} rows; "
            "give one row of each per patient",
        )
        problems.check(
            int(self.size.sum()) == len(self.y) and bool((self.size >= 0).all()),
            f"size adds up to {int(self.size.sum())} but y has {len(self.y)} rows",
        )
        problems.check(
            len(self.size) == len(self.hospitals),
            f"{len(self.hospitals)} hospital names for {len(self.size)} sizes",
        )
        other = [h for h in self.hospitals if not isinstance(h, str)]
        problems.check(not other, f"hospital names that are not text: {other[:5]}; give str(id)")
        seen: set[str] = set()
        repeated = sorted({h for h in self.hospitals if h in seen or seen.add(h)})  # type: ignore[func-returns-value]
        problems.check(
            not repeated, f"hospital names given twice: {repeated}; give each hospital its own name"
        )
        problems.check(len(self.y) > 0, "no rows at all; give at least one hospital with rows")
        problems.raise_if_any()

    @property
    def start(self) -> np.ndarray:
        """``[C]`` first row of each hospital."""
        return np.concatenate([[0], np.cumsum(self.size)[:-1]]).astype(np.int64)

    @property
    def owner(self) -> np.ndarray:
        """``[N]`` number of the hospital that owns each row."""
        return np.repeat(np.arange(len(self)), self.size)

    @property
    def counts(self) -> np.ndarray:
        """``[C, 3]`` rows of each hospital in train, validation and test."""
        flat = np.bincount(self.owner * 3 + self.split, minlength=3 * len(self))
        return flat.reshape(len(self), 3)

    @property
    def counts_of_rarer(self) -> np.ndarray:
        """``[C, 3]`` rows of the rarer of two classes, of each hospital in train, validation and test."""
        flat = np.bincount(self.owner * 3 + self.split, self.y > 0, minlength=3 * len(self))
        positive = flat.reshape(len(self), 3).astype(np.int64)
        return np.minimum(positive, self.counts - positive)

    @property
    def outputs(self) -> int:
        """Width of the model's output: 1 (binary: one logit), classes, or the width of ``y``."""
        return self.task.width(self.y, len(self.classes))

    @property
    def weight_factors(self) -> np.ndarray:
        """``[C]`` mean weight of each hospital's training rows; 1 without weights or rows."""
        if self.row_weights is None:
            return np.ones(len(self))
        inside = self.split == TRAIN
        count = self.counts[:, TRAIN]
        total = np.bincount(self.owner[inside], self.row_weights[inside], minlength=len(self))
        return np.where(count > 0, total / np.maximum(count, 1), 1)

    @property
    def target(self) -> np.ndarray | Weighted:
        """``y``, with row weights whose mean over each hospital's training rows is 1."""
        if self.row_weights is None:
            return self.y
        factors = self.weight_factors[self.owner]
        scaled = np.where(factors > 0, self.row_weights / np.where(factors > 0, factors, 1), 0)
        return Weighted(self.y, scaled.astype(np.float32))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.hospitals)

    def __repr__(self) -> str:
        train, validation, test = self.counts.sum(0)
        low, mid, high = np.percentile(self.size, [0, 50, 100]).astype(int)
        kind = f"{len(self.classes)} classes" if self.task.output_per_class else self.task.name
        return (
            f"Dataset({self.name!r}: {len(self)} hospitals, {len(self.y)} rows "
            f"({low} / {mid} / {high} smallest / median / largest hospital), {kind}, "
            f"{train} train, {validation} validation, {test} test)"
        )

    def rows(self, hospital: str) -> tuple[Any, np.ndarray, np.ndarray]:
        """``x [n, ...]``, ``y [n]`` and ``split [n]`` of one hospital, by name."""
        c = self._index(hospital)
        rows = slice(int(self.start[c]), int(self.start[c] + self.size[c]))
        return jax.tree.map(lambda leaf: leaf[rows], self.x), self.y[rows], self.split[rows]

    def select(self, hospitals: Sequence[str]) -> Dataset:
        """A data set of the named hospitals, in the order given."""
        chosen = np.array([self._index(h) for h in hospitals], dtype=np.int64)
        start = self.start
        rows = np.concatenate([np.arange(start[c], start[c] + self.size[c]) for c in chosen])
        names = tuple(self.hospitals[c] for c in chosen)
        return dataclasses.replace(self, size=self.size[chosen], hospitals=names, **self._at(rows))

    def only(self, marks: np.ndarray) -> Dataset:
        """A data set of the marked rows, ``[N]`` bool, in the same hospitals."""
        size = np.bincount(self.owner[marks], minlength=len(self))
        return dataclasses.replace(self, size=size, **self._at(marks))

    def pooled(self, name: str = "pooled") -> Dataset:
        """A data set with the same rows and splits in one hospital, for centralised training."""
        return dataclasses.replace(
            self, size=np.array([len(self.y)], dtype=self.size.dtype), hospitals=(name,)
        )

    def replace(self, **changes: Any) -> Dataset:
        """A copy with some attributes changed; the copy is checked again."""
        return dataclasses.replace(self, **changes)

    def _at(self, rows: np.ndarray) -> dict[str, Any]:
        """Everything that has rows, at these."""
        return {
            "x": jax.tree.map(lambda leaf: leaf[rows], self.x),
            "y": self.y[rows],
            "split": self.split[rows],
            "patients": None if self.patients is None else self.patients[rows],
            "row_weights": None if self.row_weights is None else self.row_weights[rows],
            "truth": {key: value[rows] for key, value in self.truth.items()},
        }

    def _index(self, hospital: str) -> int:
        try:
            return self.hospitals.index(str(hospital))
        except ValueError:
            raise InvalidInput(
                f"no hospital {hospital!r}; {did_you_mean(hospital, self.hospitals)}"
            ) from None
