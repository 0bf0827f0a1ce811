"""How well a run's models predict: every hospital with intervals, all rows together, and across hospitals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, did_you_mean, listed
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.tasks.named import task_named
from jaxfed.evaluation.across import across
from jaxfed.evaluation.bootstrap import bootstrap, percentile_interval
from jaxfed.evaluation.calibration_curve import calibration_bins, calibration_curve
from jaxfed.evaluation.decision_curve import decision_curve
from jaxfed.evaluation.intervals import Estimate
from jaxfed.evaluation.pooling import RandomEffects, pool_auroc
from jaxfed.evaluation.tables import Estimates, Marks, Table, statistic_of
from jaxfed.evaluation.variance import variance_components
from jaxfed.records.predictions import Predictions, with_model
from jaxfed.results import performance_text
from jaxfed.results.subgroups import groups_of, subgroup_table
from jaxfed.storage.results import results_folder

POOLED = "(pooled)"
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
        frame = self.hospitals
        counted = frame["counted"].to_numpy()
        rows = frame["rows"].to_numpy()
        columns = {}
        for metric in self.metrics:
            estimate = Estimate(*(values[:-1] for values in self.estimates[metric]))
            columns[metric] = across(
                estimate, rows, counted, self.predictions.hospitals,
                higher=metric in self.higher, ideal=self.ideal.get(metric),
                scale=self.table.scales.get(metric, "identity"),
                pooled=self._pooled_auroc(estimate, counted) if metric == "auroc" else None, level=self.level,
            )  # fmt: skip
        frame = pd.DataFrame.from_dict(columns, orient="index")
        frame.index.name = "metric"
        return frame

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
        names, rows, segment = self._chosen("calibration", hospitals)
        logit, y = self._two_classes("calibration", rows)
        binned = calibration_bins(logit, y, segment, len(names), bins, self.level)
        curve = calibration_curve(logit, y, segment, len(names), points, self.level)
        curve = {**curve, "rows": np.zeros((len(names), points), int)}
        columns = ("predicted", "observed", "low", "high", "rows")
        parts = [
            _tidy(names, {name: part[name] for name in columns}, kind=kind)
            for kind, part in (("bins", binned), ("curve", curve))
        ]
        frame = pd.concat(parts, ignore_index=True)
        frame = frame[frame["observed"].notna()]
        order = {name: number for number, name in enumerate(names)}
        return frame.sort_values("hospital", key=lambda c: c.map(order), kind="stable", ignore_index=True)

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
        names, rows, segment = self._chosen("decision_curve", hospitals)
        logit, y = self._two_classes("decision_curve", rows)
        curve = decision_curve(logit, y, segment, len(names), jnp.asarray(at), self.level)
        where = {"threshold": np.broadcast_to(at, (len(names), len(at)))}
        columns = {name: curve[name] for name in ("net_benefit", "low", "high", "treat_all")}
        return _tidy(names, {**where, **columns, "treat_none": np.zeros((len(names), len(at)))})

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
        statistic = statistic_of(task)
        point, drawn = bootstrap(
            statistic, p.outputs, p.y, p.owner, len(p.hospitals), replicates=replicates, seed=seed
        )
        table: dict[str, dict[str, float]] = {}
        for metric in (name for name in point if f"{name}_pooled" in point):
            value = point[metric][None]
            columns = {
                "macro": (_mean(value, None), _mean(drawn[metric], None)),
                "weighted": (_mean(value, point["rows"][None]), _mean(drawn[metric], drawn["rows"])),
                "pooled": (point[f"{metric}_pooled"], drawn[f"{metric}_pooled"]),
            }
            table[metric] = {}
            for name, (middle, replicated) in columns.items():
                low, high = percentile_interval(replicated, self.level)
                numbers = (np.ravel(middle)[0], low, high)
                ends = (name, f"{name}_low", f"{name}_high")
                table[metric] |= {end: float(x) for end, x in zip(ends, numbers, strict=True)}
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("metric")

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
        centre = np.stack([np.where(counted, p.estimates[metric].centre[:-1], np.nan) for p in seeds])
        within = np.stack([p.estimates[metric].se[:-1] ** 2 for p in seeds])
        parts = variance_components(centre, within)
        frame = pd.DataFrame({"variance": pd.Series(parts, dtype=float)}).rename_axis("source")
        frame["sd"] = np.sqrt(frame["variance"])
        frame["share"] = frame["variance"] / frame["variance"].sum()
        return frame

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
        p, H = self.predictions, len(self.predictions.hospitals)
        kept = self._modelled
        index = pd.Index([*p.hospitals, POOLED], name="hospital")
        count = np.bincount(p.owner, minlength=H)
        modelled = np.bincount(kept.owner, minlength=H)
        frame = pd.DataFrame({"rows": np.append(count, len(kept))}, index=index)
        few = np.where(frame["rows"] < self.minimum_events, frame["rows"], -1)
        if self.table.two_classes:
            events = np.bincount(p.owner, p.y > 0, minlength=H).astype(int)
            frame["events"] = np.append(events, int((kept.y > 0).sum()))
            frame["non_events"] = frame["rows"] - frame["events"]
            frame["prevalence"] = frame["events"] / frame["rows"].where(frame["rows"] > 0)
            few = frame[["events", "non_events"]].min(axis=1).to_numpy()
            few = np.where(few < self.minimum_events, few, -1)
        columns = {
            f"{metric}{end}": values
            for metric, estimate in self.estimates.items()
            for end, values in zip(("", "_low", "_high"), estimate[:3], strict=True)
        }
        frame = pd.concat([frame, pd.DataFrame(columns, index=index)], axis=1)
        model = np.append((modelled > 0) | (count == 0), True)
        frame["counted"] = (few < 0) & model & ~self.marks["broken"]
        frame.loc[POOLED, "counted"] = True
        frame["note"] = performance_text.notes(frame, few, model, self.marks, self.minimum_events)
        return frame

    def _pooled_auroc(self, estimate: Estimate, counted: np.ndarray) -> RandomEffects:
        with jax.enable_x64(True):
            area = jnp.where(jnp.asarray(counted), jnp.asarray(estimate.value), jnp.nan)
            counts = map(jnp.asarray, self._positives_and_negatives())
            pooled = pool_auroc(area, *counts, jnp.asarray(estimate.se), level=self.level)
            return RandomEffects(*(np.asarray(x) for x in pooled))

    def _positives_and_negatives(self) -> tuple[np.ndarray, np.ndarray]:
        """``[H]`` rows of each class; of several classes those of an average one, and of the others."""
        frame, known = self.hospitals, self.predictions
        if self.table.two_classes:
            return frame["events"].to_numpy(float), frame["non_events"].to_numpy(float)
        rows = frame["rows"].to_numpy(float)
        pairs = np.unique(np.stack([known.owner, known.y]), axis=1)
        classes = np.bincount(pairs[0].astype(int), minlength=len(rows))
        average = rows / np.maximum(classes, 1)
        return average, rows - average

    def _chosen(
        self, who: str, hospitals: Sequence[str] | str | None
    ) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Names, the rows of all and then of the named hospitals, and the number of the name of each."""
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
        owner = self._modelled.owner
        place = np.full(len(known), -1)
        place[[known.index(name) for name in names]] = np.arange(1, len(names) + 1)
        rows = np.flatnonzero(place[owner] > 0)
        segment = np.concatenate([np.zeros(len(owner)), place[owner[rows]]]).astype(np.int32)
        return [POOLED, *names], np.concatenate([np.arange(len(owner)), rows]), segment

    def _two_classes(self, who: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.table.two_classes:
            raise InvalidInput(
                f"{who}: the task is {self.task!r}; there is such a curve for two classes only"
            )
        p = self._modelled
        return p.outputs.reshape(len(p.outputs))[rows], p.y[rows]


def _mean(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Means over the last axis of what is defined."""
    known = np.isfinite(values)
    share = known * (1.0 if weight is None else weight)
    total = share.sum(-1)
    mean = np.where(known, values, 0.0)
    return np.where(total > 0, (mean * share).sum(-1) / np.where(total > 0, total, 1), np.nan)


def _tidy(names: Sequence[str], columns: Mapping[str, Any], **constant: str) -> pd.DataFrame:
    """Arrays ``[names, n]`` as a table with a row for each entry."""
    arrays = {
        name: np.asarray(values, np.float64 if name != "rows" else int) for name, values in columns.items()
    }
    n = next(iter(arrays.values())).shape[1]
    return pd.DataFrame(
        {"hospital": np.repeat(names, n), **constant, **{name: v.reshape(-1) for name, v in arrays.items()}}
    )
