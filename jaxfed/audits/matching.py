"""Rows whose gradient is near to a given one, by gradient descent on the rows.

    x = argmin_x  1 - <g(x), g> / (||g(x)|| ||g||),   or   ||g(x) - g||^2

Zhu, Liu, Han 2019, arXiv:1906.08935 (the squared distance); Geiping, Bauermeister, Droege, Moeller 2020,
arXiv:2003.14053 (the cosine).

Departures: Adam instead of L-BFGS for the squared distance, no total variation (rows are no images), and the
labels are given, as Geiping et al. assume.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxfed.core import tree
from jaxfed.core.errors import InvalidInput
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.types import PyTree, Variables, Weighted


def rows_by_matching(
    problem: Problem,
    variables: Variables,
    gradient: PyTree,
    starts: Array,
    y: Any,
    learning_rate: float,
    steps: int,
    cosine: bool,
) -> np.ndarray:
    """``[B, ...]`` the rows of the start that came nearest.

    Args:
        problem, variables: the model.
        gradient: of the parameters, as the server received it.
        starts: ``[R, B, ...]`` where the descents begin.
        y: labels of the rows.
        learning_rate, steps: of each descent.
        cosine: whether the distance is the cosine; else it is the squared distance.

    Raises:
        InvalidInput: the gradient is not finite, or no descent ends in numbers.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)):
        raise InvalidInput(
            "invert: the upload is not finite, so that there is nothing to match; give a simulation with a "
            "smaller step size, or another model, variables=run.variables"
        )
    y = jax.tree.map(jnp.asarray, y)
    found, far = _matched(problem, variables, gradient, starts, y, learning_rate, steps, cosine)
    far = np.where(np.isfinite(far), far, np.inf)
    if np.isinf(far).all():
        raise InvalidInput(
            f"invert: learning_rate={learning_rate!r}: matching ended in no numbers from any start; give a "
            f"smaller one, such as {learning_rate / 10:g}"
        )
    return np.asarray(found[int(far.argmin())])


@partial(jax.jit, static_argnames=("steps", "cosine"))
def _matched(
    problem: Problem,
    variables: Variables,
    gradient: PyTree,
    starts: Array,
    y: Array | Weighted,
    learning_rate: Array | float,
    steps: int,
    cosine: bool,
) -> tuple[Array, Array]:
    """``[R, B, ...]`` rows whose gradient is near to the given one, and ``[R]`` the distances."""
    key = jax.random.key(0)

    def apart(x: Array) -> Array:
        own = problem.gradient(variables, Batch(x, y, jnp.ones(len(x)), key)).params
        if not cosine:
            return tree.squared_norm(tree.subtract(own, gradient))
        norms = tree.squared_norm(own) * tree.squared_norm(gradient)
        return 1 - tree.dot(own, gradient) / jnp.sqrt(jnp.maximum(norms, 1e-30))

    rule = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

    def descend(x: Array) -> tuple[Array, Array]:
        def step(_: Any, carry: tuple[Array, Any]) -> tuple[Array, Any]:
            x, state = carry
            updates, state = rule.update(jax.grad(apart)(x), state)
            return optax.apply_updates(x, updates), state

        x, _ = jax.lax.fori_loop(0, steps, step, (x, rule.init(x)))
        return x, apart(x)

    return jax.vmap(descend)(starts)
