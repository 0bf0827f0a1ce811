"""The metrics of a sweep so far, as arrays, and their conversion to a data set with named axes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxfed.core.dataset import SPLITS
from jaxfed.core.dataset import Dataset as Data
from jaxfed.core.metrics.metric import Scoring
from jaxfed.records.history import Arrays
from jaxfed.records.sweep_table import RARER, SCORING
from jaxfed.sweep.space import Axes
from jaxfed.sweep.trials import Trial

if TYPE_CHECKING:
    from xarray import Dataset


@dataclasses.dataclass(eq=False)
class Record:
    """The metrics of K configurations, E evaluations, C hospitals and S splits.

    Attributes:
        marks: ``[E]`` rounds done at each evaluation.
        hospitals: C names of the hospitals that are evaluated.
        splits: S names.
        single: ``name: [K, E, C, S]``, NaN where nothing was measured.
        pooled: ``name: [K, E, S]``.
        scoring: what the metrics mean.
        done: ``[K]`` rounds done; -1 before the first evaluation.
        diverged: ``[K]`` rounds done when it diverged, 0 while it has not.
    """

    marks: np.ndarray
    hospitals: tuple[str, ...]
    splits: tuple[str, ...]
    single: Arrays
    pooled: Arrays
    scoring: Scoring
    done: np.ndarray
    diverged: np.ndarray
    _known: dict[Data, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls, trials: list[Trial], marks: np.ndarray, scoring: Scoring) -> Record:
        """A record without any evaluation."""
        names = dict.fromkeys(h for data in _evaluation_hospitals(trials) for h in data.hospitals)
        K = len(trials)
        splits = trials[0].spec.splits
        return cls(marks, tuple(names), splits, {}, {}, scoring, np.full(K, -1), np.zeros(K, np.int64))

    def measured(self, k: int, mark: int, hospitals: Data, single: Arrays, pooled: Arrays) -> None:
        """Record an evaluation of configuration ``k``: ``[C', S]`` of these hospitals, and ``[S]``."""
        places = self._places(hospitals)
        shape = (len(self.done), len(self.marks))
        for name, values in single.items():
            if name not in self.single:
                whole = (*shape, len(self.hospitals), len(self.splits))
                self.single[name] = np.full(whole, np.nan, values.dtype)
                self.pooled[name] = np.full((*shape, len(self.splits)), np.nan, pooled[name].dtype)
            self.single[name][k, mark, places] = values
            self.pooled[name][k, mark] = pooled[name]

    def _places(self, hospitals: Data) -> np.ndarray:
        """``[C']`` the positions of a data set's hospitals among all hospitals."""
        if hospitals not in self._known:
            number = {name: c for c, name in enumerate(self.hospitals)}
            self._known[hospitals] = np.array([number[name] for name in hospitals.hospitals])
        return self._known[hospitals]

    def dataset(self, axes: Axes, trials: list[Trial]) -> Dataset:
        """The record with named axes, as in :class:`jaxfed.sweep.Sweep`."""
        import xarray

        grid = axes.mode == "grid"
        dims = [axis.path for axis in axes.axes] if grid else ["config"]
        shape = [len(axis.values) for axis in axes.axes] if grid else [len(axes)]
        coords: dict[str, Any] = {
            axis.path: (
                axis.path if grid else "config",
                axis.labels if grid else axis.labels[axes.index[:, f]],
            )
            for f, axis in enumerate(axes.axes)
        }
        coords |= {"round": self.marks, "split": [*self.splits], "hospital": [*self.hospitals]}
        axis_names = [*dims, "round", "split"]
        variables: dict[str, Any] = {}
        for name, values in self.single.items():
            swapped = np.swapaxes(values, 2, 3)
            variables[name] = ([*axis_names, "hospital"], swapped.reshape(*shape, *swapped.shape[1:]))
            pooled = self.pooled[name]
            variables[f"{name}_pooled"] = (axis_names, pooled.reshape(*shape, *pooled.shape[1:]))
        diverged = np.where(self.diverged > 0, self.diverged, np.nan)
        variables["diverged"] = (dims, diverged.reshape(shape))
        variables["rounds_done"] = (dims, np.maximum(self.done, 0).reshape(shape))
        counts = {"rows": [data.counts for data in _evaluation_hospitals(trials)]}
        if all(data.task.two_classes for data in _evaluation_hospitals(trials)):
            counts[RARER] = [data.counts_of_rarer for data in _evaluation_hospitals(trials)]
        for name, of_data in counts.items():
            tables = self._counts(trials, of_data)
            if len(tables) == 1:
                variables[name] = (["split", "hospital"], tables[0])
            else:
                whole = np.stack(tables).reshape(*shape, *tables[0].shape)
                variables[name] = ([*dims, "split", "hospital"], whole)
        return xarray.Dataset(variables, coords, {SCORING: self.scoring.to_json()})

    def _counts(self, trials: list[Trial], of_data: list[np.ndarray]) -> list[np.ndarray]:
        """``[S, C]`` counts of the evaluated hospitals, once if all trials share them, else for each trial.

        ``of_data`` has ``[C', 3]`` for each of the different data sets.
        """
        columns = [SPLITS.index(name) for name in self.splits]
        rows = {}
        for data, counts in zip(_evaluation_hospitals(trials), of_data, strict=True):
            rows[data] = np.zeros((len(columns), len(self.hospitals)), np.int64)
            rows[data][:, self._places(data)] = counts[:, columns].T
        if len(rows) == 1:
            return [*rows.values()]
        return [rows[trial.evaluation_hospitals] for trial in trials]


def _evaluation_hospitals(trials: list[Trial]) -> dict[Any, None]:
    """The different data sets that are evaluated."""
    return dict.fromkeys(trial.evaluation_hospitals for trial in trials)
