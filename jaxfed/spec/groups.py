"""Which hospital has which model: what a user says of groups, checked, and made into a trainer."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxfed.algorithms import mixed
from jaxfed.core import hyperparameters as values
from jaxfed.core.engine.groups import GroupRecipe
from jaxfed.core.errors import Problems
from jaxfed.core.group_algorithm import MixedAlgorithm
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.types import CoordinateRule, PyTree, Variables
from jaxfed.spec.costs import Costs, costs_of_groups
from jaxfed.spec.shapes import variables_of
from jaxfed.storage.fingerprint import settings
from jaxfed.training.grouped import Grouped

if TYPE_CHECKING:
    from jaxfed.simulation import Simulation

ALL = "all"  # the one group where no groups are given


def trainer(sim: Simulation) -> Grouped:
    """The trainer of a simulation with an algorithm for groups."""
    names = tuple(sim._locals)
    locals = tuple(sim._locals.values())
    recipe = GroupRecipe(sim.algorithm, locals, sim.aggregator, sim.participation)  # type: ignore[arg-type]
    shapes = {name: variables_of(sim, local) for name, local in sim._locals.items()}
    return Grouped(
        unplaced=values.in_order(recipe, sim.hospitals.hospitals),
        hospitals=sim.hospitals,
        names=names,
        group=np.array([names.index(name) for name in _by_hospital(sim)]),
        parameters=tuple(
            sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes[name].params)) for name in names
        ),
        splits=sim.splits,
        description=sim.describe(),
        identity=partial(settings, sim),
        wanted_devices=sim.devices,
        wanted_blocks=None if sim.block is None else (sim.block,) * len(names),
    )


def check_groups(sim: Simulation, problems: Problems) -> None:
    """Whether every hospital has one of the models, every model a hospital, and the algorithm fits."""
    if sim.models is None:
        problems.check(sim.groups is None, "groups: say what they train, models={'clinic': logistic(), ...}")
        return
    if not isinstance(sim.models, Mapping) or not sim.models:
        problems.add(f"models={sim.models!r}: give {{group: model}}, such as {{'clinic': logistic(), ...}}")
        return
    problems.check(
        not isinstance(sim.aggregator, CoordinateRule),
        f"aggregator={sim.aggregator!r}: needs every upload, and groups of models have uploads of several "
        "kinds; give WeightedMean()",
    )
    if not isinstance(sim.algorithm, MixedAlgorithm):
        name = type(sim.algorithm).__name__
        problems.add(
            f"algorithm={name}: it needs one model for all hospitals; with models=... give one of "
            f"{', '.join(mixed.__all__)} from jaxfed.algorithms.mixed, or model=... instead of models"
        )
    problems.check(
        sim.evaluate_on is None,
        "evaluate_on: with models=... hospitals are evaluated with their own; leave it out",
    )
    for name, model in sim.models.items():
        try:
            as_model(model)
        except TypeError as error:
            problems.add(f"models[{name!r}]: {error}")
    _check_members(sim, problems)


def check_algorithm(
    sim: Simulation, variables: Mapping[str, Variables], x: PyTree, problems: Problems
) -> None:
    """Whether groups have a common form, and what else the algorithm finds; ``x`` a batch, shapes only."""
    recipe = sim._trainer.unplaced
    algorithm: Any = recipe.algorithm
    before = problems.count
    for found in algorithm.problems(dict(zip(sim._locals, recipe.locals, strict=True)), variables, x):
        problems.add(f"{type(algorithm).__name__}: {found}")
    if problems.count > before:
        return
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), x)
    key = jax.eval_shape(lambda: jax.random.key(0))
    forms = {
        name: jax.tree.map(
            lambda leaf: (leaf.shape, str(leaf.dtype)),
            jax.eval_shape(algorithm.begin, local, variables[name], one, key),
        )
        for name, local in sim._locals.items()
    }
    (first, form), *others = forms.items()
    for name, other in others:
        problems.check(
            other == form,
            f"models: groups {first!r} and {name!r} have no common form, {form} and {other}; give models "
            f"that {type(algorithm).__name__} can compare",
        )


def costs(sim: Simulation) -> list[Costs]:
    """What a round costs each hospital, in the data set's order."""
    names = list(sim._locals)
    found = costs_of_groups(sim._trainer.unplaced, sim.hospitals.x, sim.hospitals.y)
    return [found[names.index(name)] for name in _by_hospital(sim)]


def _by_hospital(sim: Simulation) -> list[str]:
    """The group of each hospital, in the data set's order."""
    hospitals = sim.hospitals.hospitals
    if sim.groups is None:
        return [next(iter(sim._locals))] * len(hospitals)
    if not isinstance(sim.groups, Mapping):
        return list(sim.groups)
    named = {str(hospital): group for hospital, group in sim.groups.items()}
    return [named[hospital] for hospital in hospitals]


def _check_members(sim: Simulation, problems: Problems) -> None:
    hospitals, given = sim.hospitals.hospitals, sim.groups
    models: Mapping[str, Any] = sim.models or {}
    if given is None:
        problems.check(
            len(models) == 1,
            f"groups: say which hospital has which of {', '.join(models)}; give {{hospital: group}}",
        )
        return
    if isinstance(given, Mapping):
        given = {str(hospital): group for hospital, group in given.items()}
        for name in given:
            problems.check(name in hospitals, f"groups: no hospital {name!r}; {_near(name, hospitals)}")
        without = [name for name in hospitals if name not in given]
        problems.check(
            not without,
            f"groups: no group for {_some(without)}; give every hospital one of {', '.join(models)}",
        )
        members = list(given.values())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        members = list(given)
        problems.check(
            len(members) == len(hospitals),
            f"groups: {len(members)} for {len(hospitals)} hospitals; give one for each, in their order",
        )
    else:
        problems.add(f"groups={given!r}: give {{hospital: group}}, or one group for each hospital")
        return
    for name in dict.fromkeys(members):
        problems.check(name in models, f"groups: no model {name!r} in models; {_near(name, models)}")
    for name in models:
        problems.check(
            name in members, f"models[{name!r}]: no hospital has it; leave it out, or change groups"
        )


def _near(given: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(given), [str(name) for name in known], n=2)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {_some(list(known))}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
