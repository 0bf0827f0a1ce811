"""Many models of a federation, each trained on other rows, as one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxfed.core import tree
from jaxfed.core.dataset import TEST, TRAIN, Dataset
from jaxfed.core.engine.runs import SlotCommand
from jaxfed.core.types import Variables
from jaxfed.spec.spec import Spec
from jaxfed.sweep.programs import programs_of
from jaxfed.sweep.trials import Trial
from jaxfed.training.trainer import deployed


def final_models(
    spec: Spec,
    hospitals: Sequence[Dataset],
    rounds: int,
    seeds: Sequence[int],
    together: int | None = None,
) -> list[Variables]:
    """The model after the last round for each of several data sets, with one compiled program.

    Args:
        spec: a checked specification.
        hospitals: the data sets; they differ in the split of the rows only, and a hospital has as many
            training rows in each.
        rounds: communication rounds; fewer where the privacy budget ends before.
        seeds: of each run.
        together: runs side by side on a device, under ``vmap``; None for 1 on a CPU and all on a GPU.
    """
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(Spec)}
    fields |= {"splits": ("test",), "evaluate_on": None}
    trials = [
        Trial(k, Spec(**{**fields, "hospitals": data}), int(seed))
        for k, (data, seed) in enumerate(zip(hospitals, seeds, strict=True))
    ]
    models: dict[int, Variables] = {}
    for program in programs_of(trials, together, None):
        slots, width, waiting = program.empty(), program.width, [*program.members]
        while waiting:
            chosen, waiting = waiting[:width], waiting[width:]
            steps = np.zeros((width, program.segments), np.int32)
            steps[: len(chosen), 0] = spec.within_budget(rounds)
            unevaluated = np.zeros(steps.shape, bool)
            command = SlotCommand(np.ones(width, bool), np.zeros(width, bool), steps, unevaluated)
            filled = chosen + chosen[-1:] * (width - len(chosen))
            slots, _ = program.advance(program.inputs(filled), slots, command)
            for w, k in enumerate(chosen):
                state = tree.entry(slots.state, w)
                models[k] = deployed(program.members[k].spec, program.placed.placements[0], state)
    return [models[k] for k in range(len(trials))]


def redrawn(hospitals: Dataset, seed: int) -> Dataset:
    """The same hospitals with as many training rows each, drawn anew from all of their rows.

    The other rows are test rows.
    """
    rng = np.random.default_rng([seed, 0x5AD0])
    split = np.full(len(hospitals.y), TEST, np.int8)
    for start, size, count in zip(hospitals.start, hospitals.size, hospitals.counts[:, TRAIN], strict=True):
        split[start + rng.permutation(size)[:count]] = TRAIN
    return hospitals.replace(split=split)
