"""How many hospitals run side by side on a device, and the form of convolutions: measured, or judged.

Measuring times rounds of the real program with candidates for the block, on a part of the hospitals that is
cut so that it takes some hundred milliseconds; what costs time is compiling the candidates (seconds each; the
chosen one is not wasted). Where there are convolutions or pooling, the candidates on a GPU are blocks with
XLA's own operations and blocks with the fast form of :mod:`jaxfed.core.nn.rewrite`; on a CPU the fast form is
20 to 50 times faster, and the other is no candidate. Measuring is done for runs that are expected to train
for
``WORTHWHILE`` seconds or more, and what was found is kept in a file. Shorter runs take :func:`judged` and
the platform's form. Which of the two it is depends on the run alone and not on what is in the file, so that
equal calls have equal results to the last bit.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.stages import Traced

from jaxfed.core.engine import rounds as engine
from jaxfed.core.layout.plan import Federation, Placement, Plan
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn import convolution
from jaxfed.core.nn.jaxprs import operations_in
from jaxfed.core.nn.rewrite import Form, default_form
from jaxfed.core.problem import Batch
from jaxfed.core.types import State

WORTHWHILE = 30.0  # expected seconds of training
# A local step on a CPU core: seconds for the operations of a block, seconds for each hospital in it, FLOP/s.
OPERATIONS, HOSPITAL, RATE = 4e-6, 2.5e-6, 1e11
SAMPLE = 0.2  # seconds of a timed round

Seconds = dict[Form, dict[int, float]]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A block and a form, and how each was found.

    Attributes:
        block: hospitals side by side on a device.
        how: ``"given"``, ``"judged"`` from shapes, ``"measured"``, or ``"remembered"`` from an earlier run.
        form: of the model's operations, see :func:`jaxfed.core.nn.rewrite.routed`.
        form_how: as ``how``; the form is judged by the platform.
        seconds: ``{form: {block: seconds}}`` of the timed rounds, where there were any.
    """

    block: int
    how: str
    form: Form
    form_how: str
    seconds: Seconds = dataclasses.field(default_factory=dict)

    def after(self, how: str, seconds: Mapping[Any, Mapping[Any, float]]) -> Choice:
        """The fastest of the candidates that were timed; of what there was one candidate, this."""
        times = {form: {int(b): float(s) for b, s in column.items()} for form, column in seconds.items()}
        _, form, block = min((s, form, b) for form, column in times.items() for b, s in column.items())
        return Choice(
            block,
            how if any(len(column) > 1 for column in times.values()) else self.how,
            form,
            how if len(times) > 1 else self.form_how,
            times,
        )


def candidates(longest: int, cpu: bool) -> list[int]:
    """Blocks to try, in ascending order; ``longest`` is the most hospitals of a device.

    1, 2, 4, 8, 16 on a CPU, where more only fall out of the caches; elsewhere all of them, and halves.
    """
    if cpu:
        return [block for block in (1, 2, 4, 8, 16) if block <= longest]
    found = [longest]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found[::-1]


def forms(jaxpr: core.Jaxpr) -> tuple[Form, ...]:
    """Forms to try, of a round's jaxpr in the platform's own form, which comes first."""
    if default_form() == "fast" or not operations_in(jaxpr) & set(convolution.RULES):
        return (default_form(),)
    return "native", "fast"


def judged(work: np.ndarray, placement: Placement, flop: float, cpu: bool) -> int:
    """A block from shapes: the least that is within 10 % of the best, by a model of the time.

    Args:
        work: ``[C]`` steps of each hospital in a round.
        placement: any; only the devices and the order on them count.
        flop: of a step of one hospital.
        cpu: whether the devices are cores. Elsewhere all hospitals run side by side.
    """
    slots = placement.plan.slots
    if not cpu:
        return slots
    if slots < 8:  # neighbours of very different sizes, and nothing to gain
        return 1
    costs = {block: expected(work, placement, flop, block) for block in candidates(slots, cpu)}
    return min(block for block, cost in costs.items() if cost <= 1.1 * min(costs.values()))


def expected(work: np.ndarray, placement: Placement, flop: float, block: int = 1) -> float:
    """Seconds of a round on CPU cores, by a model; arguments as in :func:`judged`.

    The sum over blocks of the steps of its longest member, each of
    ``OPERATIONS + block * (HOSPITAL + flop / RATE)``.
    """
    steps = np.zeros(placement.plan.places)
    steps[placement.position] = work
    slots = placement.plan.slots
    padded = np.pad(steps.reshape(-1, slots), ((0, 0), (0, -slots % block)))
    longest = padded.reshape(len(padded), -1, block).max(2).sum(1).max()
    return float(longest * (OPERATIONS + block * (HOSPITAL + flop / RATE)))


def measured(
    forms: Sequence[Form], blocks: list[int], seconds: Callable[[Form, int], float], start: int
) -> Seconds:
    """``{form: {block: seconds}}`` of those tried; ``start`` is a block to begin with."""
    start = min(blocks, key=lambda block: abs(block - start))
    found: Seconds = {}
    for form in forms:
        found[form] = climb(blocks, partial(seconds, form), start)
        start = min(found[form], key=found[form].__getitem__)
    return found


def climb(blocks: list[int], seconds: Callable[[int], float], start: int) -> dict[int, float]:
    """``{block: seconds}`` of those tried: from ``start`` up the list while it gets faster, else down.

    Where it gets slower, both are timed once more, one after the other: the machine may have been busy.
    """
    found = {start: seconds(start)}
    for step in (1, -1):
        i = blocks.index(start) + step
        while 0 <= i < len(blocks):
            best, block = min(found, key=found.__getitem__), blocks[i]
            found[block] = seconds(block)
            if math.inf > found[block] > found[best]:
                found.update({b: min(found[b], seconds(b)) for b in (best, block)})
            if found[block] > found[best]:
                break
            i += step
        if min(found, key=found.__getitem__) != start:
            break
    return found


class Stopwatch:
    """Times rounds on a part of the hospitals; the part is fitted to the first program that it times."""

    def __init__(self, cpu: bool) -> None:
        self._cpu, self._part = cpu, 0.0

    def __call__(
        self, recipe: engine.Recipe, plan: Plan, federation: Federation, state: State, capacity: int
    ) -> float:
        """Seconds that a round takes: the least of five, others only add to it; ``state`` is donated."""

        def time_of(part: float, repeats: int) -> float:
            nonlocal state
            smaller, times = self.cut(federation, plan, part), []
            for _ in range(repeats):
                began = time.perf_counter()
                state, _ = engine.advance(recipe, plan, smaller, state, 1, capacity=capacity)
                jax.block_until_ready(state)
                times.append(time.perf_counter() - began)
            return min(times)

        if not self._part:
            part = 1 / 64
            time_of(part, 1)  # compiles
            while (taken := time_of(part, 1)) < SAMPLE / 2 and part < 1:
                part = min(1.0, part * min(16.0, max(2.0, SAMPLE / taken)))
            self._part = part
        time_of(self._part, 1)
        return time_of(self._part, 5) / self._part

    def cut(self, federation: Federation, plan: Plan, part: float) -> Federation:
        """About so much of the work: some of the hospitals, and where that would be few, of their rows.

        Hospitals without rows do not take part, and sizes are no shapes: it is the program of all of them.
        """
        few = min(1.0, 32 / plan.slots) if self._cpu else 1.0  # elsewhere the width of a block matters
        kept = max(part, few)
        slot = np.arange(plan.places) % plan.slots
        sizes = np.asarray(federation.sizes)
        cut = np.ceil(sizes * (part / kept)) * (((slot + 1) * kept).astype(int) > (slot * kept).astype(int))
        cut = cut.astype(sizes.dtype)
        size = jax.device_put(cut, federation.sizes.sharding)
        return dataclasses.replace(federation, train=dataclasses.replace(federation.train, size=size))


def flop_of(recipe: engine.Recipe, federation: Federation) -> float:
    """FLOP of a local step of one hospital, counted by XLA; nothing is compiled."""
    lowered = traced_step(recipe.local, federation).lower()
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))


def traced_step(local: LocalTraining, federation: Federation) -> Traced:
    """A local step of one hospital: the gradient of a batch."""
    problem, rows = local.problem, local.batch_size or local.problem.chunk

    def step(key: Any, x: Any, y: Any) -> Any:
        variables = problem.init(key, x)
        return problem.gradient(variables, Batch(x, y, jnp.ones(rows), key))

    some = [
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), tree)
        for tree in (federation.train.x, federation.train.y)
    ]
    return jax.jit(step).trace(jax.random.key(0), *some)
