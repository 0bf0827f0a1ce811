"""Data sets on the devices, with the same layout for all, so that the same program runs them all.

A run has one data set, a sweep may have several. All have the layout that the largest needs; smaller ones
have empty places and padding rows that are never read. Rows are copied to the devices once, even if several
simulations with the same layout use a data set.
"""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxfed.core import hyperparameters
from jaxfed.core.dataset import SPLITS, TRAIN
from jaxfed.core.engine.recipe import Plans
from jaxfed.core.engine.runs import Data
from jaxfed.core.layout import memory
from jaxfed.core.layout.plan import Placement, place_groups
from jaxfed.core.layout.store import TrainingData, evaluation_data, training_data
from jaxfed.runtime.cache import keep_compiled_programs
from jaxfed.spec.shapes import variables_of
from jaxfed.spec.spec import Spec

OVERHEAD = 10_000  # parameters whose computation costs as much as the fixed cost of a row

_shared: weakref.WeakValueDictionary[Any, TrainingData] = weakref.WeakValueDictionary()


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
    """V data sets of G groups of hospitals on the devices.

    Attributes:
        specs: a specification for each data set; the first determines the layout.
        placements: ``[V][G]`` the placements of the hospitals that train.
        evaluation_placements: ``[V][G]`` the placements of the hospitals that are evaluated.
    """

    specs: tuple[Spec, ...]
    placements: tuple[tuple[Placement, ...], ...]
    evaluation_placements: tuple[tuple[Placement, ...], ...]

    @property
    def plans(self) -> Plans:
        """The static part of each group's layout."""
        return tuple(placement.plan for placement in self.placements[0])

    @property
    def evaluation_plans(self) -> Plans:
        """The static part of each group's layout for evaluation."""
        return tuple(placement.plan for placement in self.evaluation_placements[0])

    @cached_property
    def data(self) -> Data:
        """The rows on the devices; they are copied at the first access."""
        first = self.specs[0]
        for spec in self.specs:
            memory.check_rows(self.plans[0], spec.hospitals)
        splits = tuple(SPLITS.index(name) for name in first.splits)
        train, evaluation = [], []
        for g in range(len(self.plans)):
            train.append(self._training_data(g))
            members = [members_of(spec.evaluation_group_of, spec)[g] for spec in self.specs]
            placements = [by_group[g] for by_group in self.evaluation_placements]
            hospitals = [spec.evaluation_hospitals for spec in self.specs]
            evaluation.append(evaluation_data(hospitals, placements, members, splits))
        return Data(tuple(train), tuple(evaluation))

    def _training_data(self, g: int) -> TrainingData:
        hospitals = [spec.hospitals for spec in self.specs]
        placements = [by_group[g] for by_group in self.placements]
        members = [members_of(spec.group_of, spec)[g] for spec in self.specs]
        layout = tuple((p.position.tobytes(), m.tobytes()) for p, m in zip(placements, members, strict=True))
        key = (tuple(hospitals), placements[0].plan, layout, jax.config.jax_enable_x64)  # type: ignore[attr-defined]
        data = _shared.get(key)
        if data is None:
            data = training_data(hospitals, placements, members)
            _shared[key] = data
        return data


def lay_out(
    specs: Sequence[Spec],
    blocks: Sequence[int | None],
    *,
    devices: int | None = None,
    configs: int = 1,
    evaluation_blocks: Sequence[int | None] | None = None,
) -> Placed:
    """Place the hospitals of several specifications on each of ``configs`` sets of devices.

    The programs that are compiled for them are kept on disk (:mod:`jaxfed.runtime.cache`).

    Args:
        specs: one for each data set; they differ in hospitals and numbers only.
        blocks: for each group, the hospitals side by side on a device; None as in :func:`place_groups`.
        devices: number of devices of each set; None for all that the hospitals with work can fill.
        configs: number of sets of devices.
        evaluation_blocks: the blocks of the evaluated hospitals if these are others; None for ``blocks``.
    """
    keep_compiled_programs()
    clients = max(len(spec.hospitals) for spec in specs)
    options: dict[str, Any] = {"devices": devices, "configs": configs}
    works = [work_of(spec) for spec in specs]
    placements = _alike([place_groups(work, blocks, clients=clients, **options) for work in works])
    if all(spec.evaluate_on is None for spec in specs):
        return Placed(tuple(specs), placements, placements)
    options["devices"] = placements[0][0].plan.devices_per_run
    clients = max(len(spec.evaluation_hospitals) for spec in specs)
    evaluated = _alike(
        [
            place_groups(_evaluation_work(spec), evaluation_blocks or blocks, clients=clients, **options)
            for spec in specs
        ]
    )
    return Placed(tuple(specs), placements, evaluated)


def work_of(spec: Spec) -> list[np.ndarray]:
    """For each group, ``[hospitals of the group]`` the work by which devices are balanced."""
    locals = spec.recipe.locals
    if len(locals) == 1:
        local = hyperparameters.at_hospital(locals[0], ...)
        return [np.asarray(local.work(spec.hospitals.counts[:, TRAIN])) + _extra(spec)]
    return [
        rows * (OVERHEAD + parameters)
        for rows, parameters in zip(rows_of(spec), parameters_of(spec), strict=True)
    ]


def rows_of(spec: Spec) -> list[np.ndarray]:
    """For each group, ``[hospitals of the group]`` the rows on which a hospital trains in a round."""
    sizes, rows = spec.hospitals.counts[:, TRAIN], []
    extra = spec.recipe.algorithm.extra_rows() * (sizes > 0)
    for local, members in zip(spec.recipe.locals, members_of(spec.group_of, spec), strict=True):
        work = np.asarray(hyperparameters.at_hospital(local, ...).work(sizes)) * (local.batch_size or 1)
        rows.append((work + extra)[members])
    return rows


def parameters_of(spec: Spec) -> list[int]:
    """The number of parameters of each group's model."""
    variables = [variables_of(spec, local) for local in spec.recipe.locals]
    return [sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(v.params)) for v in variables]


def members_of(group_of: Sequence[str], spec: Spec) -> list[np.ndarray]:
    """The numbers of the hospitals in each group."""
    names = np.array(group_of)
    return [np.flatnonzero(names == name) for name in spec.local_trainings]


def _extra(spec: Spec) -> Any:
    local, sizes = spec.recipe.locals[0], spec.hospitals.counts[:, TRAIN]
    extra = spec.recipe.algorithm.extra_rows()
    return -(-extra // (local.batch_size or 1)) * (sizes > 0) if extra else 0


def _evaluation_work(spec: Spec) -> list[np.ndarray]:
    work = spec.evaluation_hospitals.counts[:, TRAIN + 1 :].sum(1)
    return [work[members] for members in members_of(spec.evaluation_group_of, spec)]


def _alike(placements: list[list[Placement]]) -> tuple[tuple[Placement, ...], ...]:
    """Placements with the same blocks and slots for all data sets, group by group."""
    columns = []
    for group in zip(*placements, strict=True):
        block = max(p.plan.block for p in group)
        slots = -(-max(p.plan.slots for p in group) // block) * block
        plan = dataclasses.replace(group[0].plan, block=block, slots=slots)
        columns.append(
            [
                Placement(plan, (p.position // p.plan.slots) * slots + p.position % p.plan.slots, p.work)
                for p in group
            ]
        )
    return tuple(zip(*columns, strict=True))
