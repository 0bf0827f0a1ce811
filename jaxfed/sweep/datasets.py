"""Data sets on the devices, laid out alike, so that one program runs them all.

Every one of them lies as the largest needs it, with empty places and rows that nobody reads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.engine import runs as slots
from jaxfed.core.layout import plan
from jaxfed.core.layout.plan import DEVICES, HeldOut, Placement, Plan, aligned
from jaxfed.spec.spec import Spec
from jaxfed.training.setup import trainer_of


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """V data sets on the devices.

    Attributes:
        places, held_places: where hospitals lie that train, and those that are evaluated.
        data: their rows.
        which: the data set of each configuration, by its number.
    """

    places: list[Placement]
    held_places: list[Placement]
    data: slots.Data
    which: dict[int, int]

    @property
    def plan(self) -> Plan:
        """The static part."""
        return self.places[0].plan

    @property
    def held_plan(self) -> Plan:
        """The static part for evaluation."""
        return self.held_places[0].plan


def lay_out(specs: list[Spec], which: dict[int, int], configs: int) -> Layout:
    """The data sets of some simulations, one of each, in every one of ``configs`` groups of devices."""
    some = specs[0]
    devices = some.devices or len(jax.devices())
    busy = min(int((spec.hospitals.counts[:, TRAIN] > 0).sum()) for spec in specs)
    shards = max(1, min(devices // configs, busy))
    cpu = jax.default_backend() == "cpu"
    block = trainer_of(some).choice.block if cpu and some.block is None else some.block
    how: dict[str, Any] = {"devices": shards, "block": block, "configs": configs}
    places = _common([plan.place(work_of(spec), **how) for spec in specs])
    held_places = places
    if some.evaluate_on is not None:
        held_places = _common([plan.place(_held_work(spec.evaluation_hospitals), **how) for spec in specs])
    splits = tuple(SPLITS.index(name) for name in some.splits)
    federations = [plan.federate(s.hospitals, p) for s, p in zip(specs, places, strict=True)]
    helds = [
        plan.hold_out(s.evaluation_hospitals, p, splits) for s, p in zip(specs, held_places, strict=True)
    ]
    data = slots.Data(
        _stacked(federations, places[0].plan, PartitionSpec()),
        _stack_held(helds, held_places[0].plan, len(splits)),
    )
    return Layout(places, held_places, data, which)


def work_of(spec: Spec) -> np.ndarray:
    """``[C]`` cost of each hospital in a round."""
    local = values.of_hospital(spec.recipe.local, ...)
    return np.asarray(local.work(spec.hospitals.counts[:, TRAIN]))


def _held_work(hospitals: Dataset) -> np.ndarray:
    return hospitals.counts[:, TRAIN + 1 :].sum(1)


def _common(places: list[Placement]) -> list[Placement]:
    """The same blocks and slots for all."""
    block = max(p.plan.block for p in places)
    slots = -(-max(p.plan.slots for p in places) // block) * block
    wide = dataclasses.replace(places[0].plan, block=block, slots=slots)
    return [
        Placement(wide, (p.position // p.plan.slots) * slots + p.position % p.plan.slots, p.work)
        for p in places
    ]


def _stack_held(helds: list[HeldOut], layout: Plan, splits: int) -> HeldOut:
    spec = PartitionSpec(None, DEVICES)
    rows = _stacked([h.rows for h in helds], layout, spec)
    return HeldOut(rows, _stacked([h.segment for h in helds], layout, spec, padding=layout.slots * splits))


def _stacked(trees: list[Any], layout: Plan, spec: PartitionSpec, padding: int = 0) -> Any:
    """Trees of ``[D * n, ...]`` as one of ``[V, D * N, ...]``, N the largest n; shorter ones are padded."""
    D = layout.shards if DEVICES in spec else 1

    def one(*leaves: Array) -> Array:
        cut = [np.asarray(leaf).reshape(D, -1, *leaf.shape[1:]) for leaf in leaves]
        longest = max(part.shape[1] for part in cut)
        out = aligned((len(cut), D, longest, *cut[0].shape[2:]), cut[0].dtype)
        for v, part in enumerate(cut):
            out[v, :, : part.shape[1]] = part
            out[v, :, part.shape[1] :] = padding
        flat = out.reshape(len(cut), D * longest, *cut[0].shape[2:])
        return jax.device_put(flat, NamedSharding(layout.mesh, spec))

    def alone(leaf: Array) -> Array:  # where it lies already
        return jax.device_put(np.asarray(leaf)[None], NamedSharding(layout.mesh, spec))

    return jax.tree.map(one if len(trees) > 1 else alone, *trees)
