"""A history that grows: entries are appended to lists and joined to arrays only when the history is read.

Joining at every entry would copy the whole history in every round.
"""

from __future__ import annotations

import numpy as np

from jaxfed.records.history import Arrays, History


class Recorder:
    """Appends to a history; the history that it started from does not change.

    Args:
        history: the rounds and evaluations so far.
    """

    def __init__(self, history: History) -> None:
        self._joined = history
        self._training: list[Arrays] = []
        self._refused: list[np.ndarray] = []
        self._evaluated: list[int] = []
        self._single: list[Arrays] = []
        self._pooled: list[Arrays] = []
        self.rounds = len(history.refused)
        self.last_evaluated = int(history.evaluated[-1]) if len(history.evaluated) else -1

    def trained(self, training: Arrays, refused: np.ndarray) -> None:
        """Append rounds, ``name: [R', C]`` and ``[R']``."""
        self._training.append(training)
        self._refused.append(refused)
        self.rounds += len(refused)

    def evaluation(self, round: int, single: Arrays, pooled: Arrays) -> None:
        """Append an evaluation, ``name: [C, S]`` and ``name: [S]``."""
        self._evaluated.append(round)
        self._single.append(single)
        self._pooled.append(pooled)
        self.last_evaluated = round

    def headline(self) -> str:
        """The newest result as a short text, empty before the first evaluation."""
        if self._single:
            return self._joined.headline(self._single[-1])
        return self._joined.headline() if len(self._joined.evaluated) else ""

    @property
    def history(self) -> History:
        """The whole history, as arrays."""
        if self._refused:
            columns = {name: np.concatenate([t[name] for t in self._training]) for name in self._training[0]}
            self._joined = self._joined.trained(columns, np.concatenate(self._refused))
            self._training, self._refused = [], []
        if self._evaluated:
            self._joined = self._joined.evaluations(
                np.array(self._evaluated), _stacked(self._single), _stacked(self._pooled)
            )
            self._evaluated, self._single, self._pooled = [], [], []
        return self._joined


def _stacked(entries: list[Arrays]) -> Arrays:
    return {name: np.stack([entry[name] for entry in entries]) for name in entries[0]}
