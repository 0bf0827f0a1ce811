"""Configurations that run through one compiled program.

They belong to one group if their recipes differ in numbers only; their data sets may differ too.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import Dataset
from jaxfed.core.engine import runs as slots
from jaxfed.records.history import Arrays
from jaxfed.spec.shapes import variables_of
from jaxfed.sweep.datasets import Layout, lay_out, work_of
from jaxfed.sweep.packing import side_by_side, size_of
from jaxfed.sweep.trials import Configuration

if TYPE_CHECKING:
    from jaxfed.simulation import Simulation


def groups_of(configurations: list[Configuration], together: int | None, memory: int | None) -> list[Group]:
    """One group for each program, in the order of their first configurations.

    Raises:
        InvalidInput: some run does not fit into the memory.
    """
    found: dict[Any, dict[int, Configuration]] = {}
    for configuration in configurations:
        found.setdefault(_signature(configuration), {})[configuration.number] = configuration
    groups = [Group(members, together, memory) for members in found.values()]
    for group in groups:
        group.cut  # noqa: B018 - raises before anything starts
    return groups


def _signature(configuration: Configuration) -> Any:
    """What a program is compiled for, as far as it is not the same in the whole sweep."""
    sim = configuration.sim
    leaves, structure = jax.tree.flatten(sim._unplaced)
    kinds = tuple(type(leaf) if isinstance(leaf, (int, float)) else _kind(leaf) for leaf in leaves)
    own = sim.hospitals
    rows, tree = jax.tree.flatten((own.x, own.y))
    shapes = tuple((leaf.shape[1:], leaf.dtype) for leaf in rows)
    return structure, kinds, tree, shapes, own.task, own.outputs, sim.evaluate_on is None


def _kind(leaf: Any) -> Any:
    return np.shape(leaf), str(np.asarray(leaf).dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Configurations of one program.

    Attributes:
        members: they, by number.
        wanted, memory: see :func:`jaxfed.sweep.packing.side_by_side`.
    """

    members: dict[int, Configuration]
    wanted: int | None
    memory: int | None = None

    @property
    def sim(self) -> Simulation:
        """The simulation of one of them, for what they have in common."""
        return next(iter(self.members.values())).sim

    @cached_property
    def layout(self) -> Layout:
        """Where the hospitals lie."""
        key = {k: (c.sim.hospitals, c.sim.subjects) for k, c in self.members.items()}
        sims = {key[k]: c.sim for k, c in reversed(self.members.items())}
        number = {pair: v for v, pair in enumerate(dict.fromkeys(key.values()))}
        return lay_out([sims[pair] for pair in number], {k: number[key[k]] for k in key}, self.cut[0])

    def forget(self) -> None:
        """Give the memory of the hospitals back, until they are needed again."""
        self.__dict__.pop("layout", None)

    @cached_property
    def cut(self) -> tuple[int, int]:
        """Into how many groups devices are cut, and how many runs each has at a time."""
        sims = [c.sim for c in self.members.values()]
        datasets = {id(data): data for sim in sims for data in (sim.hospitals, sim.subjects)}
        rows = max(size_of((data.x, data.y)) for data in datasets.values()) * len(datasets)
        state = max(_state_size(sim) for sim in {id(s.hospitals): s for s in sims}.values())
        devices = self.sim.devices or len(jax.devices())
        return side_by_side(len(sims), devices, self.wanted, state, rows, self.memory)

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
        recipe = values.lay_out(member.sim._unplaced, place.position, place.plan.places)
        return slots.Configuration(recipe, member.seed, which)

    def by_hospital(self, k: int, single: Arrays, pooled: Arrays) -> tuple[Dataset, Arrays, Arrays]:
        """What was measured of configuration ``k``, ``[C, S]`` in the order of its hospitals, and ``[S]``."""
        position = self.layout.held_places[self.layout.which[k]].position
        own = {name: found[position] for name, found in single.items()}
        return self.members[k].sim.subjects, own, pooled

    def work(self, k: int) -> float:
        """Cost of a round of configuration ``k``, in any unit."""
        sim = self.members[k].sim
        what = (sim.hospitals, sim.epochs, sim.steps)
        if what not in self._work:
            self._work[what] = float(max(work_of(sim).sum(), 1))
        return self._work[what]

    @cached_property
    def _work(self) -> dict[Any, float]:
        return {}


def _state_size(sim: Simulation) -> int:
    """Bytes of a run's state."""
    recipe = sim._unplaced
    recipe = values.at_round(recipe, jnp.zeros((), jnp.int32))
    init = partial(recipe.algorithm.init, places=len(sim.hospitals))
    server, client = jax.eval_shape(lambda v: init(v, jax.random.key(0)), variables_of(sim, recipe.local))
    return size_of(server) + len(sim.hospitals) * size_of(client)
