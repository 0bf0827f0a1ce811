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


def identity(spec: Spec, axes: Axes, trials: list[Trial], **how: Any) -> dict[str, str]:
    """What must be the same for a sweep to go on, in words."""
    data = dict.fromkeys(one for trial in trials for one in (trial.hospitals, trial.evaluation_hospitals))
    return {
        **settings(spec),
        **{name: canonical_text(value) for name, value in how.items()},
        "fields": ", ".join(f"{axis.path}: {canonical_text(axis.labels.tolist())}" for axis in axes.axes),
        "values": digest(axes),
        "data sets": ", ".join(digest(one.replace(truth={})) for one in data),
        "jax devices": f"{len(jax.devices())} {jax.devices()[0].platform}",  # slots follow from them
    }


def checkpoint(now: Progress, driver: Driver, config: Mapping[str, Any]) -> Checkpoint:
    """All of it."""
    record = now.record
    arrays = {"active": now.active, "holding": now.holding, "done": record.done, "diverged": record.diverged}
    for kind in ("single", "pooled"):
        arrays |= {f"{kind}/{name}": found for name, found in getattr(record, kind).items()}
    keys: dict[str, str] = {}
    states: dict[str, Any] = {f"suspended[{k}]": state for k, state in now.suspended.items()}
    if now.slots is not None:
        states["slots"] = now.slots
    for name, tree in states.items():
        some, implementations = flatten(tree, name)
        arrays, keys = arrays | some, keys | implementations
    notes = {
        "rung": now.rung,
        "program": now.program,
        "suspended": [*now.suspended],
        "slots": now.slots is not None,
        "cuts": [program.cut for program in driver.programs],
        "timings": driver.timings.numbers(),
    }
    return Checkpoint(config, driver.settled(now), arrays, keys, notes, provenance())


def resume(now: Progress, driver: Driver, found: Checkpoint) -> None:
    """Let a sweep that has not begun go on where a checkpoint was written.

    Raises:
        CheckpointError: its states are not those of this sweep.
    """
    compare_versions(found.versions)
    arrays, notes, record = found.arrays, found.notes, now.record
    # copies: what is read from a file cannot be written to
    now.active, now.holding, record.done, record.diverged = (
        arrays[name].copy() for name in ("active", "holding", "done", "diverged")
    )
    for kind in ("single", "pooled"):
        own = [name.removeprefix(f"{kind}/") for name in arrays if name.startswith(f"{kind}/")]
        getattr(record, kind).update({name: arrays[f"{kind}/{name}"].copy() for name in own})
    now.rung, now.program = notes["rung"], notes["program"]
    for name, number in notes["timings"].items():
        setattr(driver.timings, name, number)
    for number, program in enumerate(driver.programs):
        # as it was chosen then, by the memory that was free
        program.cut = tuple(notes["cuts"][number])
        current = notes["slots"] and number == now.program
        suspended = [k for k in notes["suspended"] if k in program.members]
        if current or suspended:
            like = program.empty()
            one = jax.tree.map(lambda leaf: leaf[0], like.state)
            for k in suspended:
                now.suspended[k] = restore(one, arrays, found.keys, f"suspended[{k}]")
            if current:
                now.slots = restore(like, arrays, found.keys, "slots")
            else:
                program.release()
