"""A sweep from its arguments to its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from jaxfed import interrupt
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems
from jaxfed.provenance import provenance
from jaxfed.sweep.axes import Axes, Mode, axes_of
from jaxfed.sweep.configurations import configurations_of
from jaxfed.sweep.groups import groups_of
from jaxfed.sweep.loop import Lane, Progress
from jaxfed.sweep.record import Record
from jaxfed.sweep.result import Sweep
from jaxfed.validation import check_run

if TYPE_CHECKING:
    from jaxfed.simulation import Simulation


def sweep(
    sim: Simulation,
    fields: Any,
    rounds: int,
    *,
    mode: Mode,
    eval_every: int,
    seed: int,
    samples: int | None,
    data: Callable[..., Dataset] | None,
    together: int | None,
    progress: bool,
) -> Sweep:
    """See :meth:`jaxfed.Simulation.sweep`."""
    check_run(sim, rounds, seed, eval_every, None, None)
    problems = Problems("sweep")
    axes = axes_of(fields, mode, samples, seed, problems)
    configurations = configurations_of(sim, axes, seed, data, problems) if not problems.count else []
    problems.raise_if_any()
    marks = np.union1d(np.arange(0, rounds + 1, eval_every), [0, rounds])
    groups = groups_of(configurations, together)
    now = Progress(Record.of(configurations, marks))
    began = time.perf_counter()
    bar = tqdm(total=len(axes) * rounds, desc="sweep", unit="round", disable=not progress)
    try:
        with bar:
            for number, group in enumerate(groups):
                now.enter(number, group)
                lane = Lane(group, now, group.members, rounds)
                while not lane.finished:
                    with interrupt.deferred():
                        settled = lane.call()
                    bar.update(settled)
    except KeyboardInterrupt:
        done = int((now.record.done >= rounds).sum() + (now.record.died > 0).sum())
        bar.write(f"interrupted after {done} of {len(axes)} configurations")
    config = {
        **sim.describe(),
        "mode": mode,
        "rounds": rounds,
        "eval_every": eval_every,
        "seed": seed,
        "fields": _described(axes),
    }
    seconds = {"seconds": time.perf_counter() - began, "programs": len(groups)}
    return Sweep(now.record.dataset(axes, configurations), config, {**provenance(), **seconds})


def _described(axes: Axes) -> dict[str, list[Any]]:
    return {axis.path: axis.labels.tolist() for axis in axes.axes}
