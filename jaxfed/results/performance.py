"""How well a run's models predict: what may be asked of it, for every hospital and across hospitals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, did_you_mean, listed
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.tasks.named import task_named
from jaxfed.evaluation.tables import Estimates, Marks, Table, statistic_of
from jaxfed.records.predictions import Predictions, with_model
from jaxfed.results import performance_text
from jaxfed.results.performance_curves import calibration_curves, decision_curves
from jaxfed.results.performance_tables import across_table, bootstrap_table, hospitals_table, variance_table
from jaxfed.results.subgroups import groups_of, subgroup_table
from jaxfed.storage.results import results_folder

THRESHOLDS = tuple(t / 100 for t in range(1, 100))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Performance:
    """The result of :meth:`jaxfed.Run.performance`. H hospitals.

    Attributes:
        name: of the run.
        split: which rows.
        round: the round of the models, in words.
        predictions: of that split; of hospitals without a trained model they are NaN.
        sizes: ``[H]`` rows of each hospital in all splits.
        positive: the name of the positive class, or "".
        threshold: a row with at least this probability is called positive; NaN if there are not two classes.
        threshold_from: where it comes from, in words.
        minimum_events: rows of each class that a hospital needs to count in the worst, the range and the
            random-effects mean; without classes, rows.
        level: of the intervals.
        table: what the task's metrics mean.
        users: users' metrics.
        estimates: ``{metric: Estimate}`` with arrays ``[H + 1]``; the last is of all rows together.
        marks: ``{mark: [H + 1]}`` bool.
    """

    name: str
    split: str
    round: str
    predictions: Predictions
    sizes: np.ndarray
    positive: str
    threshold: float
    threshold_from: str
    minimum_events: int
    level: float
    table: Table
    users: Mapping[str, Metric]
    estimates: Estimates
    marks: Marks

    @property
    def two_classes(self) -> bool:
        """Whether hospitals have events, and models a threshold."""
        return self.table.two_classes

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.predictions.task

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, in the order of columns."""
        return tuple(self.estimates)

    @property
    def first(self) -> str:
        """The metric that figures and tables show first."""
        return self.metrics[0]

    @property
    def labels(self) -> dict[str, str]:
        """``{metric: its label in figures}``."""
        return {name: self.table.labels.get(name, name) for name in self.metrics}

    @property
    def higher(self) -> frozenset[str]:
        """The metrics of which more is better."""
        return self.table.higher

    @property
    def ideal(self) -> dict[str, float]:
        """The best value of metrics for which it is neither the largest nor the smallest."""
        return dict(self.table.ideal)

    @cached_property
    def hospitals(self) -> pd.DataFrame:
        """One row per hospital: rows, events, and every metric with its interval.

        Columns ``rows``; with two classes ``events``, ``non_events`` and ``prevalence`` (the baseline of
        AUPRC); of every metric ``m``, ``m_low`` and ``m_high``, NaN where it is undefined; ``counted``,
        whether the hospital counts in the worst, the range and the random-effects mean; ``note``, why not,
        and what is undefined.
        """
        return self._frame.iloc[:-1].copy()

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """The columns of :attr:`hospitals` for all rows together, which are taken as independent."""
        return self._frame.iloc[-1:].copy()

    @cached_property
    def across(self) -> pd.DataFrame:
        """One row per metric: what it is over the hospitals; see :func:`jaxfed.evaluation.across`.

        ``hospitals`` counted, ``left_out`` with too few rows of a class, ``undefined``; ``macro``,
        ``macro_low``, ``macro_high`` over all hospitals that have the metric, ``macro_counted``; ``weighted``
        by rows; ``pooled``, how many of the counted have a standard error and are in the random-effects
        mean; of the counted ``sd``, ``worst``, ``worst_hospital``, ``worst_decile``, ``lowest``,
        ``highest``; the random-effects ``mean``, ``mean_low``, ``mean_high``, ``tau`` on the ``scale`` of
        pooling, ``i2``, and ``prediction_low``, ``prediction_high`` for a new hospital.
        """
        return across_table(self.hospitals, self.predictions, self.estimates, self.table, self.level)

    def calibration(
        self, hospitals: Sequence[str] | str | None = None, *, bins: int = 10, points: int = 50
    ) -> pd.DataFrame:
        """Bins of equal mass and a flexible curve, of all rows together and of hospitals.

        Args:
            hospitals: names, or ``"all"`` for those that count; None for all rows together alone.
            bins: of each hospital.
            points: of each curve.

        Returns:
            Columns ``hospital`` (``"(pooled)"`` first), ``kind`` (``"bins"`` or ``"curve"``), ``predicted``,
            ``observed``, ``low``, ``high`` and ``rows`` (of the bin; 0 in curves). Empty bins are left out,
            and curves that cannot be fitted.

        Raises:
            InvalidInput: there are not two classes, or no such hospital.
        """
        names = self._named("calibration", hospitals)
        return calibration_curves(self._modelled, names, bins, points, self.level)

    def decision_curve(
        self, thresholds: Sequence[float] | None = None, hospitals: Sequence[str] | str | None = None
    ) -> pd.DataFrame:
        """The net benefit over thresholds, of all rows together and of hospitals.

        Args:
            thresholds: probabilities between 0 and 1; None for .01 to .99.
            hospitals: as in :meth:`calibration`.

        Returns:
            Columns ``hospital``, ``threshold``, ``net_benefit``, ``low``, ``high``, ``treat_all``,
            ``treat_none``.

        Raises:
            InvalidInput: there are not two classes, no such hospital, or a threshold is not between 0 and 1.
        """
        at = np.asarray(THRESHOLDS if thresholds is None else thresholds, np.float32).reshape(-1)
        if not ((at > 0) & (at < 1)).all() or not len(at):
            raise InvalidInput(f"decision_curve: thresholds={thresholds!r}: give numbers between 0 and 1")
        names = self._named("decision_curve", hospitals)
        return decision_curves(self._modelled, names, at, self.level)

    def subgroups(self, by: Any, reference: str | None = None) -> pd.DataFrame:
        """Metrics of subgroups of rows, and their gaps to one of them.

        The interval of a gap is made of both groups' intervals (MOVER); rows of different groups are taken as
        independent.

        Args:
            by: an array or column with a value for each row of the data set; ``{hospital: value}``; or
                ``"hospital size"``, thirds of the hospitals. A column of the features is
                ``data.x[:, data.features.index("sex")]``.
            reference: the group that others are compared with; None for the one with the most rows.

        Returns:
            Index ``group``; ``rows``, ``hospitals``, ``events``, ``non_events``, ``prevalence``, the metrics
            with their intervals, ``reference``, and ``m_gap``, ``m_gap_low``, ``m_gap_high``. The false
            positive rate is 1 - specificity, so its gap is that of the specificity with the other sign.

        Raises:
            InvalidInput: ``by`` does not fit the rows or hospitals, or there is no such reference.
        """
        groups, codes = groups_of(by, self.predictions, self.sizes)
        return subgroup_table(
            self.predictions, self.table, self.users, groups, codes, reference,
            threshold=self.threshold, level=self.level,
        )  # fmt: skip

    def bootstrap(self, *, replicates: int = 400, seed: int = 0) -> pd.DataFrame:
        """The cluster bootstrap of the task's metrics: hospitals are drawn, then patients in them.

        Returns:
            Index ``metric`` (those that training evaluates); ``macro``, ``weighted`` and ``pooled``, each
            with its percentile interval ``_low`` and ``_high``.

        Raises:
            InvalidInput: the task is a user's.
        """
        p = self._modelled
        task = task_named(p.task, p.meaning)
        if task is None:
            raise InvalidInput(
                f"bootstrap: task {self.task!r} is not jaxfed's; call jaxfed.evaluation.bootstrap with a "
                "function of its metrics"
            )
        return bootstrap_table(p, statistic_of(task), replicates, seed, self.level)

    def variance(self, others: Iterable[Performance] = (), metric: str | None = None) -> pd.DataFrame:
        """How much of the spread of a metric comes from hospitals, patients and seeds.

        Args:
            others: of runs with the same hospitals and other seeds.
            metric: None for the task's first; on its scale of pooling.

        Returns:
            Index ``source``; ``variance``, ``sd`` and ``share``. See
            :func:`jaxfed.evaluation.variance_components`.

        Raises:
            InvalidInput: the metric is unknown, or hospitals differ.
        """
        metric = self.first if metric is None else metric
        seeds = [self, *others]
        if metric not in self.estimates:
            raise InvalidInput(f"variance: metric={metric!r}: {did_you_mean(metric, self.metrics)}")
        for number, other in enumerate(seeds):
            if other.predictions.hospitals != self.predictions.hospitals or metric not in other.estimates:
                raise InvalidInput(
                    f"variance: others[{number - 1}] has other hospitals or metrics; give runs of the same "
                    "simulation with other seeds"
                )
        counted = self.hospitals["counted"].to_numpy()
        return variance_table([p.estimates[metric] for p in seeds], counted)

    def save(self, folder: str | Path) -> Path:
        """Write the tables as CSV files and the settings as ``performance.json``."""
        target = results_folder(folder, "calibration.csv", "decision_curve.csv")
        for name in ("hospitals", "pooled", "across"):
            getattr(self, name).to_csv(target / f"performance_{name}.csv")
        if self.table.two_classes:
            self.calibration("all").to_csv(target / "calibration.csv", index=False)
            self.decision_curve(hospitals="all").to_csv(target / "decision_curve.csv", index=False)
        names = ("name", "split", "round", "positive", "threshold_from", "minimum_events", "level")
        about = {name: getattr(self, name) for name in names}
        about |= {"task": self.task, "threshold": None if np.isnan(self.threshold) else self.threshold}
        (target / "performance.json").write_text(json.dumps(about, indent=2) + "\n")
        return target

    def __repr__(self) -> str:
        return performance_text.text(self)

    def _repr_html_(self) -> str:
        return performance_text.html(self)

    @cached_property
    def _modelled(self) -> Predictions:
        """The rows of hospitals that have a model."""
        return with_model(self.predictions)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        """:attr:`hospitals` and :attr:`pooled`."""
        return hospitals_table(
            self.predictions, self._modelled, self.estimates, self.marks,
            two_classes=self.table.two_classes, minimum_events=self.minimum_events,
        )  # fmt: skip

    def _named(self, who: str, hospitals: Sequence[str] | str | None) -> list[str]:
        """The hospitals that a curve of two classes is asked for."""
        known = self.predictions.hospitals
        if isinstance(hospitals, str) and hospitals == "all":
            names = [*self.hospitals.index[self.hospitals["counted"]]]
        else:
            names = [hospitals] if isinstance(hospitals, str) else [*(hospitals or ())]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InvalidInput(
                f"{who}: no hospital {listed(unknown)}; {did_you_mean(unknown[0], known)} "
                '(or hospitals="all")'
            )
        if not self.table.two_classes:
            raise InvalidInput(
                f"{who}: the task is {self.task!r}; there is such a curve for two classes only"
            )
        return names
