"""Survival of hospitals' patients from counts per interval of time: no hospital shows a patient's time.

Two rounds. First each hospital tells its largest time, rounded up to two digits, and the server cuts the time
up to the largest of them into intervals. Then each hospital tells, for each interval, how many patients are
at risk at its beginning, and how many events and censored patients it has. All else follows from these sums:

    Kaplan-Meier (1958, doi 10.1080/01621459.1958.10501452):   S(c_k) = prod_{j <= k} (1 - d_j / n_j)
    Nelson-Aalen (Aalen 1978, doi 10.1214/aos/1176344247):     H(c_k) = sum_{j <= k} d_j / n_j
    log-rank (Mantel 1966; Peto and Peto 1972, doi 10.2307/2344317)

These are exactly those of the pooled patients whose times are moved to the ends c_k of their intervals
(events before censored patients), and those of the patients themselves if the intervals hold one time each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc  # type: ignore[import-untyped]

from jaxfed.core.dataset import SPLITS, Dataset
from jaxfed.core.errors import InvalidInput, did_you_mean, listed

DEVIATE = 1.959963984540054  # of the normal distribution, for intervals of 95 %


@dataclasses.dataclass(frozen=True, eq=False)
class LifeTable:
    """Counts of G groups, of hospitals most often, in K intervals of time.

    Attributes:
        groups: G names.
        ends: ``[K]`` the ends of the intervals; each begins after the end of the one before.
        at_risk, events, censored: ``[G, K]``; at the beginning of the interval, and in it.
        silent: groups that have too few patients to tell anything; all their counts are 0.
    """

    groups: tuple[str, ...]
    ends: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    censored: np.ndarray
    silent: tuple[str, ...] = ()

    def pooled(self, name: str = "all") -> LifeTable:
        """One group with all patients."""
        sums = {key: getattr(self, key).sum(0, keepdims=True) for key in ("at_risk", "events", "censored")}
        return dataclasses.replace(self, groups=(name,), silent=(), **sums)

    def curve(self, group: str | None = None) -> pd.DataFrame:
        """A row per interval, and one at time 0.

        Columns are ``at_risk``, ``events``, ``censored``, ``kaplan_meier`` (the probability of no event so
        far) with a 95 % interval ``low`` and ``high`` (Greenwood's variance on the scale of log(-log S)), and
        ``nelson_aalen`` (the cumulative hazard). From where nobody is at risk, they are NaN.

        Args:
            group: its name; None if there is one.

        Raises:
            InvalidInput: there is no such group, or several and none is named.
        """
        if group is None and len(self.groups) > 1:
            raise InvalidInput(f"curve: there are {listed(self.groups)}; give one, or call pooled()")
        if group is not None and group not in self.groups:
            raise InvalidInput(f"curve: no group {group!r}; {did_you_mean(group, self.groups)}")
        g = 0 if group is None else self.groups.index(group)
        n, d = self.at_risk[g].astype(float), self.events[g].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            survival = np.cumprod(1 - d / n)
            variance = np.cumsum(d / (n * (n - d)))
            reach = DEVIATE * np.sqrt(variance) / np.log(survival)
            low, high = survival ** np.exp(-reach), survival ** np.exp(reach)
        low, high = (
            np.where(survival == 1, 1.0, np.where(survival == 0, np.nan, side)) for side in (low, high)
        )
        columns = {
            "at_risk": self.at_risk[g], "events": self.events[g], "censored": self.censored[g],
            "kaplan_meier": survival, "low": low, "high": high,
            "nelson_aalen": np.cumsum(np.divide(d, n, out=np.full(len(n), np.nan), where=n > 0)),
        }  # fmt: skip
        first = [int(self.at_risk[g, 0]), 0, 0, 1.0, 1.0, 1.0, 0.0]
        table = {name: [start, *values] for start, (name, values) in zip(first, columns.items(), strict=True)}
        return pd.DataFrame(table, index=pd.Index([0.0, *self.ends], name="time"))

    def logrank(self) -> LogRank:
        """Whether the hazards of the groups differ; groups without patients are left out."""
        used = self.at_risk[:, 0] > 0
        n, d = self.at_risk[used].astype(float), self.events[used].astype(float)
        total, deaths = n.sum(0), d.sum(0)
        if used.sum() < 2 or not deaths.any():
            raise InvalidInput("logrank: give two or more groups with patients, and one event or more")
        share = np.divide(n, total, out=np.zeros_like(n), where=total > 0)
        spread = np.divide(deaths * (total - deaths), total - 1, out=np.zeros_like(total), where=total > 1)
        covariance = np.diag(share @ spread) - (share * spread) @ share.T
        excess = (d - deaths * share).sum(1)[:-1]
        statistic = float(excess @ np.linalg.pinv(covariance[:-1, :-1]) @ excess)
        degrees = int(used.sum()) - 1
        return LogRank(statistic, degrees, float(chdtrc(degrees, statistic)))

    def cuts(self, intervals: int) -> list[float]:
        """Ends of intervals with equal shares of the events, for :func:`jaxfed.evaluation.discrete_hazard`.

        The last is the end of the last interval with an event; where intervals of the table hold many events,
        there are fewer.
        """
        events = self.events.sum(0)
        if not isinstance(intervals, int) or intervals < 1 or not events.any():
            raise InvalidInput(
                f"cuts: intervals={intervals!r}; give a whole number >= 1, and a table with events"
            )
        share = np.cumsum(events) / events.sum()
        places = np.searchsorted(share, np.arange(1, intervals + 1) / intervals - 1e-12)
        return [float(end) for end in self.ends[np.unique(places)]]


@dataclasses.dataclass(frozen=True)
class LogRank:
    """The log-rank test: its statistic, degrees of freedom, and p-value by the chi-squared distribution."""

    statistic: float
    degrees: int
    p: float


def life_table(
    hospitals: Dataset,
    *,
    split: str | None = None,
    intervals: int = 50,
    ends: Sequence[float] | None = None,
    min_rows: int = 1,
) -> LifeTable:
    """The counts of hospitals with ``(time, event)`` labels.

    Args:
        hospitals: of a task of time and event.
        split: which rows; None for all.
        intervals: how many, of equal length.
        ends: instead of ``intervals``, their ends; patients with later times stay at risk to the last one.
        min_rows: a hospital tells its counts only as long as so many of its patients are at risk: the others
            count as censored there; one with fewer patients tells nothing. 1 for the exact pooled curve. A
            single event can be seen in an interval all the same: give longer ones, or sum up the counts
            securely.

    Raises:
        InvalidInput: data of another task, or arguments that make no sense.
    """
    if not hospitals.task.survival:
        raise InvalidInput(f"life_table: task={hospitals.task.name!r} has no times; give survival data")
    if split is not None and split not in SPLITS:
        raise InvalidInput(f"life_table: split={split!r}; {did_you_mean(split, SPLITS)}, or give None")
    used = np.ones(len(hospitals.y), bool) if split is None else hospitals.split == SPLITS.index(split)
    owner = np.array(hospitals.hospitals)[hospitals.owner[used]]
    time, event = hospitals.y[used].T
    table = count_life_table(time, event, owner, intervals=intervals, ends=ends, min_rows=min_rows)
    return _in_order(table, hospitals.hospitals)


def count_life_table(
    time: Any,
    event: Any,
    groups: Any = None,
    *,
    intervals: int = 50,
    ends: Sequence[float] | None = None,
    min_rows: int = 1,
) -> LifeTable:
    """:func:`life_table` of arrays ``time [n]``, ``event [n]`` and the group of each row."""
    time, event = np.asarray(time, float), np.asarray(event) > 0
    names = np.full(len(time), "all") if groups is None else np.asarray(groups).astype(str)
    if not len(time) or time.shape != event.shape or len(names) != len(time) or not (time >= 0).all():
        raise InvalidInput("life_table: give a time >= 0, an event and a group for each of one or more rows")
    for argument, value in (("intervals", intervals), ("min_rows", min_rows)):
        if not isinstance(value, int) or value < 1:
            raise InvalidInput(f"life_table: {argument}={value!r}; give a whole number >= 1")
    order = [str(name) for name in dict.fromkeys(names.tolist())]
    rows = [names == name for name in order]
    if ends is None:
        largest = max((_rounded_up(time[own].max()) for own in rows if own.sum() >= min_rows), default=1.0)
        edges = largest * np.arange(1, intervals + 1) / intervals
        edges[-1] = largest  # which rounding may have moved
    else:
        edges = np.asarray(ends, float)
    if edges.ndim != 1 or not len(edges) or (np.diff(edges, prepend=-1e-300) <= 0).any():
        raise InvalidInput(f"life_table: ends={ends!r}; give ascending times")
    at_risk, events, censored = np.stack(
        [_counts(time[own], event[own], edges, min_rows) for own in rows], axis=1
    )
    silent = tuple(name for name, own in zip(order, rows, strict=True) if own.sum() < min_rows)
    return LifeTable(tuple(order), edges, at_risk, events, censored, silent)


def _counts(time: np.ndarray, event: np.ndarray, ends: np.ndarray, min_rows: int) -> np.ndarray:
    """``[3, K]`` of a hospital: at risk, events, censored."""
    K = len(ends)
    place = np.searchsorted(ends, time)  # K for later times
    events, censored = (np.bincount(place[kind], minlength=K + 1)[:K] for kind in (event, ~event))
    at_risk = len(time) - np.concatenate([[0], np.cumsum(events + censored)[:-1]])
    few = np.flatnonzero(at_risk < min_rows)
    if len(few):
        stop = few[0]
        for counts in (events, censored):
            counts[stop:] = 0
        if stop:
            censored[stop - 1] += at_risk[stop]
        at_risk[stop:] = 0
    return np.stack([at_risk, events, censored])


def _in_order(table: LifeTable, names: tuple[str, ...]) -> LifeTable:
    """The groups in the order of ``names``; those that have no rows have counts of 0."""
    counts = {}
    for key in ("at_risk", "events", "censored"):
        known = dict(zip(table.groups, getattr(table, key), strict=True))
        counts[key] = np.stack([known.get(name, np.zeros(len(table.ends), np.int64)) for name in names])
    silent = tuple(name for name in names if name in table.silent or name not in table.groups)
    return dataclasses.replace(table, groups=names, silent=silent, **counts)


def _rounded_up(value: float) -> float:
    """To two digits."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(max(np.ceil(value / unit - 1e-9) * unit, value))
