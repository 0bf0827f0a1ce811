"""The fastest block and form of a simulation, measured with its real program."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import jax

from jaxfed.core.errors import InvalidInput
from jaxfed.core.nn import convolution
from jaxfed.core.nn.jaxprs import operations_in
from jaxfed.core.nn.rewrite import Form, default_form
from jaxfed.spec.spec import Spec
from jaxfed.training.judgement import candidates, fastest, judged_blocks, least_seconds, traced_step
from jaxfed.training.stretch import single_segment
from jaxfed.training.trainer import Trainer


def tuned(spec: Spec, rounds: int) -> dict[str, Any]:
    """The fields ``block`` and ``form`` of the fastest candidate, each timed over ``rounds`` rounds."""
    longest = max(plan.slots for plan in Trainer(spec).placed.plans)
    blocks = candidates(longest) if spec.block is None else [spec.block]
    start, best = max(judged_blocks(spec)), (math.inf, 0, default_form())
    for form in forms(spec):
        timed = partial(seconds, dataclasses.replace(spec, form=form), rounds)
        block, times = fastest(blocks, start, timed)
        best = min(best, (times[block], block, form))
        start = best[1]
    if not math.isfinite(best[0]):
        raise InvalidInput("tuned: no block fits into memory; see print(sim.plan(1))")
    return {"block": best[1], "form": best[2]}


def forms(spec: Spec) -> tuple[Form, ...]:
    """The forms of the models' operations to try: the given form, or those that may be fastest here."""
    if spec.form is not None:
        return (spec.form,)
    steps = [traced_step(local, spec.hospitals) for local in spec.recipe.locals]
    rewritten = {name for step in steps for name in operations_in(step.jaxpr.jaxpr)} & set(convolution.RULES)
    return ("native", "fast") if rewritten and default_form() == "native" else (default_form(),)


def seconds(spec: Spec, rounds: int, block: int) -> float:
    """The seconds of ``rounds`` rounds with a block; infinite if they do not fit into memory."""
    trainer = Trainer(dataclasses.replace(spec, block=block))
    given, slot = trainer.input(0), trainer.slot(0)
    try:
        trainer.check_memory(given, slot)
    except InvalidInput:
        return math.inf
    command, fresh = single_segment(rounds, trainer.segments), True

    def train() -> None:
        nonlocal slot, fresh
        slot, _ = trainer.advance(given, slot, command, fresh=fresh)
        fresh = False
        jax.block_until_ready(slot)

    return least_seconds(train)
