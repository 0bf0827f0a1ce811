"""What a sweep needs of memory, and how many runs at a time fit into what there is."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.layout.memory import format_bytes, free

COPIES = 4  # of a run's state: in, out, gradients and the optimiser's


def check_results(configurations: int, numbers: int, memory: int | None, problems: Problems) -> None:
    """Whether the results fit: so many numbers of each configuration, float32."""
    there, needed = memory or free(), configurations * (4 * numbers + 4096)
    problems.check(
        needed <= there,
        f"{configurations:,} configurations need {format_bytes(needed)} for {numbers:,} metrics each, and there "
        f"are {format_bytes(there)}: give fewer configurations, a larger eval_every or fewer splits",
    )


def side_by_side(
    runs: int, devices: int, wanted: int | None, state: int, data: int, memory: int | None
) -> tuple[int, int]:
    """Into how many groups devices are cut, and how many runs each has at a time.

    Args:
        runs: how many there are.
        devices: how many there are.
        wanted: runs of a group at a time; None for 1 on a CPU and as many as possible on a GPU.
        state: bytes of one run's state.
        data: bytes of the hospitals; every device has a copy, but for cores.
        memory: bytes that may be used; None for what is free.

    Raises:
        InvalidInput: not even one run fits.
    """
    cpu = jax.devices()[0].platform == "cpu"
    there = memory or (free() if cpu else _device(jax.devices()[0]))
    one = max(COPIES * state, 1)
    for groups in range(min(devices, runs), 0, -1):
        most = -(-runs // groups)
        together = min(wanted or (1 if cpu else most), most)
        if there is None:
            return groups, together
        fits = int((there - data) // (groups if cpu else 1) // one)
        if fits >= 1:
            return groups, min(together, fits)
    raise InvalidInput(
        f"sweep: one run needs {format_bytes(one)} and its hospitals {format_bytes(data)}, and there are "
        f"{format_bytes(there or 0)}: give a smaller model, fewer hospitals, or sweep over fewer data sets at a "
        "time"
    )


def size_of(tree: Any) -> int:
    """Bytes of a tree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _device(device: Any) -> int | None:
    """Bytes that are free on a device, or None where it does not say."""
    found = device.memory_stats() or {}
    return int(0.9 * found["bytes_limit"]) - found.get("bytes_in_use", 0) if "bytes_limit" in found else None
