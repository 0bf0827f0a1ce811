"""Optuna chooses, jaxfed runs: a batch of trials is asked for, run as one sweep, and told.

Akiba, Sano, Yanase, Ohta, Koyama 2019, "Optuna: a next-generation hyperparameter optimization framework",
arXiv:1907.10902. Trials of a batch do not know of each other's results; with small batches the sampler learns
more per trial, with large ones there is more to run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems
from jaxfed.core.optional import needs
from jaxfed.core.task import Measure
from jaxfed.records import ranking as choice
from jaxfed.results.sweep import Sweep


class Tunable(Protocol):
    """What can be tuned: a :class:`jaxfed.Simulation`, or anything that sweeps like one."""

    @property
    def measure(self) -> Measure:
        """What is measured."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Which splits are evaluated."""
        ...

    @property
    def sweep(self) -> Callable[..., Sweep]:
        """See :meth:`jaxfed.Simulation.sweep`."""
        ...


def tune(
    sim: Tunable,
    space: Mapping[str, Any],
    rounds: int,
    *,
    trials: int = 64,
    batch: int = 16,
    seeds: int = 1,
    metric: str | None = None,
    by: str = "validation",
    study: Any = None,
    **options: Any,
) -> Any:
    """Search a space with Optuna, ``batch`` trials at a time, each batch one sweep.

    ``study.best_params`` are the best settings. A trial's ``user_attrs`` hold the metric on test rows
    (``test``), which had no say, and how many of its seeds died (``dead``). Trials with dead seeds are told
    as pruned: they are never the best, and samplers take them for worse than all others.

    Args:
        sim: what is tuned.
        space: ``{field: optuna distribution}``, with fields as in ``Simulation.sweep``.
        rounds: communication rounds of every run.
        trials: how many in all.
        batch: trials that are asked for at once.
        seeds: runs of each trial; it is told their mean.
        metric, by: what to choose by, as in :meth:`jaxfed.sweep.Sweep.best`.
        study: go on with this study; None for a new one with Optuna's default sampler.
        **options: of ``Simulation.sweep``.

    Returns:
        The ``optuna.Study``.

    Raises:
        InvalidInput: lists everything that is wrong with the arguments.
        ImportError: optuna is not installed.
    """
    optuna = needs("optuna", "optuna", "tune")
    scoring = sim.measure.scoring
    metric = metric or scoring.loss + "_pooled"
    direction = "maximize" if scoring.higher_is_better(metric) else "minimize"
    problems = Problems("tune")
    for name, value in (("trials", trials), ("batch", batch), ("seeds", seeds)):
        problems.check(isinstance(value, int) and value > 0, f"{name}={value!r}: give a whole number >= 1")
    problems.check(by in sim.splits and by != "test", f"by={by!r}: give an evaluated split other than test")
    problems.check(
        study is None or study.direction.name == direction.upper(),
        f"study: it would {getattr(study, 'direction', None)}, {metric} is to {direction}",
    )
    problems.check("seed" not in space, "space: the seed is nothing to choose; give seeds=...")
    problems.raise_if_any()
    study = study or optuna.create_study(direction=direction)
    for start in range(0, trials, batch):
        asked = [study.ask(dict(space)) for _ in range(min(batch, trials - start))]
        different = list({tuple(trial.params.items()): trial.params for trial in asked}.items())
        place = {key: i for i, (key, _) in enumerate(different)}
        fields = {path: [params[path] for _, params in different for _ in range(seeds)] for path in space}
        fields["seed"] = [*range(seeds)] * len(different)
        frame = sim.sweep(fields, rounds, mode="zip", **{"eval_every": rounds, **options}).to_frame()
        choice.check_choice(metric, by, frame)
        chosen, test = (_scores(frame, metric, split, seeds) for split in (by, "test"))
        for trial in asked:
            k = place[tuple(trial.params.items())]
            dead = int(np.isnan(chosen[k]).sum())
            trial.set_user_attr("test", float(test[k].mean()))
            trial.set_user_attr("dead", dead)
            if dead:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, float(chosen[k].mean()))
    return study


def _scores(frame: pd.DataFrame, metric: str, split: str, seeds: int) -> np.ndarray:
    """``[trials, seeds]`` after the last round; NaN of dead runs and where the split was not evaluated."""
    last = frame[(frame["split"] == split) & (frame["round"] == frame["round"].max())]
    values = last.set_index("configuration")[metric].reindex(frame["configuration"].unique())
    found = values.to_numpy(float)
    return np.where(np.isfinite(found), found, np.nan).reshape(-1, seeds)
