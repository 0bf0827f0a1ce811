"""Hospitals' rows on the devices: they are laid out on the host and copied to the devices once.

V data sets of equal shapes are stacked (a sweep may have several): the first axis of every array has length
V. Shorter data sets are padded with rows that are never read. A single data set, as a run has, lies there
without that axis: XLA would copy all images of one channel in every call of a program that takes it off.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from jaxfed.core import keys
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.layout.plan import DEVICES, Placement, Plan
from jaxfed.core.pytree import pytree

COPIED, SHARDED = PartitionSpec(), PartitionSpec(None, DEVICES)
_ROWS = 4096  # copied at a time, because fancy indexing allocates a temporary


@pytree
@dataclasses.dataclass(frozen=True)
class Ragged:
    """Rows of hospitals, hospital by hospital without padding; P places for hospitals.

    Attributes:
        x, y: ``[N, ...]``; labels for training may be :class:`jaxfed.core.types.Weighted`.
        start, size: ``[P]`` int32; the rows of each place. Empty places have size 0.
    """

    x: Any
    y: Any
    start: Array
    size: Array


@pytree
@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """The data for training a group of hospitals, complete on every device; P = D * S places.

    Attributes:
        train: the training rows, and those of each place.
        hospital: ``[P]`` int32, the number of the hospital at each place; C where a place is empty.
        ranking: ``[P]`` int32, the places in descending order of their work.
        sizes: ``[C]`` int32, training rows of the group's hospitals; 0 for hospitals of other groups.
        client_ids: ``[C, 2]`` uint32 name hashes of all hospitals.
    """

    train: Ragged
    hospital: Array
    ranking: Array
    sizes: Array
    client_ids: Array

    def only(self, marks: Array | None) -> TrainingData:
        """The same layout, in which hospitals without a mark (``[C]``, above 0) have no training rows."""
        if marks is None:
            return self
        places = jnp.append(marks > 0, False)[self.hospital]
        train = dataclasses.replace(self.train, size=jnp.where(places, self.train.size, 0))
        return dataclasses.replace(self, train=train, sizes=jnp.where(marks > 0, self.sizes, 0))


@pytree
@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationData:
    """The data for evaluating a group; arrays are sharded, so each device sees its rows and places.

    Attributes:
        rows: rows of the evaluated splits, ``[D * N]``; those of each place counted from the device's first.
        segment: ``[D * N]`` int32, ``slot * splits + split``; padding rows have ``S * splits``.
        hospital: ``[P]`` int32, as in :class:`TrainingData`.
    """

    rows: Ragged
    segment: Array
    hospital: Array


def training_data(
    datasets: Sequence[Dataset], placements: Sequence[Placement], members: Sequence[np.ndarray]
) -> TrainingData:
    """Put the training rows of a group on the devices, those of a device's hospitals together.

    Read-only arrays of a single data set that has only training rows are used without a copy, even on disk.
    The arrays of V > 1 data sets have a first axis of length V.

    Args:
        datasets: V data sets.
        placements: the placement of each data set; their plans are equal.
        members: for each data set, the numbers of the group's hospitals in the order of the placement.
    """
    plan = placements[0].plan
    alone = datasets[0] if len(datasets) == 1 else None
    leaves = [] if alone is None else jax.tree.leaves((alone.x, alone.target))
    stay = (
        alone is not None
        and len(members[0]) == len(alone)
        and bool((alone.split == TRAIN).all())
        and not any(leaf.flags.writeable or leaf.dtype != _dtype(leaf) for leaf in leaves)
    )
    V, P, C = len(datasets), plan.places, plan.clients
    start, size, work = (np.zeros((V, P), np.int32) for _ in range(3))
    hospital, sizes = np.full((V, P), C, np.int32), np.zeros((V, C), np.int32)
    client_ids = np.zeros((V, C, 2), np.uint32)
    rows = []
    for v, (data, place, group) in enumerate(zip(datasets, placements, members, strict=True)):
        count = data.counts[group, TRAIN]
        line = np.arange(len(group)) if stay else np.argsort(place.position)  # the order of their rows
        start[v, place.position[line]] = np.cumsum(count[line]) - count[line]
        size[v, place.position], work[v, place.position] = count, place.work
        hospital[v, place.position], sizes[v, group] = group, count
        client_ids[v, : len(data)] = keys.client_ids(data.hospitals)
        rows.append(_training_rows(data, group[line]))
    ranking = np.argsort(-work, axis=1, kind="stable").astype(np.int32)

    def put(*leaves: np.ndarray) -> Array:
        stacked = leaves[0][None] if stay else _stack([*leaves], [[r] for r in rows], least=1)
        return _put(stacked, plan, COPIED)

    x = jax.tree.map(put, *(data.x for data in datasets))
    y = jax.tree.map(put, *(data.target for data in datasets))
    small = [_put(leaf, plan, COPIED) for leaf in (start, size, hospital, ranking, sizes, client_ids)]
    return TrainingData(Ragged(x, y, *small[:2]), *small[2:])


def evaluation_data(
    datasets: Sequence[Dataset],
    placements: Sequence[Placement],
    members: Sequence[np.ndarray],
    splits: tuple[int, ...],
) -> EvaluationData:
    """Put the rows of some splits on the devices, each hospital's in the order of ``splits``.

    The arrays of V > 1 data sets have a first axis of length V. The other arguments are those of
    :func:`training_data`.
    """
    plan = placements[0].plan
    D, S, V = plan.devices_per_run, plan.slots, len(datasets)
    number = _numbers(splits)
    start, size = (np.zeros((V, D * S), np.int32) for _ in range(2))
    hospital = np.full((V, D * S), plan.clients, np.int32)
    rows, segments = [], []
    for v, (data, place, group) in enumerate(zip(datasets, placements, members, strict=True)):
        hospital[v, place.position] = group
        at = _places(data, place, group)
        parts = evaluated_rows(data, place, group, splits)
        count = np.bincount(at[np.concatenate(parts)], minlength=D * S).reshape(D, S)
        size[v], start[v] = count.reshape(-1), (np.cumsum(count, axis=1) - count).reshape(-1)
        rows.append(parts)
        segments.append((at % S) * len(splits) + number[data.split])

    def put(leaves: Sequence[np.ndarray], padding: int = 0) -> Array:
        return _put(_stack([*leaves], rows, least=1, multiple=16, padding=padding), plan, SHARDED)

    x = jax.tree.map(lambda *leaves: put(leaves), *(data.x for data in datasets))
    small = [_put(leaf, plan, SHARDED) for leaf in (start, size, hospital)]
    segment = put([leaf.astype(np.int32) for leaf in segments], padding=S * len(splits))
    return EvaluationData(Ragged(x, put([data.y for data in datasets]), *small[:2]), segment, small[2])


def evaluated_rows(
    data: Dataset, placement: Placement, members: np.ndarray, splits: tuple[int, ...]
) -> list[np.ndarray]:
    """For each device of a run, the numbers of its evaluated rows in the order in which they lie there."""
    plan = placement.plan
    at = _places(data, placement, members)
    chosen = np.flatnonzero(np.isin(data.split, splits) & (at >= 0))
    chosen = chosen[np.lexsort((_numbers(splits)[data.split[chosen]], at[chosen]))]
    count = np.bincount(at[chosen] // plan.slots, minlength=plan.devices_per_run)
    return np.split(chosen, np.cumsum(count)[:-1])


def _numbers(splits: tuple[int, ...]) -> np.ndarray:
    """``[3]`` the position of each split in ``splits``; its length for others."""
    number = np.full(len(SPLITS), len(splits))
    number[list(splits)] = np.arange(len(splits))
    return number


def _places(data: Dataset, placement: Placement, members: np.ndarray) -> np.ndarray:
    """``[N]`` the place of the hospital of each row; -1 for rows of other groups."""
    position = np.full(len(data), -1)
    position[members] = placement.position
    return position[data.owner]


def _training_rows(data: Dataset, hospitals: np.ndarray) -> np.ndarray:
    """Training rows of these hospitals, one hospital's after another's."""
    rank = np.full(len(data), len(hospitals))
    rank[hospitals] = np.arange(len(hospitals))
    line = rank[data.owner]
    rows = np.flatnonzero((data.split == TRAIN) & (line < len(hospitals)))
    return rows[np.argsort(line[rows], kind="stable")]


def _stack(
    leaves: list[np.ndarray],
    rows: list[list[np.ndarray]],
    *,
    least: int,
    multiple: int = 1,
    padding: int = 0,
) -> np.ndarray:
    """``[V, D * N, ...]``: rows of each of V arrays, in D parts of equal length N, padded."""
    longest = max(least, *(len(part) for parts in rows for part in parts))
    longest = -(-longest // multiple) * multiple
    D = len(rows[0])
    out = aligned((len(leaves), D, longest, *leaves[0].shape[1:]), _dtype(leaves[0]))
    for v, (leaf, parts) in enumerate(zip(leaves, rows, strict=True)):
        for d, part in enumerate(parts):
            for first in range(0, len(part), _ROWS):
                chunk = part[first : first + _ROWS]
                out[v, d, first : first + len(chunk)] = leaf[chunk]
            out[v, d, len(part) :] = padding
    return out.reshape(len(leaves), D * longest, *leaves[0].shape[1:])


def _put(stacked: np.ndarray, plan: Plan, spec: PartitionSpec) -> Array:
    """Put ``[V, ...]`` on the devices, without the first axis if V is 1."""
    if len(stacked) == 1:
        stacked, spec = stacked[0], PartitionSpec(*spec[1:])
    return jax.device_put(stacked, NamedSharding(plan.mesh, spec))


def _dtype(leaf: np.ndarray) -> np.dtype:
    """The dtype on the device; it has 64 bits only if jax is configured for them."""
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array aligned to 64 bytes, which JAX's CPU backend can adopt without copying."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + size].view(dtype).reshape(shape)
