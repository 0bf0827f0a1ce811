"""The assignment of hospitals to devices and blocks.

Hospitals are dealt to devices in descending order of work, each to the device with the least work so far
(Graham 1969), and are sorted by work on each device. A device runs them in blocks of ``block`` hospitals, and
each block takes as many steps as its largest member needs. So hospitals of a block have similar sizes and
little time is lost on padding. A block of 1 runs one hospital after another without a client axis; a block of
all hospitals is one ``vmap``.

Every device sees all training rows, so that any device can train any hospital
(:mod:`jaxfed.core.layout.balance`). On a CPU the devices are cores that read the same memory, which holds the
rows once.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxfed.core.devices import available_devices
from jaxfed.core.errors import InvalidInput

CONFIGS = "configs"  # the mesh axis over whole runs
DEVICES = "devices"  # the mesh axis over the hospitals of a run
BLOCK = "block"  # the vmapped axis inside a device


@dataclasses.dataclass(frozen=True)
class Plan:
    """The layout's static part; equal plans share compiled programs.

    Attributes:
        devices: the jax devices that are used.
        block: hospitals that run side by side on a device.
        slots: places for hospitals on each device, a multiple of ``block``.
        configs: number of equal sets of devices; every set has all hospitals, and in a sweep the sets train
            different runs.
        clients: C, the length of arrays with an entry for each hospital of the data set.
    """

    devices: tuple[Any, ...]
    block: int
    slots: int
    configs: int
    clients: int

    @property
    def devices_per_run(self) -> int:
        """D: devices that share the hospitals of a run."""
        return len(self.devices) // self.configs

    @property
    def places(self) -> int:
        """D * S: places for hospitals."""
        return self.devices_per_run * self.slots

    @property
    def mesh(self) -> Mesh:
        """The mesh over the devices, with one axis over runs and one over the hospitals of a run."""
        axes = (AxisType.Auto, AxisType.Auto)
        return jax.make_mesh(
            (self.configs, self.devices_per_run), (CONFIGS, DEVICES), axes, devices=self.devices
        )

    @property
    def axis(self) -> str | None:
        """Name of the client axis inside a block; None if hospitals run one at a time."""
        return BLOCK if self.block > 1 else None


@dataclasses.dataclass(frozen=True)
class Placement:
    """The places of a data set's hospitals.

    Attributes:
        plan: the static part.
        position: ``[C]`` place ``device * slots + slot`` of each hospital, in the data set's order.
        work: ``[C]`` the work by which the hospitals were dealt.
    """

    plan: Plan
    position: np.ndarray
    work: np.ndarray

    def by_hospital(self, stacked: Any) -> Any:
        """Arrays ``[D * S, ...]`` of any tree as NumPy ``[C, ...]``, in the order of the hospitals placed."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[self.position], stacked)


def place(
    work: np.ndarray,
    *,
    devices: int | None = None,
    block: int | None = None,
    configs: int = 1,
    dealt: np.ndarray | None = None,
    clients: int | None = None,
) -> Placement:
    """Deal hospitals to devices and slots.

    Args:
        work: ``[C]`` cost of each hospital in a round, in any unit (steps are good).
        devices: how many of jax's devices to use; None for all that the hospitals with work can fill.
        block: hospitals side by side on a device; None for 1 on a CPU and all on a GPU.
        configs: number of sets of ``devices`` devices, each with all hospitals.
        dealt: ``[C]`` number of the device of each hospital, if that is already decided.
        clients: number of hospitals of the whole data set; None for those that are placed.

    Raises:
        InvalidInput: more devices than jax has.
    """
    available = available_devices()
    if devices is not None and not 1 <= devices * configs <= len(available):
        raise InvalidInput(
            f"devices={devices}: jax has {len(available)}; call jaxfed.use_cpu_devices({devices}) before "
            "anything else uses jax, or give a smaller number"
        )
    if block is not None and block < 1:
        raise InvalidInput(f"block={block}: give a positive number of hospitals, or None")
    count = devices or min(len(available) // configs, max(int((work > 0).sum()), 1))
    lists = _deal(work, count) if dealt is None else _dealt(work, count, dealt)
    longest = max(len(members) for members in lists)
    if block is None:
        block = 1 if available[0].platform == "cpu" else longest
    block = min(block, longest)
    slots = -(-longest // block) * block
    position = np.zeros(len(work), np.int64)
    for d, members in enumerate(lists):
        position[members] = d * slots + np.arange(len(members))
    used = tuple(available[: count * configs])
    return Placement(Plan(used, block, slots, configs, clients or len(work)), position, work)


def place_groups(
    works: Sequence[np.ndarray],
    blocks: Sequence[int | None],
    *,
    devices: int | None = None,
    configs: int = 1,
    clients: int | None = None,
) -> list[Placement]:
    """Place several groups of hospitals on the same devices, balanced over all of them together.

    ``works`` are ``[C]`` of each group, in one unit; the rest is as in :func:`place`.
    """
    everyone = np.concatenate(works)
    clients = clients or len(everyone)
    if len(works) == 1:
        return [place(everyone, devices=devices, block=blocks[0], configs=configs, clients=clients)]
    together = place(everyone, devices=devices, block=1, configs=configs)
    device = np.split(together.position // together.plan.slots, np.cumsum([len(work) for work in works])[:-1])
    return [
        place(
            work,
            devices=together.plan.devices_per_run,
            block=block,
            configs=configs,
            dealt=dealt,
            clients=clients,
        )
        for work, dealt, block in zip(works, device, blocks, strict=True)
    ]


def _dealt(work: np.ndarray, devices: int, dealt: np.ndarray) -> list[list[int]]:
    """The hospitals of each device as already dealt; every list is sorted by work."""
    order = np.argsort(-work, kind="stable")
    return [order[dealt[order] == d].tolist() for d in range(devices)]


def _deal(work: np.ndarray, devices: int) -> list[list[int]]:
    """Deal hospitals in descending order of work to the device with the least; lists are sorted by work."""
    loads = [(0.0, d) for d in range(devices)]
    lists: list[list[int]] = [[] for _ in range(devices)]
    for c in np.argsort(-work, kind="stable"):
        if not work[c]:  # needs a place but no time
            min(lists, key=len).append(int(c))
            continue
        load, d = heapq.heappop(loads)
        lists[d].append(int(c))
        heapq.heappush(loads, (load + float(work[c]), d))
    return lists
