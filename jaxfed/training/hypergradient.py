"""The derivative of a run's final loss by step sizes, penalties, mu, or numbers of each hospital.

Derivatives are computed in forward mode, with a Jacobian-vector product for each number: the bounds of a
run's loops are known only while it runs, and forward mode needs neither these bounds in advance nor the
memory of all rounds. It costs about two runs for each number, so it is meant for a few numbers. Franceschi,
Donini, Frasconi, Pontil 2017, "Forward and reverse gradient-based hyperparameter optimization",
arXiv:1703.01785.

Random choices have no derivative: the drawn cohorts do not change with the rate of Poisson sampling, so the
derivative by that rate is 0, and clusters, which are chosen by a minimum, stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from jaxfed.core.engine import runs, slots
from jaxfed.core.engine.recipe import Plans
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.hyperparameters import PerHospital, padded
from jaxfed.core.task import Measure
from jaxfed.spec import paths
from jaxfed.spec.spec import Spec
from jaxfed.training.trainer import Trainer


class Gradient(NamedTuple):
    """The final loss of a run, and its derivatives.

    Attributes:
        value: the loss over all rows of the split.
        by: derivatives by field; a float, or a Series over hospitals for a number given per hospital.
    """

    value: float
    by: dict[str, float | pd.Series]


def gradient(
    spec: Spec, trainer: Trainer, fields: Sequence[str], rounds: int, *, seed: int, split: str
) -> Gradient:
    """See :meth:`jaxfed.Simulation.gradient`; ``trainer`` is the trainer of ``spec``."""
    fields = [fields] if isinstance(fields, str) else [*fields]
    problems = Problems("gradient")
    problems.check(len(fields) > 0, "fields=[]: give at least one, for example ['algorithm.mu']")
    problems.check(split in spec.splits, f"split={split!r}: give one of splits, {', '.join(spec.splits)}")
    problems.check(spec.models is None, "models=...: give one model for all hospitals")
    problems.raise_if_any()
    places = {path: _leaf(spec, path, problems) for path in fields}
    problems.raise_if_any()
    recipe = padded(spec.recipe, trainer.plan.clients)
    plain = tuple(dataclasses.replace(local, problem=local.problem.plain()) for local in recipe.locals)
    leaves, structure = jax.tree.flatten(dataclasses.replace(recipe, locals=plain))
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    final = Final(
        structure=structure,
        rounds=spec.within_budget(rounds),
        plans=trainer.placed.plans,
        evaluation_plans=trainer.placed.evaluation_plans,
        measure=Measure(spec.hospitals.task),
        metric=spec.hospitals.task.loss,
        split=spec.splits.index(split),
        splits=len(spec.splits),
    )
    value, by = np.nan, {}
    for path, number in places.items():
        each = leaves[number].ndim > 0
        directions = np.eye(leaves[number].size)[: len(spec.hospitals)] if each else np.ones(1)
        slopes = []
        for direction in directions:
            towards = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in leaves]
            towards[number] = jnp.asarray(direction, leaves[number].dtype)
            value, slope = _slope(leaves, towards, trainer.placed.data, seed, final)
            slopes.append(float(slope))
        by[path] = pd.Series(slopes, spec.hospitals.hospitals, name=path) if each else slopes[0]
    return Gradient(float(value), by)


@dataclasses.dataclass(frozen=True)
class Final:
    """The final loss of a run as a function of the recipe's leaves; the fields are static."""

    structure: Any
    rounds: int
    plans: Plans
    evaluation_plans: Plans
    measure: Measure
    metric: str
    split: int
    splits: int

    def __call__(self, leaves: list[Array], data: slots.Data, seed: int) -> Array:
        """The loss of the run whose recipe has these leaves."""
        given = slots.RunInput(self.structure.unflatten(leaves), seed, 0)
        slot = slots.empty(given, data, plans=self.plans, together=1)
        command = runs.SlotCommand(
            np.ones(1, bool), np.zeros(1, bool), np.full((1, 1), self.rounds, np.int32), np.ones((1, 1), bool)
        )
        _, results = runs.advanced(
            jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], given),
            slot,
            command,
            data,
            plans=self.plans,
            evaluation_plans=self.evaluation_plans,
            together=1,
            measure=self.measure,
            splits=self.splits,
            log=0,
        )
        return results.pooled[self.metric][0, 0, self.split]


@partial(jax.jit, static_argnames=("final",))
def _slope(
    leaves: list[Array],
    towards: list[Array],
    data: slots.Data,
    seed: int,
    final: Final,
) -> tuple[Array, Array]:
    """The loss, and its derivative in a direction; whole numbers have none."""
    real = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def loss(numbers: list[Array]) -> Array:
        given = dict(zip(real, numbers, strict=True))
        return final([given.get(i, leaf) for i, leaf in enumerate(leaves)], data, seed)

    return jax.jvp(loss, ([leaves[i] for i in real],), ([towards[i] for i in real],))


def _leaf(spec: Spec, path: str, problems: Problems) -> int:
    """The index of the recipe's leaf for a field, which is the leaf that changes with the field."""
    if path.split(".")[0] in paths.APART or not paths.has(spec, path):
        problems.add(paths.unknown(spec, path))
        return -1
    now = paths.get(spec, path)
    each = isinstance(now, PerHospital)
    number = np.asarray(jax.tree.leaves(now)[0] if each else now)
    if not np.issubdtype(number.dtype, np.floating):
        problems.add(f"{path}={now!r}: give a field that is a number, and no whole one; it has no derivative")
        return -1
    other = PerHospital(number + 0.5, now.names) if each else now + 0.5
    parts = {name: getattr(spec, name) for name in paths.children(spec)}
    try:
        changed = Spec(**paths.replace(parts, path, other)).recipe
    except InvalidInput as error:
        problems.add(str(error))
        return -1
    pairs = zip(jax.tree.leaves(spec.recipe), jax.tree.leaves(changed), strict=True)
    (index,) = [i for i, (a, b) in enumerate(pairs) if np.any(np.asarray(a) != np.asarray(b))]
    return index
