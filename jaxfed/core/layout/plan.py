"""How hospitals are laid on devices and blocks: the only place that knows about either.

Hospitals are dealt to devices largest first, each to the device with the least work so far (Graham
1969), and lie on it sorted by work. A device runs them in blocks of ``block``, each block as long as
its largest member needs, so that nobody pays for padding. A block of 1 runs one hospital after another
without a client axis; a block of all is one ``vmap``.

Every device sees all training rows, so that any device can train any hospital
(:mod:`jaxfed.core.layout.balance`).
On a CPU the devices are cores and read the same memory: rows are held once.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxfed.core import keys
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.core.pytree import pytree

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
        configs: into how many equal groups the devices are cut; every group holds all hospitals, and in a
            sweep each has whole runs of its own.
    """

    devices: tuple[Any, ...]
    block: int
    slots: int
    configs: int = 1

    @property
    def shards(self) -> int:
        """D: devices that share the hospitals of one run."""
        return len(self.devices) // self.configs

    @property
    def places(self) -> int:
        """D * S: places for hospitals."""
        return self.shards * self.slots

    @property
    def mesh(self) -> Mesh:
        """Runs, and the hospitals of a run, over the devices."""
        axes = (AxisType.Auto, AxisType.Auto)
        return jax.make_mesh((self.configs, self.shards), (CONFIGS, DEVICES), axes, devices=self.devices)

    @property
    def axis(self) -> str | None:
        """Name of the client axis inside a block; None where hospitals run one at a time."""
        return BLOCK if self.block > 1 else None


@pytree
@dataclasses.dataclass(frozen=True)
class Store:
    """Rows of hospitals, one hospital's after another's; P places for hospitals.

    Attributes:
        x, y: ``[N, ...]``.
        start, size: ``[P]`` int32; the rows of each place. Empty places have size 0.
    """

    x: Any
    y: Array
    start: Array
    size: Array


@pytree
@dataclasses.dataclass(frozen=True)
class Federation:
    """What training needs, whole on every device; D * S places.

    Attributes:
        train: the training rows, and those of each place.
        words: ``[D * S, 2]`` uint32 name hashes.
        ranking: ``[D * S]`` int32, the places in the order of their work, most first.
    """

    train: Store
    words: Array
    ranking: Array

    @property
    def sizes(self) -> Array:
        """``[D * S]`` training rows of all places."""
        return self.train.size


@pytree
@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What evaluation needs; the leading axes are sharded, so each device sees its own rows and slots.

    Attributes:
        rows: rows of the evaluated splits, ``[D * N]``; those of each slot counted from the device's first.
        segment: ``[D * N]`` int32, ``slot * splits + split``; padding rows have ``S * splits``.
    """

    rows: Store
    segment: Array


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a data set's hospitals lie.

    Attributes:
        plan: the static part.
        position: ``[C]`` place ``device * slots + slot`` of each hospital, in the data set's order.
        work: ``[C]`` what it was dealt by.
    """

    plan: Plan
    position: np.ndarray
    work: np.ndarray

    def by_hospital(self, stacked: Any) -> Any:
        """Arrays ``[D * S, ...]`` of any tree as NumPy ``[C, ...]`` in the data set's order."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[self.position], stacked)


def place(
    work: np.ndarray,
    *,
    devices: int | None = None,
    block: int | None = None,
    configs: int = 1,
    dealt: np.ndarray | None = None,
) -> Placement:
    """Deal hospitals to devices and slots.

    Args:
        work: ``[C]`` cost of each hospital in a round, in any unit (steps are good).
        devices: how many of jax's devices to use; None for all that the hospitals with work can fill.
        block: hospitals side by side on a device; None for 1 on a CPU and all on a GPU.
        configs: groups of so many devices, each with all hospitals.
        dealt: ``[C]`` number of the device of each hospital, where that is decided already.

    Raises:
        InvalidInput: more devices than jax has.
    """
    available = jax.devices()
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
    return Placement(Plan(tuple(available[: count * configs]), block, slots, configs), position, work)


def place_groups(
    works: Sequence[np.ndarray], blocks: Sequence[int], *, devices: int | None = None
) -> list[Placement]:
    """Place several groups of hospitals on the same devices, balanced over all of them together.

    ``works`` are ``[C]`` of each group, in one unit; the rest is as in :func:`place`.
    """
    together = place(np.concatenate(works), devices=devices, block=1)
    device = np.split(together.position // together.plan.slots, np.cumsum([len(work) for work in works])[:-1])
    return [
        place(work, devices=together.plan.shards, block=block, dealt=own)
        for work, own, block in zip(works, device, blocks, strict=True)
    ]


def _dealt(work: np.ndarray, devices: int, dealt: np.ndarray) -> list[list[int]]:
    """As dealt, every list sorted by work."""
    order = np.argsort(-work, kind="stable")
    return [order[dealt[order] == d].tolist() for d in range(devices)]


def _deal(work: np.ndarray, devices: int) -> list[list[int]]:
    """Largest first, each to the device with the least work; every list is sorted by work."""
    loads = [(0.0, d) for d in range(devices)]
    lists: list[list[int]] = [[] for _ in range(devices)]
    for c in np.argsort(-work, kind="stable"):
        if not work[c]:  # takes a place and no time
            min(lists, key=len).append(int(c))
            continue
        load, d = heapq.heappop(loads)
        lists[d].append(int(c))
        heapq.heappush(loads, (load + float(work[c]), d))
    return lists


def federate(dataset: Dataset, placement: Placement) -> Federation:
    """Put the training rows on the devices, those of a device's hospitals together.

    Read-only arrays with nothing but training rows stay where and as they are, even on disk.
    """
    plan, position = placement.plan, placement.position
    rows, count = np.flatnonzero(dataset.split == TRAIN), dataset.counts[:, TRAIN]
    leaves = [*jax.tree.leaves(dataset.x), dataset.y]
    fixed = not any(leaf.flags.writeable or leaf.dtype != _dtype(leaf) for leaf in leaves)
    stay = fixed and len(rows) == len(dataset.y)
    line = np.arange(len(position)) if stay else np.argsort(position)  # hospitals, in the order of their rows
    rows = rows[np.argsort(position[dataset.owner[rows]], kind="stable")]

    start, size, work = (np.zeros(plan.places, np.int32) for _ in range(3))
    start[position[line]] = np.cumsum(count[line]) - count[line]
    size[position], work[position] = count, placement.work
    words = np.zeros((plan.places, 2), np.uint32)
    words[position] = keys.name_words(dataset.hospitals)
    ranking = np.argsort(-work, kind="stable").astype(np.int32)
    copied = NamedSharding(plan.mesh, PartitionSpec())

    def put(leaf: np.ndarray) -> Array:
        if stay:
            return jax.device_put(leaf, copied)
        out = aligned((max(len(rows), 1), *leaf.shape[1:]), _dtype(leaf))
        _copy_rows(leaf, rows, out)
        return jax.device_put(out, copied)

    store = Store(jax.tree.map(put, dataset.x), put(dataset.y), *jax.device_put((start, size), copied))
    return Federation(store, *jax.device_put((words, ranking), copied))


def hold_out(dataset: Dataset, placement: Placement, splits: tuple[int, ...]) -> HeldOut:
    """Put the rows of some splits on the devices, each hospital's in the order of ``splits``."""
    number = np.full(len(SPLITS), len(splits))
    number[list(splits)] = np.arange(len(splits))
    rows = np.flatnonzero(np.isin(dataset.split, splits))
    rows = rows[np.argsort(number[dataset.split[rows]], kind="stable")]
    store, laid = _store(dataset, placement, rows)
    slot = (placement.position % placement.plan.slots)[dataset.owner]
    segment = slot * len(splits) + number[dataset.split]
    padding = placement.plan.slots * len(splits)
    return HeldOut(store, _put(segment.astype(np.int32), laid, placement.plan, padding))


def _store(dataset: Dataset, placement: Placement, rows: np.ndarray) -> tuple[Store, list[np.ndarray]]:
    """A store of ``rows``, and the rows of each device in the order in which they lie there."""
    plan = placement.plan
    D, S = plan.shards, plan.slots
    flat_slot = placement.position[dataset.owner[rows]]
    rows = rows[np.argsort(flat_slot, kind="stable")]
    size = np.bincount(flat_slot, minlength=D * S).reshape(D, S)
    laid = np.split(rows, np.cumsum(size.sum(1))[:-1])
    start = np.cumsum(size, axis=1) - size
    store = Store(
        jax.tree.map(lambda leaf: _put(leaf, laid, plan), dataset.x),
        _put(dataset.y, laid, plan),
        jax.device_put(start.astype(np.int32).reshape(-1), _sharded(plan)),
        jax.device_put(size.astype(np.int32).reshape(-1), _sharded(plan)),
    )
    return store, laid


def _put(leaf: np.ndarray, laid: list[np.ndarray], plan: Plan, padding: float = 0) -> Array:
    """Rows of ``leaf`` as ``[D * N, ...]``, N the most that a device has, a positive multiple of 16."""
    longest = -(-max(1, max(map(len, laid))) // 16) * 16
    out = aligned((len(laid), longest, *leaf.shape[1:]), _dtype(leaf))
    for d, rows in enumerate(laid):
        _copy_rows(leaf, rows, out[d])
        out[d, len(rows) :] = padding
    return jax.device_put(out.reshape(-1, *leaf.shape[1:]), _sharded(plan))


def _dtype(leaf: np.ndarray) -> np.dtype:
    """64 bits only where jax is told to keep them."""
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array with nothing in it, that a jax CPU device takes over without a copy: on a cache line."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + size].view(dtype).reshape(shape)


def _copy_rows(leaf: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """``out[:R] = leaf[rows]``, some at a time, because that makes a copy of its own."""
    for first in range(0, len(rows), 4096):
        some = rows[first : first + 4096]
        out[first : first + len(some)] = leaf[some]


def _sharded(plan: Plan) -> NamedSharding:
    return NamedSharding(plan.mesh, PartitionSpec(DEVICES))
