"""Checks of groups: the assignment of different models to hospitals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxfed.algorithms import mixed
from jaxfed.core.errors import Problems, did_you_mean, listed
from jaxfed.core.group_algorithm import GroupAlgorithm
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.types import PyTree, Variables
from jaxfed.spec.spec import Spec


def check_groups(spec: Spec, problems: Problems) -> None:
    """Record problems unless every hospital has a model, every model a hospital, and the algorithm fits."""
    if spec.models is None:
        problems.check(spec.groups is None, "groups: say what they train, models={'clinic': logistic(), ...}")
        return
    if not isinstance(spec.models, Mapping) or not spec.models:
        problems.add(f"models={spec.models!r}: give {{group: model}}, such as {{'clinic': logistic(), ...}}")
        return
    if not isinstance(spec.algorithm, GroupAlgorithm):
        name = type(spec.algorithm).__name__
        problems.add(
            f"algorithm={name}: it needs one model for all hospitals; with models=... give one of "
            f"{', '.join(mixed.__all__)} from jaxfed.algorithms.mixed, or model=... instead of models"
        )
    for name, model in spec.models.items():
        try:
            as_model(model)
        except TypeError as error:
            problems.add(f"models[{name!r}]: {error}")
    _check_members(spec, problems)
    _check_evaluated(spec, problems)


def check_algorithm(spec: Spec, variables: Mapping[str, Variables], x: PyTree, problems: Problems) -> None:
    """Record the algorithm's problems, and groups without a common form; ``x`` is a batch (shapes only)."""
    recipe = spec.recipe
    algorithm: Any = recipe.algorithm
    before = problems.count
    for problem in algorithm.problems(
        dict(zip(spec.local_trainings, recipe.locals, strict=True)), variables, x
    ):
        problems.add(f"{spec.name}: {problem}")
    if problems.count > before:
        return
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), x)
    key = jax.eval_shape(lambda: jax.random.key(0))
    forms = {
        name: jax.tree.map(
            lambda leaf: (leaf.shape, str(leaf.dtype)),
            jax.eval_shape(algorithm.begin, local, variables[name], row, key),
        )
        for name, local in spec.local_trainings.items()
    }
    (first, form), *others = forms.items()
    for name, other in others:
        problems.check(
            other == form,
            f"models: groups {first!r} and {name!r} have no common form, {form} and {other}; give models "
            f"that {type(algorithm).__name__} can compare",
        )


def _check_evaluated(spec: Spec, problems: Problems) -> None:
    """Record a problem unless every hospital that is evaluated has a model."""
    if spec.evaluate_on is None or spec.groups is None:
        return
    known = {*spec.hospitals.hospitals, *(spec.groups if isinstance(spec.groups, Mapping) else ())}
    without = [name for name in spec.evaluate_on.hospitals if name not in known]
    problems.check(
        not without,
        f"evaluate_on: no group for {listed(without)}; add them to groups={{hospital: group}}, so that it is "
        "known which model they use",
    )


def _check_members(spec: Spec, problems: Problems) -> None:
    hospitals, given = spec.hospitals.hospitals, spec.groups
    models: Mapping[str, Any] = spec.models or {}
    if given is None:
        problems.check(
            len(models) == 1,
            f"groups: say which hospital has which of {', '.join(models)}; give {{hospital: group}}",
        )
        return
    if isinstance(given, Mapping):
        given = {str(hospital): group for hospital, group in given.items()}
        for name in given:
            problems.check(
                name in hospitals or (spec.evaluate_on is not None and name in spec.evaluate_on.hospitals),
                f"groups: no hospital {name!r}; {did_you_mean(name, hospitals)}",
            )
        without = [name for name in hospitals if name not in given]
        problems.check(
            not without,
            f"groups: no group for {listed(without)}; give every hospital one of {', '.join(models)}",
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
        problems.check(name in models, f"groups: no model {name!r} in models; {did_you_mean(name, models)}")
    for name in models:
        problems.check(
            name in members, f"models[{name!r}]: no hospital has it; leave it out, or change groups"
        )
