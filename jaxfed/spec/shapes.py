"""Shapes of the variables and outputs of a specification's models; nothing is compiled."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core.local import LocalTraining
from jaxfed.core.problem import Problem
from jaxfed.spec.spec import Spec


def variables_of(spec: Spec, local: LocalTraining) -> Any:
    """The shapes of a model's variables."""
    return outline(spec, local)[0]


def outline(spec: Spec, local: LocalTraining) -> tuple[Any, Any]:
    """The shapes of a model's variables, and of its outputs for 2 rows."""
    leaves, tree = jax.tree.flatten(batch_of(spec.hospitals.x, 2))
    shapes = tuple((leaf.shape[1:], leaf.dtype) for leaf in leaves)
    problem = dataclasses.replace(local.problem, l2=None)
    return _known_outline(problem, tree, shapes, jnp.result_type(float))


@lru_cache(maxsize=64)  # most configurations of a sweep have the same model
def _known_outline(problem: Problem, tree: Any, shapes: tuple, default: Any) -> tuple[Any, Any]:
    single, double = (
        tree.unflatten([jax.ShapeDtypeStruct((rows, *shape), dtype) for shape, dtype in shapes])
        for rows in (1, 2)
    )
    variables = jax.eval_shape(problem.init, jax.random.key(0), single)
    return variables, jax.eval_shape(problem.predict, variables, double)


def batch_of(tree: Any, rows: int) -> Any:
    """The shapes of ``rows`` rows like those of a tree of arrays."""

    def shape(leaf: np.ndarray) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), dtype)

    return jax.tree.map(shape, tree)
