"""Estimates of the bytes that a plan needs on each device, before compiling and before copying the data.

The estimate is the largest number of bytes of arrays that exist at the same time in the program's jaxpr:
inputs, results, and values that are read later. XLA fuses operations and so usually needs less. If the
estimate is above the limit, the program is compiled and XLA's memory analysis decides.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.stages import Traced

from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.core.layout.plan import Plan
from jaxfed.core.nn.jaxprs import bodies_of
from jaxfed.core.types import PyTree

LIMIT = "JAXFED_MEMORY"  # environment variable: bytes that a device may hold
REMEDY = (
    "no block would fit: use more devices, fewer hospitals, a smaller model or batch, or an algorithm that "
    f"keeps less in each hospital; {LIMIT}=... (bytes) sets another limit"
)


class Needed(NamedTuple):
    """Bytes on one device.

    Attributes:
        rows: the hospitals' rows; the same for all configurations of a sweep.
        own: bytes that each configuration adds: its states, its log, and the working memory of a block of
            hospitals. K configurations side by side need ``rows + K * own``.
    """

    rows: int
    own: int

    @property
    def total(self) -> int:
        """``rows + own``."""
        return self.rows + self.own


def memory_needed(traced: Traced, plan: Plan, train: PyTree) -> Needed:
    """The bytes that rounds need on each device.

    Args:
        traced: ``advance.trace(...)`` of :mod:`jaxfed.core.engine.runs`. Arrays may be
            ``jax.ShapeDtypeStruct``; with the run's arrays nothing is traced twice.
        plan: the layout of the hospitals, or of any group of them.
        train: the training rows among its arguments.
    """
    rows = sum(map(_bytes, jax.tree.leaves(train)))
    return Needed(share_of_rows(plan, rows), max(peak(_device_program(traced.jaxpr.jaxpr)) - rows, 0))


def share_of_rows(plan: Plan, count: int) -> int:
    """Bytes of rows charged to each device: all of them, except that CPU devices share one copy."""
    return count // len(plan.devices) if plan.devices[0].platform == "cpu" else count


def peak(jaxpr: core.Jaxpr) -> int:
    """The largest number of bytes in use at the same time, in this order of operations.

    A result may reuse the memory of an operand, and an input is freed after its last use, because it may be
    a donated state or the carry of a loop.
    """
    last = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in _variables(eqn.invars)}
    results = set(_variables(jaxpr.outvars))
    alive = most = sum(_bytes(v.aval) for v in {*jaxpr.invars, *jaxpr.constvars})
    for i, eqn in enumerate(jaxpr.eqns):
        made = sum(_bytes(v.aval) for v in eqn.outvars if v in last or v in results)
        dying = sum(_bytes(v.aval) for v in set(_variables(eqn.invars)) if last[v] == i and v not in results)
        bodies = bodies_of(eqn)
        inside = max((peak(body) - sum(_bytes(v.aval) for v in body.invars) for body in bodies), default=made)
        if not bodies and eqn.primitive.name not in ("dot_general", "conv_general_dilated", "transpose"):
            inside = max(made - dying, 0)
        most = max(most, alive + inside)
        alive += made - dying
    return most


def limit(plan: Plan) -> int:
    """Bytes that each device of the plan may hold: its memory, or its share of the RAM that is free."""
    given = os.environ.get(LIMIT)
    if given is not None:
        try:
            return int(float(given))
        except ValueError:
            raise InvalidInput(f"{LIMIT}={given!r}: give a number of bytes, such as 8e9") from None
    stats = plan.devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return free() // len(plan.devices)


def check(traced: Traced, plan: Plan, train: PyTree, cut: Callable[[float], int] | None = None) -> None:
    """Refuse rounds that do not fit; the arguments are those of :func:`memory_needed`.

    ``cut(share)`` returns the largest block whose working memory is at most ``share`` of the present one's,
    or 0. By default memory is taken to grow linearly with the block.

    Raises:
        InvalidInput: says how many bytes are needed, how many there are, and which block would fit.
    """
    allowed, needed = limit(plan), memory_needed(traced, plan, train)
    if needed.rows + 2 * needed.own <= allowed:
        return
    exact: Any = traced.lower().compile().memory_analysis()
    rows, work = sum(map(_bytes, jax.tree.leaves(train))), exact.temp_size_in_bytes
    total = exact.argument_size_in_bytes - rows + needed.rows + work
    if total <= allowed:
        return
    # the work grows with the block, nothing else does
    share = max(0.0, 1 - (total - allowed) / max(work, 1))
    block = cut(share) if cut else math.floor(plan.block * share)
    raise InvalidInput(
        f"block={plan.block}: a round needs {format_bytes(total)} on each device and there are "
        f"{format_bytes(allowed)}; " + (f"block={block} would fit" if block >= 1 else REMEDY)
    )


def check_state(plan: Plan, shared: PyTree, clients: PyTree) -> None:
    """Refuse states that do not fit, before they are allocated.

    Args:
        plan: the layout of the hospitals, or of any group of them.
        shared: shapes of what every device has a copy of: the server's model and its optimiser's state.
        clients: shapes of what the hospitals keep, of which each device has its share.

    Raises:
        InvalidInput: says how many bytes are needed and how many there are.
    """
    allowed = limit(plan)
    copied, divided = (sum(map(_bytes, jax.tree.leaves(tree))) for tree in (shared, clients))
    needed = copied + divided // plan.devices_per_run
    if needed > allowed:
        raise InvalidInput(
            f"model: a round needs more than {format_bytes(needed)} on each device, for the states of the "
            f"server and of the hospitals, and there are {format_bytes(allowed)}; {REMEDY}"
        )


def check_rows(plan: Plan, hospitals: Dataset) -> None:
    """Refuse training rows that do not fit, before they are put on the devices.

    Raises:
        InvalidInput: says how many bytes are needed and how many there are.
    """
    allowed, rows = limit(plan), int(hospitals.counts[:, TRAIN].sum())
    leaves = jax.tree.leaves((hospitals.x, hospitals.target))
    kinds = [(leaf.shape[1:], jax.dtypes.canonicalize_dtype(leaf.dtype)) for leaf in leaves]
    needed = share_of_rows(plan, rows * sum(math.prod(shape) * kind.itemsize for shape, kind in kinds))
    if needed > allowed:
        raise InvalidInput(
            f"hospitals: their rows need {format_bytes(needed)} on each device and there are "
            f"{format_bytes(allowed)}; {REMEDY}"
        )


def format_bytes(count: float) -> str:
    """A number of bytes as text with a unit."""
    power = min(max(int(math.log(max(count, 1), 1000)), 0), 4)
    return f"{count / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def free() -> int:
    """Bytes of RAM that this process may still allocate."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**62
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        group = Path("/sys/fs/cgroup")
        free = min(
            free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        )
    except (OSError, ValueError, KeyError):  # no Linux, or no limit
        pass
    return free


def _device_program(jaxpr: core.Jaxpr) -> core.Jaxpr:
    """The program of one device: the body of the ``shard_map``, which may be inside of calls."""
    for eqn in jaxpr.eqns:
        for body in bodies_of(eqn):
            return body if eqn.primitive.name == "shard_map" else _device_program(body)
    return jaxpr


def _variables(atoms: Any) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _bytes(leaf: Any) -> int:
    try:
        return math.prod(leaf.shape) * leaf.dtype.itemsize
    except (AttributeError, TypeError):
        return 0
