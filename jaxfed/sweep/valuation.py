"""The value of each hospital for the federation, by retraining or from the uploads of one training."""

from __future__ import annotations

import time
from typing import Literal, get_args

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS, TRAIN
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.data.heterogeneity import heterogeneity
from jaxfed.evaluation.shapley import Coalitions, Exact, LeaveOneOut, Sampled
from jaxfed.privacy import HospitalDP
from jaxfed.records.columns import across_hospitals
from jaxfed.records.ranking import KINDS, label
from jaxfed.results.valuation import Valuation
from jaxfed.spec.checks import check_count
from jaxfed.spec.spec import Spec
from jaxfed.sweep.round_values import round_utilities
from jaxfed.sweep.run import metrics_of, sweep

Method = Literal["leave-one-out", "shapley", "gradient-shapley"]
EXACT = 8  # hospitals up to which all 2^C coalitions are trained


def value_hospitals(
    spec: Spec,
    rounds: int,
    method: Method,
    *,
    metric: str | None,
    split: str,
    seeds: int,
    samples: int,
    progress: bool,
) -> Valuation:
    """See :meth:`jaxfed.Simulation.value`."""
    metric = metric or f"{spec.measure.scoring.loss}_pooled"
    _check(spec, rounds, method, metric, split, seeds, samples)
    began = time.perf_counter()
    members = np.flatnonzero(spec.trained_rows > 0)
    coalitions = _coalitions(method, len(members), samples)
    masks = np.zeros((len(coalitions.masks), len(spec.hospitals)), bool)
    masks[:, members] = coalitions.masks
    sign = 1 if spec.measure.scoring.higher_is_better(metric) else -1
    if method == "gradient-shapley":
        utility = _by_round(spec, masks, rounds, metric, split, seeds, progress)  # [S, R, M]
        each = np.array([[coalitions.contributions(sign * u) for u in of_run] for of_run in utility])
        by_round = pd.DataFrame(
            each.mean((0, 2)), index=pd.RangeIndex(1, rounds + 1, name="round"), columns=_names(spec, members)
        )
        values, shown = each.sum(1), utility[:, -1]
        total = sign * (utility[:, -1, 0] - utility[:, 0, -1])
    else:
        shown = _retrained(spec, masks, rounds, metric, split, seeds, progress)  # [S, M]
        values = np.array([coalitions.contributions(sign * u) for u in shown])
        by_round, total = None, sign * (shown[:, 0] - shown[:, -1])
    return Valuation(
        method=method,
        metric=metric,
        label=label(metric, spec.measure.scoring),
        split=split,
        values=values,
        total=float(total.mean()),
        sizes=_sizes(spec, members),
        coalitions=_table(coalitions, _names(spec, members), shown.mean(0)),
        by_round=by_round,
        config={**spec.describe(), "rounds": rounds, "seeds": seeds, "samples": samples},
        seconds=time.perf_counter() - began,
    )


def _coalitions(method: Method, members: int, samples: int) -> Coalitions:
    if method == "leave-one-out":
        return LeaveOneOut.of(members)
    return Exact.of(members) if members <= EXACT else Sampled.of(members, samples)


def _retrained(
    spec: Spec, masks: np.ndarray, rounds: int, metric: str, split: str, seeds: int, progress: bool
) -> np.ndarray:
    """``[S, M]``: the metric after training with each coalition alone, of the empty one before training."""
    names = spec.hospitals.hospitals
    marks = {"".join(map(str, mask.astype(int))): PerHospital(mask.astype(int), names) for mask in masks[:-1]}
    fields = {"included": marks, "seed": range(seeds)}
    frame = sweep(spec, fields, rounds, eval_every=rounds, progress=progress).to_frame()
    part = frame[frame["split"] == split]
    after = part[part["round"] == rounds][metric].to_numpy().reshape(len(marks), seeds)
    before = part[part["round"] == 0][metric].to_numpy().reshape(len(marks), seeds)[0]
    return np.concatenate([after, before[None]]).T


def _by_round(
    spec: Spec, masks: np.ndarray, rounds: int, metric: str, split: str, seeds: int, progress: bool
) -> np.ndarray:
    """``[S, R, M]``: the metric of the model that each coalition's uploads of a round make."""
    s = spec.splits.index(split)
    weight = spec.evaluation_hospitals.counts[:, SPLITS.index(split)]
    rarer = None
    if spec.hospitals.task.two_classes:
        rarer = spec.evaluation_hospitals.counts_of_rarer[:, SPLITS.index(split)]
    utility = np.zeros((seeds, rounds, len(masks)))
    for seed in range(seeds):
        single, pooled = round_utilities(spec, masks, rounds, seed, progress)
        for r, (by_hospital, together) in enumerate(zip(single, pooled, strict=True)):
            for name, values in by_hospital.items():
                columns = across_hospitals(name, values[..., s], weight, spec.measure.scoring, rarer)
                columns[f"{name}_pooled"] = together[name][:, s]
                if metric in columns:
                    utility[seed, r] = columns[metric]
    return utility


def _names(spec: Spec, members: np.ndarray) -> list[str]:
    return [spec.hospitals.hospitals[c] for c in members]


def _sizes(spec: Spec, members: np.ndarray) -> pd.DataFrame:
    """The training rows of each hospital, and how far its labels are from those of all."""
    rows = spec.hospitals.counts[members, TRAIN]
    index = pd.Index(_names(spec, members), name="hospital")
    frame = pd.DataFrame({"train_rows": rows, "share_of_rows": rows / rows.sum()}, index=index)
    if spec.hospitals.task.has_classes:
        shift = heterogeneity(spec.hospitals).loc[index]
        kept = [name for name in ("prevalence", "emd") if name in shift]
        frame = frame.join(shift[kept].rename(columns={"emd": "label_shift"}))
    return frame


def _table(coalitions: Coalitions, names: list[str], utility: np.ndarray) -> pd.DataFrame:
    """One row per coalition: whether each hospital belongs to it, and its utility, the mean over seeds."""
    return pd.DataFrame(coalitions.masks, columns=names).assign(utility=utility)


def _check(spec: Spec, rounds: int, method: str, metric: str, split: str, seeds: int, samples: int) -> None:
    problems = Problems("value")
    problems.check(method in get_args(Method), f"method={method!r}: {did_you_mean(method, get_args(Method))}")
    known = [f"{name}{kind}" for name in metrics_of(spec) for kind in KINDS]
    problems.check(metric in known, f"metric={metric!r}: {did_you_mean(metric, known)}")
    problems.check(split in spec.splits, f"split={split!r}: give one of splits, {', '.join(spec.splits)}")
    for name, given in (("rounds", rounds), ("seeds", seeds), ("samples", samples)):
        check_count(problems, name, given, 1)
    problems.check(
        int((spec.trained_rows > 0).sum()) > 1, "one hospital trains; give at least two to value them"
    )
    problems.check(
        not isinstance(spec.privacy, HospitalDP), "HospitalDP hides whole hospitals; leave privacy out"
    )
    problems.raise_if_any()
