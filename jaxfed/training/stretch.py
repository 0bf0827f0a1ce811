"""Stretches: the rounds of a run in one call of the program, and its evaluations in between.

A stretch takes a fraction of a second, so that the progress bar moves and an interrupt takes effect soon.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SECONDS = 0.4  # duration of a call


def most_evaluations(hospitals: int) -> int:
    """The number of evaluations of a run in one call, at most.

    A call fills room for the metrics of as many, which takes longer than a round if there are very many
    hospitals.
    """
    return max(1, min(8, 2**17 // hospitals))


def most_rounds(hospitals: int) -> int:
    """The number of rounds in one call, at most, whose metrics of each hospital are recorded."""
    return max(1, min(64, 2**18 // hospitals))


class Stretch(NamedTuple):
    """The M segments of a run in a call.

    Attributes:
        rounds: ``[M]`` rounds of each segment.
        evaluate: ``[M]`` bool, whether the run is evaluated after the segment.
        marks: rounds done at each evaluation.
    """

    rounds: np.ndarray
    evaluate: np.ndarray
    marks: list[int]


def single_segment(rounds: int, segments: int, mark: int | None = None) -> Stretch:
    """A call that uses only the first of M ``segments``, with an evaluation if ``mark`` is given."""
    counts, marks = np.zeros(segments, np.int32), [] if mark is None else [mark]
    counts[0] = rounds
    return Stretch(counts, np.arange(segments) < len(marks), marks)


def stretch(done: int, marks: np.ndarray, until: int, budget: int, segments: int) -> Stretch:
    """The next call of a run.

    Args:
        done: rounds done; -1 before the first evaluation, which is at round 0.
        marks: rounds done at each evaluation, ascending.
        until: the last round of this call, at most.
        budget: rounds of this call, at most; at least 1.
        segments: M.
    """
    rounds, evaluate = np.zeros(segments, np.int32), np.zeros(segments, bool)
    first = int(np.searchsorted(marks, done, side="right"))
    done, reached = max(done, 0), []
    for m in range(segments):
        mark = int(marks[first + m]) if first + m < len(marks) else until + 1
        rounds[m] = min(min(mark, until) - done, budget)
        done, budget = done + int(rounds[m]), budget - int(rounds[m])
        if done != mark:
            break
        evaluate[m] = True
        reached.append(mark)
    return Stretch(rounds, evaluate, reached)


class Pace:
    """Chooses the work of a call so that it takes about :data:`SECONDS`.

    The first call of a program compiles and is not counted.
    """

    def __init__(self) -> None:
        self._work, self._calls = 0.0, 0

    def budget(self, work: float) -> int:
        """The number of rounds of the next call, if each costs ``work``."""
        return max(1, int(self._work / work))

    def note(self, work: float, seconds: float) -> bool:
        """Record the time of a call; returns whether it counts, that is, was not the first."""
        self._calls += 1
        if self._calls > 1 and work:
            self._work = min(work * SECONDS / max(seconds, 1e-9), 8 * max(work, self._work))
        return self._calls > 1
