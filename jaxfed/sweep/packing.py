"""The memory that a sweep needs, and the number of runs that fit into memory side by side."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.layout.memory import format_bytes, free

# Every configuration is checked like a single run, in about 1 ms: two minutes before the first round.
MOST = 100_000
COPIES = 4  # copies of a run's state: input, output, gradients and the optimiser's state


def check_results(configurations: int, numbers: int, memory: int | None, problems: Problems) -> None:
    """Record a problem if there are too many configurations, in number or for the memory of the results.

    The results are ``numbers`` float32 per configuration.
    """
    problems.check(
        configurations <= MOST,
        f"{configurations:,} configurations: a sweep checks and runs each, and takes {MOST:,}; draw some of "
        "them, mode='random' with samples=1000 and fields as (low, high) or lists, or give fewer values",
    )
    available, needed = memory or free(), configurations * (4 * numbers + 4096)
    problems.check(
        needed <= available,
        f"{configurations:,} configurations need {format_bytes(needed)} for {numbers:,} metrics each, "
        f"and there are {format_bytes(available)}: give fewer configurations, a larger eval_every or fewer "
        "splits",
    )


def side_by_side(
    runs: int, devices: int, wanted: int | None, state: int, data: int, memory: int | None
) -> tuple[int, int]:
    """The number of groups of devices, and the number of runs side by side in each group.

    Args:
        runs: number of runs.
        devices: number of devices.
        wanted: runs side by side in a group; None for 1 on a CPU and as many as possible on a GPU.
        state: bytes of one run's state.
        data: bytes of the hospitals; every device has a copy, except that cores of a CPU share one.
        memory: bytes that may be used; None for all that are free.

    Raises:
        InvalidInput: not even one run fits.
    """
    cpu = jax.devices()[0].platform == "cpu"
    available = memory or (free() if cpu else _free_bytes(jax.devices()[0]))
    needed = max(COPIES * state, 1)
    for groups in range(min(devices, runs), 0, -1):
        most = -(-runs // groups)
        together = min(wanted or (1 if cpu else most), most)
        if available is None:
            return groups, together
        fits = int((available - data) // (groups if cpu else 1) // needed)
        if fits >= 1:
            return groups, min(together, fits)
    raise InvalidInput(
        f"sweep: one run needs {format_bytes(needed)} and its hospitals {format_bytes(data)}, and there are "
        f"{format_bytes(available or 0)}: give a smaller model, fewer hospitals, or sweep over fewer data "
        "sets at a time"
    )


def size_of(tree: Any) -> int:
    """The bytes of a tree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _free_bytes(device: Any) -> int | None:
    """The bytes that are free on a device, or None if the device does not report them."""
    stats = device.memory_stats() or {}
    return int(0.9 * stats["bytes_limit"]) - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
