"""How good predictions of the time to an event are, of rows of whom some are censored. On the host.

Censored rows are made up for by weights 1 / G of those whose state is known (IPCW), where G is the
Kaplan-Meier estimate of the censoring times of the training rows, which is taken not to depend on the
features. Arrays are plain: ``time [n]`` until the event or until the row was last seen, ``event [n]`` 1 or 0.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxfed.core.errors import InvalidInput

PAIRS = 2**24  # compared at a time


def harrell_concordance(risk: Any, time: Any, event: Any) -> float:
    """Harrell's C-index (1982): of the pairs whose order is known, the share with the right order.

    Args:
        risk: ``[n]``, larger means an earlier event; equal ones count one half.
        time, event: of the rows.

    Returns:
        The share; NaN if no order is known.
    """
    risk, time, event = _rows("harrell_concordance", risk, time, event)
    return _concordance(risk, time, event, event.astype(float))


def uno_concordance(
    risk: Any, time: Any, event: Any, train_time: Any, train_event: Any, tau: float | None = None
) -> float:
    """Uno's C-index (2011, doi 10.1002/sim.4154): pairs weighted by 1 / G(t)^2 of the earlier event.

    Unlike Harrell's its limit does not depend on how rows are censored.

    Args:
        risk: ``[n]``, larger means an earlier event.
        time, event: of the rows.
        train_time, train_event: of the training rows, for the censoring.
        tau: events from this time on are left out; None for none.

    Raises:
        InvalidInput: an event at a time when no training row is at risk of being censored any more.
    """
    risk, time, event = _rows("uno_concordance", risk, time, event)
    used = event & (time < (np.inf if tau is None else tau))
    weight = np.zeros(len(time))
    weight[used] = _censoring("uno_concordance", train_time, train_event).weights(time[used], "tau") ** 2
    return _concordance(risk, time, event, weight)


def dynamic_auc(
    risk: Any, time: Any, event: Any, train_time: Any, train_event: Any, times: Any
) -> np.ndarray:
    """Cumulative/dynamic AUROC ``[T]``: of those with an event until t against those without, for each t.

    Uno et al. 2007, doi 10.1198/016214507000000149; Hung and Chiang 2010, doi 10.1002/cjs.10046. NaN where
    there is nobody of one kind.

    Args:
        risk: ``[n]``, or ``[n, T]`` of each time; larger means an earlier event.
        time, event: of the rows.
        train_time, train_event: of the training rows, for the censoring.
        times: T times.
    """
    where = "dynamic_auc"
    times = np.atleast_1d(np.asarray(times, float))
    of_rows, time, event = _rows(where, np.asarray(risk, float), time, event)
    risk = np.broadcast_to(of_rows.reshape(len(time), -1), (len(time), len(times)))
    weight = np.zeros(len(time))
    early = event & (time <= times.max())
    weight[early] = _censoring(where, train_time, train_event).weights(time[early], "times")
    result = np.full(len(times), np.nan)
    for k, t in enumerate(times):
        cases, controls = early & (time <= t), time > t
        if cases.any() and controls.any():
            ordered, scores = np.sort(risk[controls, k]), risk[cases, k]
            below = [np.searchsorted(ordered, scores, side=side) for side in ("left", "right")]
            share = np.mean(below, axis=0) / len(ordered)
            result[k] = np.average(share, weights=weight[cases])
    return result


def brier_score(
    survival: Any, time: Any, event: Any, train_time: Any, train_event: Any, times: Any
) -> np.ndarray:
    """Brier score ``[T]`` of the predicted probability to have no event until t, with IPCW.

    Graf et al. 1999, doi 10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5.

    Args:
        survival: ``[n, T]`` predicted probabilities.
        time, event: of the rows.
        train_time, train_event: of the training rows, for the censoring.
        times: T times.
    """
    where = "brier_score"
    times = np.atleast_1d(np.asarray(times, float))
    survival, time, event = _rows(where, survival, time, event)
    if survival.shape != (len(time), len(times)):
        raise InvalidInput(
            f"{where}: survival has shape {survival.shape}; give a column for each of the {len(times)} times"
        )
    censoring = _censoring(where, train_time, train_event)
    early = event & (time <= times.max())
    weight = np.zeros(len(time))
    weight[early] = censoring.weights(time[early], "times")
    failed = early[:, None] & (time[:, None] <= times)
    alive = time[:, None] > times
    later = np.zeros(len(times))
    later[alive.any(0)] = censoring.weights(times[alive.any(0)], "times")
    errors = np.where(failed, survival**2 * weight[:, None], 0) + np.where(
        alive, (1 - survival) ** 2 * later, 0
    )
    return errors.mean(0)


def integrated_brier_score(scores: Any, times: Any) -> float:
    """The mean over time of Brier scores ``[T]`` at two or more ``times``, by the trapezoidal rule."""
    scores, times = np.asarray(scores, float), np.asarray(times, float)
    if len(times) < 2 or len(scores) != len(times):
        raise InvalidInput(f"integrated_brier_score: {len(times)} times; give a score for each of 2 or more")
    return float(np.trapezoid(scores, times) / (times[-1] - times[0]))


@dataclasses.dataclass(frozen=True)
class _Censoring:
    """The Kaplan-Meier estimate of the censoring times, in which events of a time come first."""

    where: str
    times: np.ndarray
    survival: np.ndarray

    def weights(self, times: np.ndarray, argument: str) -> np.ndarray:
        """``1 / G(t)``."""
        place = np.searchsorted(self.times, times, side="right")
        known = np.concatenate([[1.0], self.survival])[place]
        if (known <= 0).any():
            raise InvalidInput(
                f"{self.where}: all training rows have had the event or were censored by "
                f"{times[known <= 0].min():g}, so that later times have no weight; give {argument}= below it"
            )
        return 1 / known


def _censoring(where: str, time: Any, event: Any) -> _Censoring:
    _, time, event = _rows(where, np.zeros(np.shape(time)), time, event)
    times, place = np.unique(time, return_inverse=True)
    events, censored = (np.bincount(place, kind, len(times)) for kind in (event, ~event))
    at_risk = len(time) - np.cumsum(events + censored) + censored  # without the events of this time
    return _Censoring(where, times, np.cumprod(1 - censored / np.maximum(at_risk, 1)))


def _concordance(risk: np.ndarray, time: np.ndarray, event: np.ndarray, weight: np.ndarray) -> float:
    """The share of ordered pairs, weighted by the row with the earlier event."""
    concordant = pairs = 0.0
    first = np.flatnonzero(weight > 0)
    step = max(1, PAIRS // len(time))
    for i in (first[at : at + step, None] for at in range(0, len(first), step)):
        later = (time > time[i]) | ((time == time[i]) & ~event)
        right = (risk < risk[i]) + 0.5 * (risk == risk[i])
        pairs += float((weight[i[:, 0]] * later.sum(1)).sum())
        concordant += float((weight[i[:, 0]] * np.where(later, right, 0).sum(1)).sum())
    broken = np.isnan(risk).any()
    return concordant / pairs if pairs and not broken else float("nan")


def _rows(where: str, values: Any, time: Any, event: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, time, event = np.asarray(values, float), np.asarray(time, float), np.asarray(event)
    if time.ndim != 1 or event.shape != time.shape or len(values) != len(time) or not len(time):
        raise InvalidInput(
            f"{where}: {values.shape} predictions, times {time.shape}, events {event.shape}; give one of "
            "each for each row, and at least one row"
        )
    if not np.isin(event, (0, 1)).all() or not (time >= 0).all():
        raise InvalidInput(
            f"{where}: times must be 0 or more, and events 1 or 0; look at the order of the arguments"
        )
    return values, time, event.astype(bool)
