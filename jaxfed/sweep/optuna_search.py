"""Search with Optuna: it proposes a batch of trials, jaxfed runs them as one sweep and reports the results.

Akiba, Sano, Yanase, Ohta, Koyama 2019, "Optuna: a next-generation hyperparameter optimization framework",
arXiv:1907.10902. The sampler proposes the trials of a batch without the results of the others: with small
batches it learns more per trial, with large ones more runs are side by side.
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
    """The interface that can be tuned: a :class:`jaxfed.Simulation`, or anything that sweeps like it."""

    @property
    def measure(self) -> Measure:
        """The metrics that are measured."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are evaluated."""
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
    (``test``), which the search does not use, and the number of its seeds that diverged (``dead``). Trials
    with diverged seeds are reported as pruned: they are never the best, and samplers regard them as worse
    than all others.

    Args:
        sim: the simulation to tune.
        space: ``{field: optuna distribution}``, with fields as in ``Simulation.sweep``.
        rounds: communication rounds of every run.
        trials: number of trials in total.
        batch: number of trials that Optuna proposes at once.
        seeds: number of runs of each trial; Optuna gets their mean.
        metric, by: the criterion of the choice, as in :meth:`jaxfed.sweep.Sweep.best`.
        study: a study to continue; None for a new study with Optuna's default sampler.
        **options: further arguments of ``Simulation.sweep``.

    Returns:
        The ``optuna.Study``.

    Raises:
        InvalidInput: lists every problem of the arguments.
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
            diverged = int(np.isnan(chosen[k]).sum())
            trial.set_user_attr("test", float(test[k].mean()))
            trial.set_user_attr("dead", diverged)
            if diverged:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, float(chosen[k].mean()))
    return study


def _scores(frame: pd.DataFrame, metric: str, split: str, seeds: int) -> np.ndarray:
    """``[trials, seeds]`` after the last round; NaN for diverged runs and splits that were not evaluated."""
    last = frame[(frame["split"] == split) & (frame["round"] == frame["round"].max())]
    values = last.set_index("configuration")[metric].reindex(frame["configuration"].unique())
    scores = values.to_numpy(float)
    return np.where(np.isfinite(scores), scores, np.nan).reshape(-1, seeds)
