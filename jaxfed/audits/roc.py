"""ROC curves of attacks: what an attacker finds who may accuse hardly anybody wrongly.

The interval of the area is that of DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595. An average says
little about privacy: Carlini et al. 2022, arXiv:2112.03570, ask for the true positives at few false ones.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

NORMAL = 1.959964  # the 97.5 % quantile of the standard normal


@dataclasses.dataclass(frozen=True, eq=False)
class Roc:
    """Scores of members and of others; a higher score says member.

    Attributes:
        scores: ``[n]``.
        members: ``[n]`` bool, the truth.
    """

    scores: np.ndarray
    members: np.ndarray

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of members and of others."""
        return int(self.members.sum()), int((~self.members).sum())

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates of all thresholds, from (0, 0) to (1, 1)."""
        order = np.argsort(-self.scores, kind="stable")
        scores, members = self.scores[order], self.members[order]
        last = np.append(scores[1:] != scores[:-1], True)  # equal scores are accepted together
        positives, others = self.counts
        true, false = np.cumsum(members)[last], np.cumsum(~members)[last]
        return np.append(0, false) / max(others, 1), np.append(0, true) / max(positives, 1)

    def tpr_at(self, fpr: float) -> float:
        """The largest true positive rate of a threshold with at most this false positive rate.

        With fewer than 1 / fpr others, that is a threshold without any false positive.
        """
        if not all(self.counts):
            return math.nan
        false, true = self.curve()
        return float(true[false <= fpr].max())

    @property
    def auroc(self) -> float:
        """The area under the curve; equal scores count one half. NaN without members or others."""
        return self.auroc_interval()[0]

    def auroc_interval(self) -> tuple[float, float, float]:
        """The area, and its 95 % interval."""
        positives, others = self.counts
        if not positives or not others:
            return math.nan, math.nan, math.nan
        ins, outs = self.scores[self.members], self.scores[~self.members]
        of_members = _share_below(outs, ins)  # [members]: the share of the others below
        of_others = 1 - _share_below(ins, outs)
        area = float(of_members.mean())
        if min(positives, others) < 2:
            return area, math.nan, math.nan
        sd = math.sqrt(of_members.var(ddof=1) / positives + of_others.var(ddof=1) / others)
        return area, max(0.0, area - NORMAL * sd), min(1.0, area + NORMAL * sd)

    def advantage(self, threshold: float) -> float:
        """True minus false positive rate where scores from this threshold on say member."""
        if not all(self.counts):
            return math.nan
        accused = self.scores >= threshold
        return float(accused[self.members].mean() - accused[~self.members].mean())


def _share_below(others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For each score, the share of ``others`` below it; equal ones count one half."""
    ordered = np.sort(others)
    low, high = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return (low + high) / (2 * len(others))
