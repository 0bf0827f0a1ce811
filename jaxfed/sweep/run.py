"""A sweep from its arguments to its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.optional import needs
from jaxfed.results.sweep import Sweep
from jaxfed.runtime.provenance import provenance
from jaxfed.spec.spec import Spec
from jaxfed.storage.folder import Checkpoints, Saver
from jaxfed.sweep import checkpoint as saving
from jaxfed.sweep.executor import Progress
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.packing import check_results
from jaxfed.sweep.programs import programs_of
from jaxfed.sweep.record import Record
from jaxfed.sweep.rungs import Driver
from jaxfed.sweep.space import Mode, axes_of, count_of
from jaxfed.sweep.trials import trials_of
from jaxfed.training.checks import check_checkpoint, check_run, warn_faded


def sweep(
    spec: Spec,
    fields: Any,
    rounds: int,
    *,
    mode: Mode = "grid",
    eval_every: int = 1,
    seed: int = 0,
    samples: int | None = None,
    data: Callable[..., Dataset] | None = None,
    halving: Halving | None = None,
    together: int | None = None,
    memory: int | None = None,
    checkpoint: str | Path | None = None,
    every: int | None = None,
    keep: int = 3,
    progress: bool = True,
) -> Sweep:
    """See :meth:`jaxfed.Simulation.sweep`."""
    needs("xarray", "sweep", "sweep")
    check_run(spec, rounds, seed, eval_every, None, None)
    check_checkpoint(checkpoint, every, keep, None)
    rounds, eval_every, seed = int(rounds), int(eval_every), int(seed)
    problems = Problems("sweep")
    _check(spec, halving, together, rounds, problems)
    hospitals, metrics = spec.evaluation_hospitals, metrics_of(spec)
    numbers = (rounds // eval_every + 2) * (len(hospitals) + 1) * len(spec.splits) * len(metrics)
    check_results(count_of(fields, mode, samples), numbers, memory, problems)
    problems.raise_if_any()
    axes = axes_of(fields, mode, samples, seed, problems)
    check_results(len(axes), numbers, memory, problems)  # of values without a length too
    trials = trials_of(spec, axes, seed, data, problems) if not problems.count else []
    for trial in trials:
        lasts = trial.spec.within_budget(rounds)
        problems.check(
            lasts == rounds,
            f"rounds={rounds}: {axes.label(trial.number)} is at the end of its privacy budget after {lasts}; "
            "give fewer rounds, or a larger budget",
            kind="privacy",
        )
    problems.raise_if_any()
    warn_faded((trial.spec for trial in trials), rounds)
    rungs = [rounds] if halving is None else halving.rungs(rounds)
    marks = np.union1d(np.arange(0, rounds + 1, eval_every), [0, *rungs])
    driver = Driver(axes, trials, programs_of(trials, together, memory), rungs, halving)
    now = Progress(Record.empty(trials, marks, spec.measure.scoring), np.ones(len(axes), bool))
    saver = Saver(None, None, None)
    if checkpoint is not None:
        options = {"mode": mode, "rounds": rounds, "eval_every": eval_every, "seed": seed, "halving": halving}
        files = Checkpoints(Path(checkpoint), saving.identity(spec, axes, trials, **options), keep)
        newest = files.latest()
        if newest is not None:
            saving.resume(now, driver, newest)
        saver = Saver(files, every, None if newest is None else newest.round)
    save = partial(saving.checkpoint, now, driver)
    saver.save(driver.settled(now), save, always=True)
    began = time.perf_counter()
    settled = driver.settled(now)
    bar = tqdm(total=len(axes) * rounds, initial=settled, desc="sweep", unit="round", disable=not progress)
    with saver:
        try:
            with bar:
                for _ in driver.calls(now):
                    saver.save(driver.settled(now), save)
                    bar.update(driver.settled(now) - bar.n)
        except KeyboardInterrupt:
            remark = saver.remark()
            bar.write(f"interrupted after {driver.settled(now)} of {len(axes) * rounds} rounds{remark}")
        saver.save(driver.settled(now), save, always=True)
    config = {
        **spec.describe(),
        "mode": mode,
        "rounds": rounds,
        "eval_every": eval_every,
        "seed": seed,
        "halving": None if halving is None else repr(halving),
        "fields": {axis.path: axis.labels.tolist() for axis in axes.axes},
    }
    origin = {
        **provenance(),
        "programs": len(driver.programs),
        "seconds": time.perf_counter() - began,
        "compile_seconds": driver.timings.compile_seconds,
        "seconds_per_round": driver.timings.report()["seconds_per_round"],
    }
    return Sweep(now.record.dataset(axes, trials), config, origin, axes.named())


def _check(spec: Spec, halving: Any, together: Any, rounds: int, problems: Problems) -> None:
    if halving is not None and not isinstance(halving, Halving):
        problems.add(f"halving={halving!r}: give jaxfed.Halving(rounds=...)")
    elif halving is not None:
        halving.check(spec.splits, metrics_of(spec), rounds, problems)
    whole = isinstance(together, (int, np.integer)) and not isinstance(together, bool)
    problems.check(
        together is None or (whole and together >= 1),
        f"together={together!r}: give a whole number >= 1 of runs side by side on a device, or None",
    )


def metrics_of(spec: Spec) -> list[str]:
    """The names of the metrics that are measured."""
    return spec.measure.names(spec.hospitals.y, spec.hospitals.outputs)
