"""Membership inference: who was in the training data of a federation's model?

    loss threshold:  a row whose loss is at most the mean loss of training rows is called a member
    LiRA:            score = log N(phi; mu_in, sd_in) - log N(phi; mu_out, sd_out),   phi = log p / (1 - p)

Yeom, Giacomelli, Fredrikson, Jha 2018, arXiv:1709.01604, also for the advantage; Carlini, Chien, Nasr,
Song, Terzis, Tramer 2022, arXiv:2112.03570, Algorithm 1 (online). mu and sd are those of a row's confidence
phi over shadow models that were trained with it and without it. All shadow models are one compiled program.
The attacker knows the final model, every setting, and the rows that he asks about.

Departure from LiRA's paper: hospitals keep their numbers of training rows, so that a row is in a shadow model
with the share of the training rows in its hospital and not with 1/2.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxfed.audits.confidence import check_attackable, check_judgeable, judge
from jaxfed.audits.roc import Roc
from jaxfed.audits.shadows import final_models, redrawn
from jaxfed.core.dataset import TEST, TRAIN
from jaxfed.core.errors import Problems, spelled
from jaxfed.results.run import Run
from jaxfed.spec.checks import check_count
from jaxfed.spec.spec import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all hospitals"
ENOUGH = 64  # shadow models from which on each row has a deviation of its own


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Membership:
    """How well members of the training data can be told from other patients.

    Attributes:
        members: ``[N]`` bool, whether a row was trained on; rows in the data set's order.
        owner: ``[N]`` number of the hospital of a row.
        hospitals: names.
        scores: ``[N]`` by attack, ``"loss"`` and ``"lira"``; a higher one says member.
        thresholds: the threshold of each attack, which is set without knowing the answers.
    """

    members: np.ndarray
    owner: np.ndarray
    hospitals: tuple[str, ...]
    scores: dict[str, np.ndarray]
    thresholds: dict[str, float]

    def roc(self, attack: str = "loss", hospital: str | None = None) -> Roc:
        """The curve of an attack, on the rows of a hospital or of all."""
        rows = slice(None) if hospital is None else self.owner == self.hospitals.index(hospital)
        return Roc(self.scores[attack][rows], self.members[rows])

    @property
    def table(self) -> pd.DataFrame:
        """A row for each attack and hospital.

        Columns: numbers of members and of others; the area under the ROC curve with its 95 % interval; the
        true positive rate at a false one of at most 1 % and 0.1 % (without any false positive where there are
        fewer than 100 or 1000 others); the advantage at the attack's threshold.
        """
        rows = {}
        for attack in self.scores:
            for name in (ALL, *self.hospitals):
                roc = self.roc(attack, None if name == ALL else name)
                area, low, high = roc.auroc_interval()
                members, others = roc.counts
                rows[attack, name] = {
                    "members": members,
                    "others": others,
                    "auroc": area,
                    "auroc_low": low,
                    "auroc_high": high,
                    "tpr_at_1%": roc.tpr_at(0.01),
                    "tpr_at_0.1%": roc.tpr_at(0.001),
                    "advantage": roc.advantage(self.thresholds[attack]),
                }
        return (
            pd.DataFrame(rows).T.astype({"members": int, "others": int}).rename_axis(["attack", "hospital"])
        )

    def plot(self) -> Figure:
        """ROC curves on logarithmic axes, and the area in every hospital."""
        from jaxfed.figures.audits import membership_figure

        curves = {attack: self.roc(attack).curve() for attack in self.scores}
        return membership_figure(curves, self.table, ALL)

    def __repr__(self) -> str:
        table = self.table.xs(ALL, level="hospital")
        attacks = "; ".join(
            f"{name}: AUROC {row['auroc']:.3f} ({row['auroc_low']:.3f} to {row['auroc_high']:.3f}), "
            f"{row['tpr_at_1%']:.1%} of members at 1% false positives, advantage {row['advantage']:.3f}"
            for name, row in table.iterrows()
        )
        return (
            f"Membership({int(self.members.sum())} members, {int((~self.members).sum())} others; {attacks})"
        )


@spelled
def membership(
    sim: Spec,
    rounds: int,
    *,
    shadows: int = 32,
    seed: int = 0,
    run: Run | None = None,
    together: int | None = None,
) -> Membership:
    """Attack the final model of a federation; members are its training rows, all others are not.

    Args:
        sim: the simulation.
        rounds: of the target and of every shadow model; all of them end at their privacy budget.
        shadows: how many shadow models for LiRA; 0 for the loss threshold alone.
        seed: of the target's training, and of the draws of the shadow models.
        run: the target, a run of ``sim``, if it is trained already; else it is trained with ``seed``.
        together: runs side by side on a device, under ``vmap``; None for 1 on a CPU and all on a GPU.

    Raises:
        InvalidInput: lists what is wrong with the arguments.
    """
    problems = Problems("membership")
    check_attackable(sim, problems)
    check_judgeable(sim, problems)
    check_count(problems, "rounds", rounds, 0)
    check_count(problems, "shadows", shadows, 0)
    check_count(problems, "seed", seed, 0)
    problems.check(shadows != 1, "shadows=1: a row is in it or not; give 0, or 16 and more")
    data = sim.hospitals
    problems.check(
        bool((data.split != TRAIN).any()),
        "sim: every row is a training row, so that nobody is no member; give jaxfed.data.resplit(hospitals, "
        "(0.5, 0, 0.5))",
    )
    if run is not None:
        problems.check(
            isinstance(run, Run) and run.history.trainees == data.hospitals,
            "run: it is no run of these hospitals; give a run of this simulation",
        )
    problems.raise_if_any()
    members = data.split == TRAIN
    target = data.replace(split=np.where(members, TRAIN, TEST).astype(np.int8))
    drawn = [redrawn(data, seed * 100_003 + s) for s in range(shadows)]
    trained = drawn if run is not None else [target, *drawn]
    seeds = [*range(seed + 1, seed + 1 + shadows)]
    seeds = seeds if run is not None else [seed, *seeds]
    models = final_models(sim, trained, rounds, seeds, together) if trained else []
    attacked = models.pop(0) if run is None else run.variables
    judged = judge(sim, attacked, data)
    threshold = -float(judged.loss[members].mean())
    scores, thresholds = {"loss": -judged.loss}, {"loss": threshold}
    if shadows:
        phi = np.stack([judge(sim, model, data).confidence for model in models])
        inside = np.stack([shadow.split == TRAIN for shadow in drawn])
        scores["lira"], thresholds["lira"] = likelihood_ratio(judged.confidence, phi, inside), 0.0
    return Membership(members, data.owner, data.hospitals, scores, thresholds)


def likelihood_ratio(target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """``[N]`` log likelihood ratios of a row's confidence with and without it in the training data.

    Each row has its own means; with fewer than 64 shadow models all rows share the deviations, as the paper
    advises for few models. A row that was in all shadow models or in none has the mean of the other rows
    there.

    Args:
        target: ``[N]`` confidences under the attacked model.
        shadows: ``[S, N]`` under the shadow models.
        inside: ``[S, N]`` bool, whether the row was in the training data of the shadow model.
    """
    logs: list[Any] = []
    for there in (inside, ~inside):
        count = there.sum(0)
        total = np.where(there, shadows, 0).sum(0)
        overall = total.sum() / max(count.sum(), 1)
        mean = np.where(count > 0, total / np.maximum(count, 1), overall)
        squares = np.where(there, (shadows - mean) ** 2, 0).sum(0)
        freedom = np.maximum(count - 1, 0)
        shared = squares.sum() / max(freedom.sum(), 1)
        own = squares / np.maximum(freedom, 1)
        variance = (
            np.where(freedom > 0, own, shared) if len(shadows) >= ENOUGH else np.full(len(mean), shared)
        )
        variance = np.maximum(variance, 1e-12)
        logs.append(-0.5 * ((target - mean) ** 2 / variance + np.log(variance)))
    return logs[0] - logs[1]
