"""The derivative of a whole run: of its final loss by step sizes, penalties, mu, or numbers of each hospital.

Forward mode (a Jacobian-vector product for each number): a run's loops have bounds that are only known while
it runs, and forward mode needs neither those nor the memory of all rounds. It costs about two runs for each
number, so it is meant for a handful of them. Franceschi, Donini, Frasconi, Pontil 2017, "Forward and reverse
gradient-based hyperparameter optimization", arXiv:1703.01785.

The loss is differentiable where the run is: cohorts are drawn whatever their rate, so nothing depends on the
rate of Poisson sampling to first order, and clusters are chosen by a minimum.
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

from jaxfed.core.engine import evaluate as predict
from jaxfed.core.engine import rounds as engine
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.layout.plan import Federation, HeldOut, Plan
from jaxfed.core.task import Measure
from jaxfed.spec import paths
from jaxfed.spec.spec import Spec
from jaxfed.training.federated import Federated


class Gradient(NamedTuple):
    """The final loss of a run, and its derivatives.

    Attributes:
        value: the loss over all rows of the split.
        by: derivatives by field; a float, or of a number given per hospital a Series over hospitals.
    """

    value: float
    by: dict[str, float | pd.Series]


def gradient(
    spec: Spec, trainer: Federated, fields: Sequence[str], rounds: int, *, seed: int, split: str
) -> Gradient:
    """See :meth:`jaxfed.Simulation.gradient`; ``trainer`` is that of ``spec``."""
    fields = [fields] if isinstance(fields, str) else [*fields]
    problems = Problems("gradient")
    problems.check(len(fields) > 0, "fields=[]: give at least one, for example ['algorithm.mu']")
    problems.check(split in spec.splits, f"split={split!r}: give one of splits, {', '.join(spec.splits)}")
    problems.check(spec.models is None, "models=...: give one model for all hospitals")
    problems.raise_if_any()
    places = {path: _leaf(spec, path, problems) for path in fields}
    problems.raise_if_any()
    local = trainer.recipe.local
    local = dataclasses.replace(local, problem=local.problem.plain())
    leaves, structure = jax.tree.flatten(dataclasses.replace(trainer.recipe, local=local))
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    final = Final(
        structure=structure,
        rounds=rounds,
        plan=trainer.placement.plan,
        held_plan=trainer.held_placement.plan,
        measure=Measure(spec.hospitals.task),
        metric=spec.hospitals.task.loss,
        split=spec.splits.index(split),
        splits=len(spec.splits),
    )
    value, by = np.nan, {}
    for path, number in places.items():
        each = leaves[number].ndim > 0
        directions = np.eye(leaves[number].size)[trainer.placement.position] if each else np.ones(1)
        slopes = []
        for direction in directions:
            towards = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in leaves]
            towards[number] = jnp.asarray(direction, leaves[number].dtype)
            value, slope = _slope(leaves, towards, trainer.federation, trainer.held, seed, final)
            slopes.append(float(slope))
        by[path] = pd.Series(slopes, spec.hospitals.hospitals, name=path) if each else slopes[0]
    return Gradient(float(value), by)


@dataclasses.dataclass(frozen=True)
class Final:
    """What a run's final loss is, beside its numbers; static."""

    structure: Any
    rounds: int
    plan: Plan
    held_plan: Plan
    measure: Measure
    metric: str
    split: int
    splits: int

    def __call__(self, leaves: list[Array], federation: Federation, held: HeldOut, seed: int) -> Array:
        """The loss of the run whose recipe has these leaves."""
        recipe = self.structure.unflatten(leaves)
        state = engine.start(recipe, self.plan, federation, seed)
        state, _ = engine.advance(recipe, self.plan, federation, state, self.rounds, capacity=1)
        how = {"measure": self.measure, "splits": self.splits}
        pooled = predict.evaluate(recipe, self.held_plan, federation, held, state, **how)[1]
        return pooled[self.metric][self.split]


@partial(jax.jit, static_argnames=("final",))
def _slope(
    leaves: list[Array],
    towards: list[Array],
    federation: Federation,
    held: HeldOut,
    seed: int,
    final: Final,
) -> tuple[Array, Array]:
    """The loss, and its derivative in a direction; whole numbers have none."""
    real = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def loss(numbers: list[Array]) -> Array:
        given = dict(zip(real, numbers, strict=True))
        return final([given.get(i, leaf) for i, leaf in enumerate(leaves)], federation, held, seed)

    return jax.jvp(loss, ([leaves[i] for i in real],), ([towards[i] for i in real],))


def _leaf(spec: Spec, path: str, problems: Problems) -> int:
    """The number of the recipe's leaf that a field is: the one that changes with it."""
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
    (found,) = [i for i, (a, b) in enumerate(pairs) if np.any(np.asarray(a) != np.asarray(b))]
    return found
