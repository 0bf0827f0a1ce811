"""The arms of a comparison: each is one sweep over seeds, and all leave-one-out runs are an axis of one.

Every arm is treated alike. The round of a run is that with the lowest loss on validation rows (early
stopping), and where settings are tuned, each arm has those with the lowest such loss in the mean over seeds.
Test rows are read only then. In a run that leaves a hospital out, its validation rows do not count either.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxfed.core.dataset import SPLITS, TEST, TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.privacy import HospitalDP
from jaxfed.results.arms import FEDERATED, LEFT_OUT
from jaxfed.results.comparison import Comparison
from jaxfed.results.sweep import Sweep
from jaxfed.runtime.provenance import provenance
from jaxfed.spec import paths
from jaxfed.spec.checks import check_count
from jaxfed.spec.spec import Spec
from jaxfed.sweep.run import sweep

INCLUDED, SEED = "included", "seed"


class Chosen(NamedTuple):
    """The results of an arm at the round and with the settings that were chosen for each seed.

    Attributes:
        metrics: ``metric: [S, C]`` on test rows.
        pooled: ``metric: [S]``.
        rounds: ``[S]``.
        settings: number of the settings among those that were tried.
        diverged: number of seeds that diverged.
    """

    metrics: dict[str, np.ndarray]
    pooled: dict[str, np.ndarray]
    rounds: np.ndarray
    settings: int
    diverged: int


def compare_arms(
    arms: Mapping[str, Spec],
    rounds: int,
    *,
    seeds: int,
    leave_one_out: bool | Sequence[str],
    tune: Mapping[str, Any] | None,
    eval_every: int,
    progress: bool,
) -> Comparison:
    """See :meth:`jaxfed.Simulation.compare`; ``arms`` share the hospitals, and one is federated."""
    spec, tune = arms[FEDERATED], dict(tune or {})
    _check(arms, rounds, seeds, leave_one_out, tune)
    data, began = spec.evaluation_hospitals, time.perf_counter()
    left_out = _left_out(spec, leave_one_out)
    chosen: dict[str, list[Chosen]] = {}
    tried: dict[str, list[str]] = {}
    programs = 0
    for name, arm in arms.items():
        fields = {path: values for path, values in tune.items() if paths.has(arm, path)}
        swept = {**fields, SEED: range(seeds)}
        leave = left_out if name == FEDERATED else ()
        if leave:
            swept = {INCLUDED: included(arm, leave), **swept}
        done = sweep(arm, swept, rounds, eval_every=eval_every, progress=progress)
        programs += done.provenance["programs"]
        arrays = _Arrays(done, fields)
        tried[name] = arrays.settings
        chosen[name] = [arrays.chosen(i, hospital) for i, hospital in enumerate([None, *leave])]
    origin = {**provenance(), "programs": programs, "seconds": time.perf_counter() - began}
    results = {name: of_arm[0] for name, of_arm in chosen.items()}
    settings = {name: tried[name][of_arm[0].settings] for name, of_arm in chosen.items()}
    if left_out:
        results[LEFT_OUT] = _held_out(chosen[FEDERATED], left_out, data.hospitals)
        each = [tried[FEDERATED][run.settings] for run in chosen[FEDERATED][1:]]
        settings[LEFT_OUT] = "; ".join(f"without {h}: {s}" for h, s in zip(left_out, each, strict=True) if s)
    return Comparison(
        arms=tuple(results),
        sizes=_sizes(spec, data),
        metrics=_stacked([result.metrics for result in results.values()]),
        pooled=_stacked([result.pooled for result in results.values()]),
        rounds=np.stack([np.broadcast_to(r.rounds.T, (len(data), seeds)).T for r in results.values()]),
        scoring=spec.measure.scoring,
        settings=settings,
        notes=_notes(arms, spec, bool(left_out), tune, results),
        config={**spec.describe(), "rounds": rounds, "seeds": seeds, "eval_every": eval_every, "tune": tune},
        provenance=origin,
    )


def included(spec: Spec, leave: Sequence[str]) -> dict[str, PerHospital]:
    """Values of ``Spec.included``: all hospitals that train, and all but each of ``leave``."""
    names = spec.hospitals.hospitals
    everyone = (spec.trained_rows > 0).astype(int)
    marks = {"all": PerHospital(everyone, names)}
    for hospital in leave:
        marks[f"without {hospital}"] = PerHospital(everyone * (np.array(names) != hospital), names)
    return marks


class _Arrays:
    """The metrics of a sweep as ``[L, T, S, E, C]``: left-out hospitals, settings, seeds, evaluations."""

    def __init__(self, done: Sweep, fields: Mapping[str, Any]) -> None:
        data = done.data
        axes = [*([INCLUDED] if INCLUDED in data.dims else []), *fields]
        shape = (data.sizes.get(INCLUDED, 1), -1, data.sizes[SEED])

        def array(name: str, *rest: str, **where: str) -> np.ndarray:
            values = data[name].sel(where).transpose(*axes, SEED, *rest).to_numpy()
            return values.reshape(*shape, *values.shape[len(axes) + 1 :])

        self.rounds = data["round"].to_numpy()
        self.hospitals = [str(name) for name in data["hospital"].to_numpy()]
        test = {"split": "test"}
        self.test = {name: array(name, "round", "hospital", **test) for name in done.metrics}
        self.pooled = {name: array(f"{name}_pooled", "round", **test) for name in done.metrics}
        self.loss, self.weight = None, None
        if "validation" in data["split"]:
            self.loss = array(done.scoring.loss, "round", "hospital", split="validation")
            self.weight = data["rows"].sel(split="validation").to_numpy()
        self.diverged = np.isfinite(array("diverged"))
        table = done.configurations.drop_duplicates([*fields]) if fields else None
        self.settings = [""] if table is None else [
            ", ".join(f"{name}={row[name]}" for name in fields) for _, row in table.iterrows()
        ]  # fmt: skip

    def chosen(self, i: int, hospital: str | None) -> Chosen:
        """The choice for entry ``i`` of the first axis, which leaves out ``hospital``."""
        diverged = self.diverged[i].sum(1)  # [T]
        if self.loss is None or self.weight is None:
            at = np.full(self.diverged[i].shape, len(self.rounds) - 1)
            best = 0
        else:
            weight = np.where(np.array(self.hospitals) == hospital, 0, self.weight)
            loss = _weighted(self.loss[i], weight)  # [T, S, E]
            loss = np.where(np.isfinite(loss), loss, np.inf)
            finite = np.isfinite(loss).any(-1)
            at, least = np.where(finite, loss.argmin(-1), len(self.rounds) - 1), loss.min(-1)
            score = np.where(finite, least, 0).sum(1) / np.maximum(finite.sum(1), 1)
            best = int(np.lexsort((score, diverged + (~finite).sum(1)))[0])
        seeds = np.arange(at.shape[1])
        place = best, seeds, at[best]
        return Chosen(
            {name: values[i][place] for name, values in self.test.items()},
            {name: values[i][place] for name, values in self.pooled.items()},
            self.rounds[at[best]],
            best,
            int(diverged[best]),
        )


def _weighted(loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The loss over all rows, ``[...]``, from the hospitals' ``[..., C]``; NaN if no hospital has one."""
    known = ~np.isnan(loss) & (weight > 0)
    total = np.where(known, weight, 0).sum(-1)
    summed = np.where(known, loss * weight, 0).sum(-1)
    return np.where(total > 0, summed / np.maximum(total, 1), np.nan)


def _held_out(runs: list[Chosen], left_out: Sequence[str], hospitals: Sequence[str]) -> Chosen:
    """Each hospital's metrics of the run that left it out; NaN for hospitals that none left out."""
    first = runs[0]
    values = {name: np.full_like(v, np.nan) for name, v in first.metrics.items()}
    rounds = np.repeat(first.rounds[:, None], len(hospitals), axis=1)
    for hospital, run in zip(left_out, runs[1:], strict=True):
        c = list(hospitals).index(hospital)
        rounds[:, c] = run.rounds
        for name, own in values.items():
            own[:, c] = run.metrics[name][:, c]
    pooled = {name: np.full_like(v, np.nan) for name, v in first.pooled.items()}
    return Chosen(values, pooled, rounds, 0, sum(run.diverged for run in runs[1:]))


def _stacked(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _left_out(spec: Spec, wanted: bool | Sequence[str]) -> tuple[str, ...]:
    """The hospitals that are left out, one in each run: those that train and have test rows."""
    trained, tested = spec.trained_rows > 0, spec.hospitals.counts[:, TEST] > 0
    able = [h for h, yes in zip(spec.hospitals.hospitals, trained & tested, strict=True) if yes]
    if isinstance(wanted, bool):
        return tuple(able) if wanted and trained.sum() > 1 else ()
    return tuple(dict.fromkeys(h for h in wanted if h in able))


def _sizes(spec: Spec, data: Dataset) -> pd.DataFrame:
    """Rows of each evaluated hospital, and of binary outcomes the events and other rows in the test set."""
    counts = data.counts
    frame = pd.DataFrame(
        {"train_rows": counts[:, TRAIN], "test_rows": counts[:, TEST]},
        index=pd.Index(data.hospitals, name="hospital"),
    )
    if spec.measure.scoring.prevalence:
        positive = (data.split == TEST) & (data.y > 0)
        frame["events"] = np.bincount(data.owner[positive], minlength=len(data))
        frame["non_events"] = frame["test_rows"] - frame["events"]
    return frame


def _check(
    arms: Mapping[str, Spec], rounds: int, seeds: int, leave_one_out: Any, tune: Mapping[str, Any]
) -> None:
    problems, spec = Problems("compare"), arms[FEDERATED]
    for name, number in (("rounds", rounds), ("seeds", seeds)):
        check_count(problems, name, number, 1)
    problems.check("test" in spec.splits, f"splits={spec.splits}: arms are compared on test rows; add 'test'")
    problems.check(
        not tune or "validation" in spec.splits,
        f"tune: settings are chosen on validation rows; add 'validation' to splits={spec.splits}",
    )
    for path in tune:
        problems.check(
            path not in (SEED, INCLUDED) and any(paths.has(arm, path) for arm in arms.values()),
            f"tune: {paths.unknown(spec, path)}",
        )
        problems.check(
            path not in ("algorithm", *paths.APART),
            f"tune: {path} makes the arms what they are; give numbers of it, such as algorithm.mu",
        )
    problems.check(
        not (leave_one_out and isinstance(spec.privacy, HospitalDP)),
        "leave_one_out: HospitalDP accounts for all hospitals of the data; give leave_one_out=False",
    )
    if isinstance(leave_one_out, str):
        problems.add(f"leave_one_out={leave_one_out!r}: give a list of names, [{leave_one_out!r}], or True")
    elif not isinstance(leave_one_out, bool):
        for name in leave_one_out:
            known = spec.hospitals.hospitals
            problems.check(name in known, f"leave_one_out: no hospital {name!r}; {did_you_mean(name, known)}")
    problems.raise_if_any()


def _notes(
    arms: Mapping[str, Spec],
    spec: Spec,
    left_out: bool,
    tune: Mapping[str, Any],
    results: Mapping[str, Chosen],
) -> tuple[str, ...]:
    if "validation" in spec.splits and spec.evaluation_hospitals.counts[:, SPLITS.index("validation")].any():
        notes = [
            "Each run of each arm is evaluated at the round with the lowest loss over all validation rows"
            + (", without those of the hospital that is left out." if left_out else ".")
        ]
    else:
        notes = ["Each run is evaluated after the last round, because there are no validation rows."]
    if tune:
        notes.append(
            f"Each arm is tuned alike, on validation rows, over the same values of {', '.join(tune)}."
        )
        for name, arm in arms.items():
            lacking = [path for path in tune if not paths.has(arm, path)]
            notes += [f"The arm {name} has no {', '.join(lacking)}."] if lacking else []
    shared = [step.kind for step in spec.hospitals.steps if not step.hospitals]
    if left_out and shared:
        notes.append(
            "The numbers of imputing and standardising are of the training rows of all hospitals, also of "
            "the one that is left out."
        )
    for name, result in results.items():
        if result.diverged:
            notes.append(f"{result.diverged} runs of {name} diverged and count with the rounds before.")
    return tuple(notes)
