"""Baseline hazards: from the scores of a Cox model to probabilities of survival.

    H_0(c_k) = sum_{j <= k} d_j / sum_{i at risk in j} exp(r_i),     S(t | r) = exp(-H_0(t) exp(r))

Breslow 1972 (discussion of Cox, doi 10.1111/j.2517-6161.1972.tb00900.x). A hospital tells its events and its
sum of exp(r) for each interval, so that no time of a patient leaves it; the sums of all hospitals give one
baseline, those of each the stratified ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxfed.core.errors import InvalidInput, did_you_mean


@dataclasses.dataclass(frozen=True, eq=False)
class BaselineHazard:
    """The cumulative hazard of a patient with risk 0, of one group (``""``) or of several.

    Attributes:
        groups: G names.
        ends: ``[K]`` the ends of the intervals of time.
        hazard: ``[G, K]`` cumulative up to each end; NaN from where nobody is at risk.
    """

    groups: tuple[str, ...]
    ends: np.ndarray
    hazard: np.ndarray

    def survival(self, risk: Any, times: Any, group: str | None = None) -> np.ndarray:
        """``[n, T]``: the probability of patients with ``risk [n]`` to have no event up to each time.

        The hazard grows at the ends of intervals; after the last one it is not known (NaN).

        Raises:
            InvalidInput: there are several groups and none is named, or there is no such group.
        """
        if group is None and len(self.groups) > 1:
            raise InvalidInput("survival: each group has its own baseline; give group=, the hospital")
        if group is not None and group not in self.groups:
            raise InvalidInput(f"survival: no group {group!r}; {did_you_mean(group, self.groups)}")
        line = self.hazard[0 if group is None else self.groups.index(group)]
        times = np.atleast_1d(np.asarray(times, float))
        place = np.searchsorted(self.ends, times, side="right")
        known = np.concatenate([[0.0], line])[place]
        known = np.where(times > self.ends[-1], np.nan, known)
        return np.exp(-known * np.exp(np.asarray(risk, float))[:, None])


def baseline_hazard(risk: Any, time: Any, event: Any, ends: Any, groups: Any = None) -> BaselineHazard:
    """The baseline of training rows, from sums per interval.

    Args:
        risk: ``[n]``, the model's score of each row, ``run.predict(...)["risk"]``.
        time, event: ``[n]``, of the same rows.
        ends: of the intervals, ascending, such as :attr:`jaxfed.evaluation.LifeTable.ends`. With one
            interval for each different time it is Breslow's estimate of the pooled rows.
        groups: ``[n]``, to have a baseline for each: the hospital of each row; None for one baseline.

    Raises:
        InvalidInput: arrays of different lengths.
    """
    risk, time, event = np.asarray(risk, float), np.asarray(time, float), np.asarray(event) > 0
    edges = np.asarray(ends, float)
    names = np.full(len(time), "") if groups is None else np.asarray(groups).astype(str)
    if not len(risk) == len(time) == len(event) == len(names) or risk.ndim != 1 or not len(risk):
        raise InvalidInput(
            f"baseline_hazard: {risk.shape} risks, {time.shape} times, {event.shape} events, {names.shape} "
            "groups; give one of each for each row"
        )
    order = [str(name) for name in dict.fromkeys(names.tolist())]
    lines = []
    for name in order:
        own = names == name
        place = np.searchsorted(edges, time[own])
        deaths = np.bincount(place[event[own]], minlength=len(edges) + 1)[:-1]
        leaving = np.bincount(place, np.exp(risk[own]), minlength=len(edges) + 1)
        at_risk = np.cumsum(leaving[::-1])[::-1][:-1]
        there = np.cumsum(np.bincount(place, minlength=len(edges) + 1)[::-1])[::-1][:-1] > 0
        lines.append(np.cumsum(np.divide(deaths, at_risk, out=np.full(len(edges), np.nan), where=there)))
    return BaselineHazard(tuple(order), edges, np.stack(lines))
