"""The arms of a comparison on the same hospitals and seeds: tables, paired gains with intervals, figures.

A gain is an improvement, positive if the arm is better, whichever way the metric points. The hospital is the
unit: intervals of means are over hospitals, and p values are adjusted by Holm's method.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, did_you_mean
from jaxfed.core.metrics.metric import Scoring
from jaxfed.evaluation import paired
from jaxfed.evaluation.paired import Interval
from jaxfed.results import comparison_text
from jaxfed.results.arms import FEDERATED, LOCAL, POOLED, shown_pair
from jaxfed.results.comparison_files import save_comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 5  # hospitals with fewer events, or fewer other rows, set no worst value and enter no interval


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """A arms, S seeds and C hospitals, each at the round that is best on validation rows.

    Attributes:
        arms: names of the arms.
        sizes: one row per hospital: ``train_rows``, ``test_rows`` and, of binary outcomes, ``events`` and
            ``non_events`` among the test rows.
        metrics: ``metric: [A, S, C]`` on test rows; NaN where it is undefined or the run diverged.
        pooled: ``metric: [A, S]`` over all test rows; NaN for leave-one-out, whose models differ.
        rounds: ``[A, S, C]`` rounds of training of the model that is evaluated.
        scoring: what the metrics mean.
        settings: ``{arm: settings}``, what tuning chose, as text.
        notes: what a reader must know of how the arms were made.
        config: how the simulation was set up.
        provenance: versions, device, seconds, number of compiled programs.
    """

    arms: tuple[str, ...]
    sizes: pd.DataFrame
    metrics: Mapping[str, np.ndarray]
    pooled: Mapping[str, np.ndarray]
    rounds: np.ndarray
    scoring: Scoring
    settings: Mapping[str, str]
    notes: tuple[str, ...]
    config: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def metric(self) -> str:
        """The metric that is shown where none is given."""
        return self.scoring.first

    @cached_property
    def counted(self) -> np.ndarray:
        """``[C]`` bool: hospitals with at least 5 events and 5 other rows (binary), else with test rows.

        All with test rows if no hospital has so many.
        """
        measured = self.sizes["test_rows"].to_numpy() > 0
        if "events" not in self.sizes:
            return measured
        enough = self.sizes[["events", "non_events"]].min(axis=1).to_numpy() >= FEW
        return enough if enough.any() else measured

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per arm, means over seeds.

        ``round``, the median round; the metric's mean over hospitals, with ``seeds_low`` and ``seeds_high``,
        the range of that mean over seeds; ``weighted`` by test rows; ``worst`` and ``worst_hospital`` of
        those with enough events; ``all_rows`` together; ``undefined``, hospitals without the metric; the loss
        (mean over hospitals).
        """
        return self.summary()

    def summary(self, metric: str | None = None) -> pd.DataFrame:
        """:attr:`table` of another metric."""
        metric = self._known(metric)
        loss, rows = self.scoring.loss, []
        for a in range(len(self.arms)):
            values = self.metrics[metric][a]
            by_seed = np.array([_mean(of_seed) for of_seed in values])
            by_hospital = _mean_over_seeds(values)
            weight = np.where(np.isfinite(by_hospital), self.sizes["test_rows"], 0)
            judged = np.where(self.counted, by_hospital, np.nan)
            known = np.isfinite(judged).any()
            worst = int(np.nanargmin(self._better(metric) * judged)) if known else 0
            rows.append(
                {
                    "round": int(np.median(self.rounds[a])),
                    metric: _mean(by_hospital),
                    "seeds_low": np.min(by_seed),
                    "seeds_high": np.max(by_seed),
                    "weighted": _mean(by_hospital, weight),
                    "worst": judged[worst],
                    "worst_hospital": str(self.sizes.index[worst]) if known else "",
                    "all_rows": _mean(self.pooled[metric][a]),
                    "undefined": int(np.isnan(by_hospital).sum()),
                    **({} if loss == metric else {loss: _mean(_mean_over_seeds(self.metrics[loss][a]))}),
                }
            )
        return pd.DataFrame(rows, index=pd.Index(self.arms, name="arm"))

    @cached_property
    def hospitals(self) -> pd.DataFrame:
        """One row per hospital: its rows and events, ``counted`` of them, and each arm's mean over seeds."""
        return self.by_hospital()

    def by_hospital(self, metric: str | None = None) -> pd.DataFrame:
        """:attr:`hospitals` of another metric."""
        values = self.metrics[self._known(metric)]
        means = {arm: _mean_over_seeds(values[a]) for a, arm in enumerate(self.arms)}
        return self.sizes.assign(counted=self.counted, **means)

    def differences(
        self, against: str = LOCAL, metric: str | None = None, *, few: bool = False
    ) -> pd.DataFrame:
        """Gains of the other arms against one, paired by hospital, averaged over seeds first.

        Args:
            against: name of an arm.
            metric: None for :attr:`metric`.
            few: whether hospitals with too few events for a judgement enter as well.

        Returns:
            A row per arm: ``hospitals`` that are paired; ``gain`` (positive is better) with its t interval
            ``low`` to ``high`` over hospitals, its ``p`` and ``p_holm``, adjusted for the number of arms;
            ``boot_low`` to ``boot_high`` of a bootstrap of hospitals and seeds, too narrow for few hospitals;
            ``share`` of the hospitals that gain, with Wilson's interval.

        Raises:
            InvalidInput: there is no such arm or metric.
        """
        metric, base = self._known(metric), self._arm(against)
        rows = {}
        for a, arm in enumerate(self.arms):
            if a == base:
                continue
            gains = self._gains(a, base, metric, few)
            by_hospital = _mean_over_seeds(gains)
            mean, p = paired.mean_interval(by_hospital)
            boot, share = paired.bootstrap_interval(gains), paired.share_interval(by_hospital)
            rows[arm] = {
                "hospitals": int(np.isfinite(by_hospital).sum()),
                "gain": mean.value, "low": mean.low, "high": mean.high, "p": p,
                "boot_low": boot.low, "boot_high": boot.high,
                "share": share.value, "share_low": share.low, "share_high": share.high,
            }  # fmt: skip
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")
        table.insert(5, "p_holm", paired.holm(table["p"].to_numpy()))
        return table

    def gains(self, arm: str = FEDERATED, against: str = LOCAL, metric: str | None = None) -> pd.DataFrame:
        """Each hospital's gain of one arm against another, the largest first.

        ``low`` to ``high`` is a t interval over seeds: it holds for these patients and other random numbers
        of training, not for other patients. ``p`` is of no gain over seeds, ``p_holm`` is adjusted for the
        number of hospitals.
        """
        gains = self._gains(self._arm(arm), self._arm(against), self._known(metric), few=True)
        intervals = [paired.mean_interval(column) for column in gains.T]
        table = self.sizes.assign(
            counted=self.counted,
            gain=[interval.value for interval, _ in intervals],
            low=[interval.low for interval, _ in intervals],
            high=[interval.high for interval, _ in intervals],
            p=[p for _, p in intervals],
        )
        table["p_holm"] = paired.holm(table["p"].to_numpy())
        return table.sort_values("gain", ascending=False)

    def gap_closed(self, arm: str = FEDERATED, metric: str | None = None, *, few: bool = False) -> Interval:
        """The part of the gap from local-only to pooled training that an arm closes, with Fieller's interval.

        (arm - local-only) / (pooled - local-only), of means over hospitals. Infinite ends say that pooled
        training cannot be told from local-only training on these hospitals, so that there is no ratio.
        """
        metric, base = self._known(metric), self._arm(LOCAL)
        ours, whole = (
            _mean_over_seeds(self._gains(self._arm(name), base, metric, few)) for name in (arm, POOLED)
        )
        return paired.ratio_interval(ours, whole)

    def plot(self, metric: str | None = None) -> Figure:
        """A heat map of arms and hospitals, and the hospitals' gains with intervals over seeds."""
        from jaxfed.figures.comparison import comparison_figure

        metric = self._known(metric)
        arm, against = shown_pair(self.arms)
        return comparison_figure(
            self.by_hospital(metric)[list(self.arms)],
            self.gains(arm, against, metric),
            self.scoring.label(metric),
            self._better(metric) > 0,
            f"{arm} against {against}",
        )

    def report(
        self,
        path: str | Path,
        *,
        metric: str | None = None,
        title: str | None = None,
        figures: str | Path | None = None,
    ) -> Path:
        """Write one HTML file that needs nothing else: the result in words, tables and figures.

        Args:
            path: of the file.
            metric: None for :attr:`metric`.
            title: of the page.
            figures: a folder, for every figure as PNG and SVG as well.

        Raises:
            ImportError: great-tables is not installed.
            InvalidInput: there is no such metric, or a file cannot be written.
        """
        from jaxfed.results.report.comparison import comparison_report

        page = comparison_report(self, self._known(metric), title)
        file = page.save(path)
        if figures is not None:
            page.save_figures(figures)
        return file

    def save(self, path: str | Path) -> Path:
        """Write a folder with the tables, every value (``values.csv``), the figure and the settings."""
        return save_comparison(self, path)

    def to_frame(self) -> pd.DataFrame:
        """One row per arm, seed and hospital: the round, and every metric on test rows."""
        arms, seeds, hospitals = np.indices(self.rounds.shape).reshape(3, -1)
        columns = {
            "arm": np.array(self.arms)[arms], "seed": seeds, "hospital": self.sizes.index[hospitals],
            "round": self.rounds.ravel(),
        }  # fmt: skip
        return pd.DataFrame({**columns, **{name: v.ravel() for name, v in self.metrics.items()}})

    def _gains(self, a: int, base: int, metric: str, few: bool) -> np.ndarray:
        """``[S, C]``: by how much arm ``a`` is better; NaN for hospitals that do not count."""
        values = self.metrics[metric]
        gains = self._better(metric) * (values[a] - values[base])
        return gains if few else np.where(self.counted, gains, np.nan)

    def _better(self, metric: str) -> int:
        return 1 if self.scoring.higher_is_better(metric) else -1

    def _arm(self, name: str) -> int:
        if name not in self.arms:
            raise InvalidInput(f"comparison: no arm {name!r}; {did_you_mean(name, self.arms)}")
        return self.arms.index(name)

    def _known(self, metric: str | None) -> str:
        if metric is not None and metric not in self.metrics:
            raise InvalidInput(f"comparison: metric={metric!r}: {did_you_mean(metric, self.metrics)}")
        return metric or self.metric

    def sentences(self) -> list[str]:
        """The result in plain words."""
        return comparison_text.sentences(self, FEW)

    def __repr__(self) -> str:
        return "Comparison(" + "\n  ".join(self.sentences()) + ")"

    def _repr_html_(self) -> str:
        return comparison_text.html(self)


def _mean(values: np.ndarray, weight: np.ndarray | None = None) -> float:
    known = np.isfinite(values)
    if not known.any() or (weight is not None and not weight[known].sum()):
        return float("nan")
    return float(np.average(values[known], weights=None if weight is None else weight[known]))


def _mean_over_seeds(values: np.ndarray) -> np.ndarray:
    """``[C]`` means of ``values [S, C]`` over the seeds that have them."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
