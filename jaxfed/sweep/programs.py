"""Trials that share a compiled program.

Trials share a program if their recipes differ in numbers only; their data sets may differ too.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxfed.core import hyperparameters
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.engine import runs, slots
from jaxfed.records.history import Arrays
from jaxfed.spec.shapes import variables_of
from jaxfed.spec.spec import Spec
from jaxfed.sweep.packing import side_by_side, size_of
from jaxfed.sweep.trials import Trial
from jaxfed.training.judgement import judged_blocks
from jaxfed.training.placed import Placed, lay_out, work_of
from jaxfed.training.stretch import most_evaluations


def programs_of(trials: list[Trial], together: int | None, memory: int | None) -> list[Program]:
    """The programs that the trials need, in the order of their first trials.

    Raises:
        InvalidInput: a run does not fit into the memory.
    """
    members: dict[Any, dict[int, Trial]] = {}
    for trial in trials:
        members.setdefault(_signature(trial), {})[trial.number] = trial
    programs = [Program(m, together, memory) for m in members.values()]
    for program in programs:
        program.cut  # noqa: B018 - raises before anything starts
    return programs


def _signature(trial: Trial) -> Any:
    """Everything that a program is compiled for and that may differ between the trials of a sweep."""
    spec, data = trial.spec, trial.hospitals
    leaves, structure = jax.tree.flatten(spec.recipe)
    kinds = tuple(type(leaf) if isinstance(leaf, (int, float)) else _kind(leaf) for leaf in leaves)
    rows, tree = jax.tree.flatten((data.x, data.target))
    shapes = tuple((leaf.shape[1:], leaf.dtype) for leaf in rows)
    return structure, kinds, tree, shapes, data.task, data.outputs, spec.evaluate_on is None


def _kind(leaf: Any) -> Any:
    return np.shape(leaf), str(np.asarray(leaf).dtype)


@dataclasses.dataclass(eq=False)
class Program:
    """The trials of a compiled program.

    Attributes:
        members: the trials, by number.
        wanted, memory: see :func:`jaxfed.sweep.packing.side_by_side`.
    """

    members: dict[int, Trial]
    wanted: int | None
    memory: int | None = None

    @property
    def spec(self) -> Spec:
        """The specification of the first trial, for the fields that all trials have in common."""
        return next(iter(self.members.values())).spec

    @cached_property
    def placed(self) -> Placed:
        """The placement of the hospitals."""
        specs = {self._data_of(k): trial.spec for k, trial in reversed(self.members.items())}
        first, sets = self.spec, self.cut[0]
        busy = min(int((s.hospitals.counts[:, TRAIN] > 0).sum()) for s in specs.values())
        devices = max(1, min((first.devices or len(jax.devices())) // sets, busy))
        return lay_out(
            [specs[pair] for pair in self._datasets], judged_blocks(first), devices=devices, configs=sets
        )

    @cached_property
    def _datasets(self) -> dict[tuple[Dataset, Dataset], int]:
        """The number of each pair of data sets: hospitals that train and hospitals that are evaluated."""
        return {pair: v for v, pair in enumerate(dict.fromkeys(map(self._data_of, self.members)))}

    def _data_of(self, k: int) -> tuple[Dataset, Dataset]:
        return self.members[k].hospitals, self.members[k].evaluation_hospitals

    def release(self) -> None:
        """Free the memory of the hospitals' rows; they are copied again when they are needed."""
        self.__dict__.pop("placed", None)

    @cached_property
    def cut(self) -> tuple[int, int]:
        """The number of sets of devices, and the number of runs side by side in each set."""
        specs = [trial.spec for trial in self.members.values()]
        datasets = {id(data): data for spec in specs for data in (spec.hospitals, spec.evaluation_hospitals)}
        rows = max(size_of((data.x, data.target)) for data in datasets.values()) * len(datasets)
        state = max(_state_size(spec) for spec in {id(s.hospitals): s for s in specs}.values())
        devices = self.spec.devices or len(jax.devices())
        return side_by_side(len(specs), devices, self.wanted, state, rows, self.memory)

    @property
    def together(self) -> int:
        """The number of slots of each set of devices."""
        return self.cut[1]

    @property
    def width(self) -> int:
        """W: the number of trials in progress at the same time."""
        return self.placed.plans[0].configs * self.together

    @property
    def segments(self) -> int:
        """The number of segments of a call."""
        return most_evaluations(len(self.spec.evaluation_hospitals))

    def put(self, tree: Any) -> Any:
        """Copy a tree of arrays ``[W, ...]`` from the host to the devices of the slots."""
        return jax.device_put(tree, NamedSharding(self.placed.plans[0].mesh, slots.RUNS))

    def inputs(self, numbers: list[int]) -> slots.RunInput:
        """``[W, ...]``: the program's inputs for these trials."""
        each = {k: self._input(k) for k in numbers}
        # jnp.asarray keeps Python's numbers weakly typed, as in a single run
        stack = lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves])  # noqa: E731
        return self.put(jax.tree.map(stack, *(each[k] for k in numbers)))

    def empty(self) -> slots.Slot:
        """Empty slots for this program."""
        given, placed = self._input(next(iter(self.members))), self.placed
        return slots.empty(given, placed.data, plans=placed.plans, together=self.together)

    def advance(
        self, inputs: slots.RunInput, before: slots.Slot, commands: runs.SlotCommand
    ) -> tuple[slots.Slot, runs.Results]:
        """Call the program; the results are on the host."""
        new, results = runs.advance(
            inputs,
            before,
            self.put(commands),
            self.placed.data,
            plans=self.placed.plans,
            evaluation_plans=self.placed.evaluation_plans,
            together=self.together,
            measure=self.spec.measure,
            splits=len(self.spec.splits),
            log=0,
        )
        return new, runs.on_host(results)

    def _input(self, k: int) -> slots.RunInput:
        trial = self.members[k]
        recipe = hyperparameters.padded(trial.spec.recipe, self.placed.plans[0].clients)
        return slots.RunInput(recipe, trial.seed, self._datasets[self._data_of(k)])

    def by_hospital(self, k: int, single: Arrays, pooled: Arrays) -> tuple[Dataset, Arrays, Arrays]:
        """The hospitals of trial ``k`` and its metrics, ``[C, S]`` in their order and ``[S]``."""
        hospitals = self.members[k].evaluation_hospitals
        return hospitals, {name: values[: len(hospitals)] for name, values in single.items()}, pooled

    def work(self, k: int) -> float:
        """The cost of a round of trial ``k``, in any unit."""
        spec = self.members[k].spec
        what = (spec.hospitals, spec.epochs, spec.steps)
        if what not in self._work:
            self._work[what] = float(max(sum(work.sum() for work in work_of(spec)), 1))
        return self._work[what]

    @cached_property
    def _work(self) -> dict[Any, float]:
        return {}


def _state_size(spec: Spec) -> int:
    """The bytes of the algorithm's state in a run."""
    recipe = hyperparameters.at_round(spec.recipe, jnp.zeros((), jnp.int32))
    size = 0
    for local, name in zip(recipe.locals, spec.local_trainings, strict=True):

        def init(variables: Any, local: Any = local) -> Any:
            return recipe.algorithm.init(local, variables, jax.random.key(0), len(spec.hospitals))

        server, client = jax.eval_shape(init, variables_of(spec, local))
        size += size_of(server) + spec.group_of.count(name) * size_of(client)
    return size
