"""Configurations that run through one compiled program.

They belong to one group if their recipes differ in numbers only; their data sets may differ too.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import Dataset
from jaxfed.core.engine import runs as slots
from jaxfed.records.history import Arrays
from jaxfed.spec.shapes import variables_of
from jaxfed.spec.spec import Spec
from jaxfed.sweep.datasets import Layout, lay_out, work_of
from jaxfed.sweep.packing import side_by_side, size_of
from jaxfed.sweep.trials import Trial


def groups_of(trials: list[Trial], together: int | None, memory: int | None) -> list[Group]:
    """One group for each program, in the order of their first configurations.

    Raises:
        InvalidInput: some run does not fit into the memory.
    """
    found: dict[Any, dict[int, Trial]] = {}
    for trial in trials:
        found.setdefault(_signature(trial), {})[trial.number] = trial
    groups = [Group(members, together, memory) for members in found.values()]
    for group in groups:
        group.cut  # noqa: B018 - raises before anything starts
    return groups


def _signature(trial: Trial) -> Any:
    """What a program is compiled for, as far as it is not the same in the whole sweep."""
    spec = trial.spec
    leaves, structure = jax.tree.flatten(spec.recipe)
    kinds = tuple(type(leaf) if isinstance(leaf, (int, float)) else _kind(leaf) for leaf in leaves)
    own = spec.hospitals
    rows, tree = jax.tree.flatten((own.x, own.y))
    shapes = tuple((leaf.shape[1:], leaf.dtype) for leaf in rows)
    return structure, kinds, tree, shapes, own.task, own.outputs, spec.evaluate_on is None


def _kind(leaf: Any) -> Any:
    return np.shape(leaf), str(np.asarray(leaf).dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Configurations of one program.

    Attributes:
        members: they, by number.
        wanted, memory: see :func:`jaxfed.sweep.packing.side_by_side`.
    """

    members: dict[int, Trial]
    wanted: int | None
    memory: int | None = None

    @property
    def spec(self) -> Spec:
        """The specification of one of them, for what they have in common."""
        return next(iter(self.members.values())).spec

    @cached_property
    def layout(self) -> Layout:
        """Where the hospitals lie."""
        key = {k: (c.hospitals, c.evaluation_hospitals) for k, c in self.members.items()}
        specs = {key[k]: c.spec for k, c in reversed(self.members.items())}
        number = {pair: v for v, pair in enumerate(dict.fromkeys(key.values()))}
        return lay_out([specs[pair] for pair in number], {k: number[key[k]] for k in key}, self.cut[0])

    def forget(self) -> None:
        """Give the memory of the hospitals back, until they are needed again."""
        self.__dict__.pop("layout", None)

    @cached_property
    def cut(self) -> tuple[int, int]:
        """Into how many groups devices are cut, and how many runs each has at a time."""
        specs = [c.spec for c in self.members.values()]
        datasets = {id(data): data for spec in specs for data in (spec.hospitals, spec.evaluation_hospitals)}
        rows = max(size_of((data.x, data.y)) for data in datasets.values()) * len(datasets)
        state = max(_state_size(spec) for spec in {id(s.hospitals): s for s in specs}.values())
        devices = self.spec.devices or len(jax.devices())
        return side_by_side(len(specs), devices, self.wanted, state, rows, self.memory)

    @property
    def together(self) -> int:
        """Slots of each group of devices."""
        return self.cut[1]

    @property
    def width(self) -> int:
        """W: how many configurations are on their way at a time."""
        return self.layout.plan.configs * self.together

    def put(self, tree: Any) -> Any:
        """``[W, ...]`` of the host to where the slots are."""
        return jax.device_put(tree, NamedSharding(self.layout.plan.mesh, slots.RUNS))

    def configurations(self, numbers: list[int]) -> slots.Configuration:
        """``[W, ...]``: what the program is told of these."""
        own = {k: self._configuration(k) for k in numbers}
        # Python's numbers have no type of their own, and keep none: as in a single run
        together = lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves])  # noqa: E731
        return self.put(jax.tree.map(together, *(own[k] for k in numbers)))

    def empty(self) -> slots.Slot:
        """Slots with nothing in them."""
        some = self._configuration(next(iter(self.members)))
        return slots.empty(some, self.layout.data, plan=self.layout.plan, together=self.together)

    def _configuration(self, k: int) -> slots.Configuration:
        member, which = self.members[k], self.layout.which[k]
        place = self.layout.places[which]
        recipe = values.lay_out(member.spec.recipe, place.position, place.plan.places)
        return slots.Configuration(recipe, member.seed, which)

    def by_hospital(self, k: int, single: Arrays, pooled: Arrays) -> tuple[Dataset, Arrays, Arrays]:
        """What was measured of configuration ``k``, ``[C, S]`` in the order of its hospitals, and ``[S]``."""
        position = self.layout.held_places[self.layout.which[k]].position
        own = {name: found[position] for name, found in single.items()}
        return self.members[k].evaluation_hospitals, own, pooled

    def work(self, k: int) -> float:
        """Cost of a round of configuration ``k``, in any unit."""
        spec = self.members[k].spec
        what = (spec.hospitals, spec.epochs, spec.steps)
        if what not in self._work:
            self._work[what] = float(max(work_of(spec).sum(), 1))
        return self._work[what]

    @cached_property
    def _work(self) -> dict[Any, float]:
        return {}


def _state_size(spec: Spec) -> int:
    """Bytes of a run's state."""
    recipe = spec.recipe
    recipe = values.at_round(recipe, jnp.zeros((), jnp.int32))
    init = partial(recipe.algorithm.init, places=len(spec.hospitals))
    server, client = jax.eval_shape(lambda v: init(v, jax.random.key(0)), variables_of(spec, recipe.local))
    return size_of(server) + len(spec.hospitals) * size_of(client)
