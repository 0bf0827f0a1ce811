"""The metrics of a run, per round and hospital, as arrays and as tables.

A history is immutable: methods that add rounds or evaluations return a new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS, Dataset
from jaxfed.core.errors import InvalidInput, did_you_mean
from jaxfed.core.metrics.metric import Scoring
from jaxfed.records.columns import MINIMUM, across_hospitals, mean_of_known, training_between

Arrays = dict[str, np.ndarray]
At = Literal["last", "best"]
GROUPS = ("single", "pooled", "training")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class History:
    """E evaluations, R rounds, C hospitals, S splits.

    Attributes:
        hospitals, splits: names along the axes.
        task: name of the task.
        scoring: what the metrics mean.
        rows: ``[C, 3]`` rows in train, validation and test.
        rate: ``[C, S]`` share of positives (binary) or of events (survival), else NaN.
        positive: the name of the positive class (binary), else empty.
        trainees: names of the hospitals of ``training``.
        evaluated: ``[E]`` rounds done at each evaluation.
        single: ``name: [E, C, S]``, metrics of each hospital; NaN where undefined, which includes hospitals
            that have no training rows and would deploy a model of their own.
        pooled: ``name: [E, S]``, metrics of all rows together, without the rows of those hospitals.
        training: ``name: [R, C]``, seen while training: ``loss`` (NaN where absent), ``present``,
            ``rejected`` (its upload was not finite and was left out), what the rule tells, such as
            ``influence`` (the part of its upload in the aggregate, from 0 to 1), with ``diagnostics`` the
            columns of :mod:`jaxfed.core.diagnostics`, and with differential privacy ``epsilon``, what each
            hospital has spent after the round.
        refused: ``[R]`` bool, the server's new model was not finite and the old one stayed in use.
    """

    hospitals: tuple[str, ...]
    task: str
    scoring: Scoring
    splits: tuple[str, ...]
    rows: np.ndarray
    rate: np.ndarray
    positive: str = ""
    trainees: tuple[str, ...] = ()
    evaluated: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    single: Arrays = dataclasses.field(default_factory=dict)
    pooled: Arrays = dataclasses.field(default_factory=dict)
    training: Arrays = dataclasses.field(default_factory=dict)
    refused: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))

    @classmethod
    def empty(
        cls,
        dataset: Dataset,
        splits: tuple[str, ...],
        trainees: tuple[str, ...] = (),
        scoring: Scoring | None = None,
    ) -> History:
        """An empty history of the evaluation of these hospitals, and of the training of ``trainees``.

        If ``scoring`` is None, it is that of the task, without users' metrics.
        """
        scoring = scoring or dataset.task.scoring
        rate = np.full((len(dataset), len(splits)), np.nan)
        if scoring.prevalence:
            events = dataset.task.strata(dataset.y)
            for s, name in enumerate(splits):
                inside = dataset.split == SPLITS.index(name)
                owner = dataset.owner[inside]
                n = np.bincount(owner, minlength=len(dataset))
                positive = np.bincount(owner, events[inside], minlength=len(dataset))
                rate[:, s] = np.where(n > 0, positive / np.maximum(n, 1), np.nan)
        name = str(dataset.classes[1]) if scoring.prevalence and len(dataset.classes) > 1 else ""
        return cls(
            dataset.hospitals, dataset.task.name, scoring, splits, dataset.counts, rate, name, trainees
        )

    @property
    def primary(self) -> str:
        """The metric that figures show first."""
        return self.scoring.first

    def evaluations(self, rounds: np.ndarray, single: Arrays, pooled: Arrays) -> History:
        """A copy with more evaluations, after ``rounds [E']``: ``name: [E', C, S]`` and ``name: [E', S]``."""
        return dataclasses.replace(
            self,
            evaluated=np.append(self.evaluated, rounds),
            single=_append(self.single, single),
            pooled=_append(self.pooled, pooled),
        )

    def trained(self, training: Arrays, refused: np.ndarray) -> History:
        """A copy with more rounds of training, ``name: [R', C]`` and ``[R']``."""
        return dataclasses.replace(
            self, training=_append(self.training, training), refused=np.append(self.refused, refused)
        )

    def arrays(self) -> Arrays:
        """All arrays by name: ``evaluated``, ``refused``, ``single/auroc`` and so on; see :meth:`filled`."""
        groups = {name: getattr(self, name) for name in GROUPS}
        flat = {f"{group}/{name}": v for group, values in groups.items() for name, v in values.items()}
        return {"evaluated": self.evaluated, "refused": self.refused, **flat}

    def filled(self, arrays: Mapping[str, np.ndarray]) -> History:
        """A history of the same hospitals with the arrays that :meth:`arrays` returned.

        Files of earlier versions have ``refused`` under the name ``kept``.
        """
        refused = arrays["refused"] if "refused" in arrays else arrays["kept"]
        groups: dict[str, Any] = {
            group: {name[len(group) + 1 :]: v for name, v in arrays.items() if name.startswith(f"{group}/")}
            for group in GROUPS
        }
        return dataclasses.replace(self, evaluated=arrays["evaluated"], refused=refused, **groups)

    def at(self, at: At = "best") -> str:
        """A text that says which round that is, and why."""
        e = self.chosen(at)
        done, last = int(self.evaluated[e]), int(self.evaluated[-1])
        if at == "best" and self.validated:
            return f"round {done} of {last}, the best on validation rows"
        return f"round {done}, the last"

    @property
    def validated(self) -> bool:
        """Whether there are validation rows to choose a round on."""
        if "validation" not in self.splits:
            return False
        return bool(np.isfinite(self.pooled[self.scoring.loss][:, self.splits.index("validation")]).any())

    def headline(self, single: Arrays | None = None) -> str:
        """The newest result as a short text: of an evaluation ``name: [C, S]``, or of the last recorded."""
        values = self.single[self.primary][-1] if single is None else single[self.primary]
        return f"{self.splits[-1]} {self.primary} {mean_of_known(values[:, -1]):.3f}"

    def without_model(self) -> int:
        """The number of hospitals that have rows to predict, and no training rows and so no metrics.

        With personal models there is none for them; a shared model predicts their rows.
        """
        if not len(self.evaluated):
            return 0
        columns = [SPLITS.index(name) for name in self.splits if name != "train"]
        held = (self.rows[:, SPLITS.index("train")] == 0) & (self.rows[:, columns].sum(1) > 0)
        return int((held & np.isnan(self.single[self.scoring.loss][-1]).all(1)).sum())

    def chosen(self, at: At = "best") -> int:
        """The number of an evaluation: the last, or the best on validation rows.

        The best has the lowest pooled validation loss; without validation rows it is the last.

        Raises:
            InvalidInput: ``at`` is neither ``"last"`` nor ``"best"``.
        """
        if at not in get_args(At):
            raise InvalidInput(f"at={at!r}: {did_you_mean(at, get_args(At))}")
        if at == "last" or not self.validated:
            return len(self.evaluated) - 1
        loss = self.pooled[self.scoring.loss]
        return int(np.nanargmin(loss[:, self.splits.index("validation")]))

    def among(self, names: Collection[str]) -> History:
        """A copy with the evaluations of some hospitals; what is pooled stays that of all."""
        chosen = np.isin(self.hospitals, [*names])
        return dataclasses.replace(
            self,
            hospitals=tuple(name for name, inside in zip(self.hospitals, chosen, strict=True) if inside),
            rows=self.rows[chosen],
            rate=self.rate[chosen],
            single={name: values[:, chosen] for name, values in self.single.items()},
        )

    def hospitals_frame(self, split: str = "test", at: At = "best") -> pd.DataFrame:
        """One row per hospital: rows, prevalence and the metrics of one evaluation.

        For hospitals that trained, also the rounds they took part in and how many of their uploads were
        not finite and left out, and what they have spent of their privacy in all rounds.
        """
        if split not in self.splits:
            raise InvalidInput(f"no split {split!r} was evaluated; there are {', '.join(self.splits)}")
        s, e = self.splits.index(split), self.chosen(at)
        train = SPLITS.index("train")
        frame = pd.DataFrame(
            {
                "train_rows": self.rows[:, train],
                f"{split}_rows": self.rows[:, SPLITS.index(split)],
            },
            index=pd.Index(self.hospitals, name="hospital"),
        )
        if self.scoring.prevalence:
            frame["prevalence"] = self.rate[:, s]
        for name, values in self.single.items():
            frame[name] = values[e, :, s]
        if self.training and self.trainees == self.hospitals:
            frame["rounds"] = self.training["present"].sum(0)
            frame["rejected"] = self.training["rejected"].sum(0)
            if "epsilon" in self.training:
                frame["epsilon"] = self.training["epsilon"][-1]
        return frame

    def rounds_frame(self) -> pd.DataFrame:
        """One row per evaluation and split.

        The columns of each metric are its mean over hospitals, the mean weighted by rows, the worst value,
        the worst decile (the 10th percentile on the bad side), the best value, the number of hospitals
        without the metric, and the metric of all rows pooled. With two classes the worst, the worst decile
        and the best are of the hospitals with at least five rows of either class in the split, if there are
        any: in few rows chance makes the worst. Columns on training since the previous evaluation follow.
        """
        records = []
        for e, done in enumerate(self.evaluated):
            for s, split in enumerate(self.splits):
                record: dict[str, object] = {"round": int(done), "split": split}
                weight = self.rows[:, SPLITS.index(split)]
                rarer = self.rarer(split)
                for name, values in self.single.items():
                    record.update(across_hospitals(name, values[e, :, s], weight, self.scoring, rarer))
                    record[f"{name}_pooled"] = float(self.pooled[name][e, s])
                before = int(self.evaluated[e - 1]) if e else int(done)
                record.update(training_between(self.training, self.refused, before, int(done)))
                records.append(record)
        return pd.DataFrame.from_records(records)

    def rarer(self, split: str) -> np.ndarray | None:
        """``[C]`` rows of the rarer of two classes in a split; None without two classes."""
        if not self.positive:
            return None
        rows, s = self.rows[:, SPLITS.index(split)], self.splits.index(split)
        positive = np.rint(np.nan_to_num(self.rate[:, s]) * rows).astype(int)
        return np.minimum(positive, rows - positive)

    def left_out(self, split: str) -> str:
        """A text on the hospitals that are not in the worst, the worst decile and the best; "" if all are."""
        rarer = self.rarer(split)
        few = 0 if rarer is None else int((rarer < MINIMUM).sum())
        if few in (0, len(self.hospitals)):
            return ""
        return f"worst, worst decile and best leave out {few} hospitals: fewer than {MINIMUM} rows of a class"


def _append(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> Arrays:
    return {k: np.concatenate([old[k], v]) if k in old else np.asarray(v) for k, v in new.items()}
