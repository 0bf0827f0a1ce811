"""Saving and restoring a sweep in progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from jaxfed.runtime.provenance import compare_versions, provenance
from jaxfed.spec.spec import Spec
from jaxfed.storage.checkpoint import Checkpoint
from jaxfed.storage.fingerprint import canonical_text, digest, settings
from jaxfed.storage.leaves import flatten, restore
from jaxfed.sweep.executor import Progress
from jaxfed.sweep.rungs import Driver
from jaxfed.sweep.space import Axes
from jaxfed.sweep.trials import Trial


def identity(spec: Spec, axes: Axes, trials: list[Trial], **options: Any) -> dict[str, str]:
    """A text of everything that must be equal for a sweep to be resumed."""
    datasets = dict.fromkeys(d for trial in trials for d in (trial.hospitals, trial.evaluation_hospitals))
    return {
        **settings(spec),
        **{name: canonical_text(value) for name, value in options.items()},
        "fields": ", ".join(f"{axis.path}: {canonical_text(axis.labels.tolist())}" for axis in axes.axes),
        "values": digest(axes),
        "data sets": ", ".join(digest(data.replace(truth={})) for data in datasets),
        "jax devices": f"{len(jax.devices())} {jax.devices()[0].platform}",  # they determine the slots
    }


def checkpoint(now: Progress, driver: Driver, config: Mapping[str, Any]) -> Checkpoint:
    """The whole sweep as a checkpoint."""
    record = now.record
    arrays = {"active": now.active, "holding": now.holding, "done": record.done, "diverged": record.diverged}
    for kind in ("single", "pooled"):
        arrays |= {f"{kind}/{name}": values for name, values in getattr(record, kind).items()}
    arrays = {
        name: values.copy() for name, values in arrays.items()
    }  # the sweep goes on while they are written
    keys: dict[str, str] = {}
    states: dict[str, Any] = {f"suspended[{k}]": state for k, state in now.suspended.items()}
    if now.slots is not None:
        states["slots"] = now.slots
    for name, tree in states.items():
        leaves, implementations = flatten(tree, name)
        arrays, keys = arrays | leaves, keys | implementations
    notes = {
        "rung": now.rung,
        "program": now.program,
        "suspended": [*now.suspended],
        "slots": now.slots is not None,
        "cuts": [program.cut for program in driver.programs],
        "timings": driver.timings.numbers(),
    }
    return Checkpoint(config, driver.settled(now), arrays, keys, notes, provenance())


def resume(now: Progress, driver: Driver, checkpoint: Checkpoint) -> None:
    """Bring a sweep that has not begun to the progress of a checkpoint.

    Raises:
        CheckpointError: the states of the checkpoint do not fit this sweep.
    """
    compare_versions(checkpoint.versions)
    arrays, notes, record = checkpoint.arrays, checkpoint.notes, now.record
    # copied, because arrays that were read from a file are read-only
    now.active, now.holding, record.done, record.diverged = (
        arrays[name].copy() for name in ("active", "holding", "done", "diverged")
    )
    for kind in ("single", "pooled"):
        names = [name.removeprefix(f"{kind}/") for name in arrays if name.startswith(f"{kind}/")]
        getattr(record, kind).update({name: arrays[f"{kind}/{name}"].copy() for name in names})
    now.rung, now.program = notes["rung"], notes["program"]
    for name, number in notes["timings"].items():
        setattr(driver.timings, name, number)
    for number, program in enumerate(driver.programs):
        # the sweep chose the cut by the memory that was free when it began
        program.cut = tuple(notes["cuts"][number])
        current = notes["slots"] and number == now.program
        suspended = [k for k in notes["suspended"] if k in program.members]
        if current or suspended:
            like = program.empty()
            state = jax.tree.map(lambda leaf: leaf[0], like.state)
            for k in suspended:
                now.suspended[k] = restore(state, arrays, checkpoint.keys, f"suspended[{k}]")
            if current:
                now.slots = restore(like, arrays, checkpoint.keys, "slots")
            else:
                program.release()
