"""The outputs of a run's models for the rows on which they were evaluated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS
from jaxfed.core.errors import InvalidInput, did_you_mean
from jaxfed.core.meaning import Meaning


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """N rows of validation and test data, in the order of the data set.

    Attributes:
        outputs: ``[N, outputs]`` of the model that the row's hospital deploys: a logit (binary), a logit for
            each class, or numbers; NaN for hospitals that have no trained model.
        y: ``[N, ...]`` labels, as in the data set.
        owner: ``[N]`` int64 number of the hospital of each row.
        split: ``[N]`` int8 as in the data set: 1 validation, 2 test.
        row: ``[N]`` int64 number of the row in the data set.
        hospitals: names of all hospitals.
        task: name of the task.
        classes: names of the classes in the order of their numbers; empty for numbers.
        meaning: what outputs mean to users.
    """

    outputs: np.ndarray
    y: np.ndarray
    owner: np.ndarray
    split: np.ndarray
    row: np.ndarray
    hospitals: tuple[str, ...]
    task: str
    classes: tuple[str, ...] = ()
    meaning: Meaning = Meaning()

    def of(self, split: str) -> Predictions:
        """The rows of a split.

        Raises:
            InvalidInput: no row of that split was evaluated.
        """
        names = [SPLITS[number] for number in np.unique(self.split)]
        if split not in names:
            raise InvalidInput(f"split={split!r}: {did_you_mean(split, names)}")
        rows = self.split == SPLITS.index(split)
        return dataclasses.replace(self, **{name: values[rows] for name, values in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ("outputs", "y", "owner", "split", "row")}

    def to_frame(self) -> pd.DataFrame:
        """A row per patient: hospital, split, label, and a probability for each class or ``prediction``.

        The index is the number of the row in the data set.
        """
        columns: dict[str, np.ndarray] = {
            "hospital": np.array(self.hospitals, object)[self.owner],
            "split": np.array(SPLITS, object)[self.split],
        }
        if self.classes:
            columns["label"] = np.array(self.classes, object)[self.y]
        else:
            y = self.y.reshape(len(self.y), -1)
            columns |= {"label" if y.shape[1] == 1 else f"label {j}": y[:, j] for j in range(y.shape[1])}
        return pd.DataFrame({**columns, **self.meaning.columns(self.outputs)}, index=self.row)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        counts = ", ".join(f"{(self.split == s).sum()} {SPLITS[s]}" for s in np.unique(self.split))
        return f"Predictions({len(self.hospitals)} hospitals, {self.task}, rows: {counts})"


def with_model(p: Predictions) -> Predictions:
    """The rows of hospitals that have a trained model: the outputs of the others are all NaN."""
    known = ~np.isnan(p.outputs.reshape(len(p.y), -1)).all(1)
    has = np.bincount(p.owner, known, minlength=len(p.hospitals)) > 0
    rows = has[p.owner]
    return dataclasses.replace(p, **{name: values[rows] for name, values in p.arrays().items()})
