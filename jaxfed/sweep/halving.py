"""Successive halving: the worse configurations stop after the rounds of a rung, and again after the next.

    n configurations train for r rounds; the best n / eta of them go on until eta r rounds; the best
    n / eta^2 until eta^2 r; ...

Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization",
arXiv:1502.07943. Departures: rungs are given by rounds, as in Hyperband (Li et al. 2018, arXiv:1603.06560),
and not by a budget; seeds of the same settings are one arm, judged by their mean, and an arm with a diverged
seed stops; configurations on different hospitals do not compete.

Halving is a poor choice if the best settings start slowly (small steps, FedDyn); such settings need a longer
first rung.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxfed.core.errors import Problems
from jaxfed.sweep.record import Record
from jaxfed.sweep.space import Axes
from jaxfed.sweep.trials import SEED, Trial


@dataclasses.dataclass(frozen=True)
class Halving:
    """Decides after each rung which configurations continue, always on validation rows.

    Attributes:
        rounds: rounds done at the end of the first rung, after which all but the best 1 / eta stop.
        eta: ratio of the rounds done at the end of successive rungs.
        metric: such as ``"auroc"`` (the mean over hospitals) or ``"log_loss_pooled"``; None for the loss
            over all rows.
    """

    rounds: int
    eta: float = 3.0
    metric: str | None = None

    def check(self, splits: tuple[str, ...], metrics: Sequence[str], rounds: int, problems: Problems) -> None:
        """Record the problems of the arguments, each with the remedy."""
        whole = isinstance(self.rounds, (int, np.integer)) and not isinstance(self.rounds, bool)
        problems.check(
            whole and 1 <= self.rounds < rounds,
            f"Halving(rounds={self.rounds!r}): give a whole number from 1 to {rounds - 1}, less than rounds",
        )
        number = isinstance(self.eta, (int, float)) and not isinstance(self.eta, bool)
        problems.check(
            number and 1 < self.eta < math.inf, f"Halving(eta={self.eta!r}): give a number above 1"
        )
        problems.check(
            "validation" in splits, f"Halving needs validation rows; add 'validation' to splits={splits}"
        )
        known = [*metrics, *(f"{name}_pooled" for name in metrics)]
        problems.check(
            self.metric is None or self.metric in known,
            f"Halving(metric={self.metric!r}): give one of {', '.join(known)}",
        )

    def rungs(self, rounds: int) -> list[int]:
        """Rounds done at the end of each rung; the last one is ``rounds``."""
        ends, reached = [], float(self.rounds)
        while round(reached) < rounds:
            if round(reached) not in ends:
                ends.append(round(reached))
            reached *= self.eta
        return [*ends, rounds]

    def survivors(
        self, record: Record, axes: Axes, trials: list[Trial], active: np.ndarray, rung: int
    ) -> np.ndarray:
        """``[K]`` bool: which ``active`` configurations continue after the rung of ``rung`` rounds."""
        mark = int(np.searchsorted(record.marks, rung))
        score = np.where(record.diverged > 0, np.nan, self._scores(record, mark))
        races: dict[Any, dict[Any, list[int]]] = {}
        for k in np.flatnonzero(active):
            arm = tuple(i for axis, i in zip(axes.axes, axes.index[k], strict=True) if axis.path != SEED)
            data = trials[k].hospitals, trials[k].evaluation_hospitals
            races.setdefault(data, {}).setdefault(arm, []).append(int(k))
        continuing = np.zeros_like(active)
        for arms in races.values():
            # the mean is NaN if a seed has diverged
            means = {arm: float(score[members].mean()) for arm, members in arms.items()}
            ordered = sorted((mean, arm) for arm, mean in means.items() if not math.isnan(mean))
            for _, arm in ordered[: max(1, int(len(arms) / self.eta))]:
                continuing[arms[arm]] = True
        return continuing

    def _scores(self, record: Record, mark: int) -> np.ndarray:
        """``[K]`` the scores of the configurations; lower is better."""
        split = record.splits.index("validation")
        metric = self.metric or record.scoring.loss + "_pooled"
        name = metric.removesuffix("_pooled")
        if metric != name:
            values = record.pooled[name][:, mark, split]
        else:
            single = record.single[name][:, mark, :, split]
            known = ~np.isnan(single)
            total = np.where(known, single, 0).sum(1)
            values = np.where(known.any(1), total / np.maximum(known.sum(1), 1), np.nan)
        return -values if record.scoring.higher_is_better(name) else values
