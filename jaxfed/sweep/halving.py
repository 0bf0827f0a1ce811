"""Successive halving: after some rounds the worse part of the configurations stops, and again later.

    n configurations train for r rounds; the best n / eta of them go on until eta r rounds; the best
    n / eta^2 until eta^2 r; ...

Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization",
arXiv:1502.07943. Departures: rungs are given by rounds, as in Hyperband (Li et al. 2018, arXiv:1603.06560),
and not by a budget; seeds of the same settings are one arm, judged by their mean, and a dead seed puts its
arm behind all others; configurations on other hospitals are no rivals.

A poor choice where the best settings start slowly (small steps, FedDyn): give them a longer first rung.
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
    """Which configurations go on, and when that is decided; always on validation rows.

    Attributes:
        rounds: of the first rung, after which all but the best 1 / eta stop.
        eta: how many times as many rounds the next rung has.
        metric: such as ``"auroc"`` (the mean over hospitals) or ``"log_loss_pooled"``; None for the loss
            over all rows.
    """

    rounds: int
    eta: float = 3.0
    metric: str | None = None

    def check(self, splits: tuple[str, ...], metrics: Sequence[str], rounds: int, problems: Problems) -> None:
        """What is wrong, with the remedy."""
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
        found, reached = [], float(self.rounds)
        while round(reached) < rounds:
            if round(reached) not in found:
                found.append(round(reached))
            reached *= self.eta
        return [*found, rounds]

    def survivors(
        self, record: Record, axes: Axes, trials: list[Trial], racing: np.ndarray, rung: int
    ) -> np.ndarray:
        """``[K]`` bool: who goes on after a rung of so many rounds, of those ``racing``."""
        mark = int(np.searchsorted(record.marks, rung))
        score = np.where(record.died > 0, np.nan, self._scores(record, mark))
        races: dict[Any, dict[Any, list[int]]] = {}
        for k in np.flatnonzero(racing):
            arm = tuple(i for axis, i in zip(axes.axes, axes.index[k], strict=True) if axis.path != SEED)
            data = trials[k].hospitals, trials[k].evaluation_hospitals
            races.setdefault(data, {}).setdefault(arm, []).append(int(k))
        going = np.zeros_like(racing)
        for arms in races.values():
            means = {arm: float(score[own].mean()) for arm, own in arms.items()}  # NaN if one is dead
            living = sorted((mean, arm) for arm, mean in means.items() if not math.isnan(mean))
            for _, arm in living[: max(1, int(len(arms) / self.eta))]:
                going[arms[arm]] = True
        return going

    def _scores(self, record: Record, mark: int) -> np.ndarray:
        """``[K]``, lower is better."""
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
