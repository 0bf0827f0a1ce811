"""Rows whose gradient is near to a given one, by gradient descent on the rows.

Zhu, Liu, Han 2019, arXiv:1906.08935 (the squared distance); Geiping, Bauermeister, Droege, Moeller 2020,
arXiv:2003.14053 (the cosine).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.core import tree
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.types import PyTree, Variables, Weighted


@partial(jax.jit, static_argnames=("steps", "cosine"))
def matched(
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
