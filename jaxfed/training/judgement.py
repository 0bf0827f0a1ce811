"""The choice of the block, the number of hospitals that run side by side on a device, from shapes.

Equal calls have to give equal bits, so a run never measures times: it uses the block for which a model
predicts the shortest time. :mod:`jaxfed.training.tuning` measures times on request; it searches over blocks
with :func:`fastest`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Traced

from jaxfed.core.dataset import Dataset
from jaxfed.core.layout.plan import Placement, place_groups
from jaxfed.core.local import LocalTraining
from jaxfed.core.problem import Batch
from jaxfed.spec.spec import Spec
from jaxfed.training.placed import parameters_of, rows_of, work_of

# A local step on a CPU core: seconds for the operations of a block, seconds for each hospital in it, FLOP/s.
OPERATIONS, HOSPITAL, RATE = 4e-6, 2.5e-6, 1e11
# On a GPU, not measured yet: seconds for the operations of a step, FLOP/s.
GPU_LAUNCH, GPU_RATE = 1e-4, 1e13
FEW = 8  # with fewer hospitals on a device, neighbours differ much in size and a block saves no time
SLACK = 1.02  # the smallest block is chosen whose time is at most this multiple of the best time
FLOP_PER_PARAMETER = 6.0  # for a row: two for the model, four for its gradient


def judged_blocks(spec: Spec) -> list[int]:
    """A block for each group: the given block, or the best according to the model of the time."""
    works = work_of(spec)
    if spec.block is not None:
        return [spec.block] * len(works)
    alone = place_groups(works, [1] * len(works), devices=spec.devices)
    steps = _steps(spec)
    blocks = []
    for place, local, step, parameters in zip(
        alone, spec.recipe.locals, steps, parameters_of(spec), strict=True
    ):
        rows = local.batch_size or local.problem.chunk
        blocks.append(judged(step, place, FLOP_PER_PARAMETER * parameters * rows))
    return blocks


def _steps(spec: Spec) -> list[np.ndarray]:
    """For each group, ``[hospitals of the group]`` the batches (or, without batches, chunks) of a round."""
    return [
        np.ceil(rows / (local.batch_size or local.problem.chunk))
        for rows, local in zip(rows_of(spec), spec.recipe.locals, strict=True)
    ]


def candidates(longest: int) -> list[int]:
    """Blocks to try, in ascending order; ``longest`` is the largest number of hospitals on a device.

    They are 1, 2, 4, 8 and 16 on a CPU, where larger blocks do not fit into the caches, and elsewhere the
    powers of 2 and ``longest``.
    """
    most = 16 if jax.default_backend() == "cpu" else longest
    blocks = [2**i for i in range(max(longest, 1).bit_length()) if 2**i <= min(longest, most)]
    return blocks if jax.default_backend() == "cpu" else sorted({*blocks, longest})


def judged(steps: np.ndarray, placement: Placement, flop: float) -> int:
    """The smallest block whose time by :func:`expected` is within :data:`SLACK` of the best.

    Args:
        steps: ``[C]`` steps of each hospital in a round.
        placement: any placement; only the devices and the order on them matter.
        flop: floating-point operations of a step of a hospital.
    """
    slots = placement.plan.slots
    if jax.default_backend() == "cpu" and slots < FEW:
        return 1
    costs = {block: expected(steps, placement, flop, block) for block in candidates(slots)}
    return min(block for block, cost in costs.items() if cost <= SLACK * min(costs.values()))


def expected(steps: np.ndarray, placement: Placement, flop: float, block: int = 1) -> float:
    """The predicted seconds of a round on the busiest device; arguments as in :func:`judged`.

    A block takes as many steps as its largest hospital, and on a CPU core each step takes
    ``OPERATIONS + block * (HOSPITAL + flop / RATE)``. On a GPU the time of a step is that of launching its
    operations, until a block fills the card.
    """
    slots = placement.plan.slots
    laid = np.zeros(placement.plan.places)
    laid[placement.position] = steps
    padded = np.pad(laid.reshape(-1, slots), ((0, 0), (0, -slots % block)))
    longest = padded.reshape(len(padded), -1, block).max(2).sum(1).max()
    if jax.default_backend() == "cpu":
        return float(longest * (OPERATIONS + block * (HOSPITAL + flop / RATE)))
    return float(longest * (GPU_LAUNCH + block * flop / GPU_RATE))


def traced_step(local: LocalTraining, hospitals: Dataset) -> Traced:
    """The trace of a local step of a hospital (the gradient of a batch), which is not compiled."""
    problem, rows = local.problem, local.batch_size or local.problem.chunk

    def step(key: Any, x: Any, y: Any) -> Any:
        variables = problem.init(key, x)
        return problem.gradient(variables, Batch(x, y, jnp.ones(rows), key))

    def shape(leaf: np.ndarray) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype))

    return jax.jit(step).trace(jax.random.key(0), *jax.tree.map(shape, (hospitals.x, hospitals.target)))


def fastest(blocks: list[int], start: int, seconds: Callable[[int], float]) -> tuple[int, dict[int, float]]:
    """The fastest block, and the seconds of all blocks that were timed.

    The search goes from ``start`` to larger blocks while they are faster, and otherwise to smaller blocks. If
    a block is slower than the best, both are timed again, because the machine may have been busy.
    """
    start = min(blocks, key=lambda block: abs(block - start))
    times = {start: seconds(start)}
    for direction in (1, -1):
        i = blocks.index(start) + direction
        while 0 <= i < len(blocks):
            best, block = min(times, key=times.__getitem__), blocks[i]
            times[block] = seconds(block)
            if math.inf > times[block] > times[best]:
                times.update({b: min(times[b], seconds(b)) for b in (best, block)})
            if times[block] > times[best]:
                break
            i += direction
        if min(times, key=times.__getitem__) != start:
            break
    return min(times, key=times.__getitem__), times


def least_seconds(round: Callable[[], Any], repeats: int = 3) -> float:
    """The shortest time of ``repeats`` calls after a first call, which may compile."""
    round()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        round()
        times.append(time.perf_counter() - began)
    return min(times)
