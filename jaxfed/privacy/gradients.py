"""Sums of clipped per-example gradients, without storing a gradient for each example where none is needed.

    sum_i c_i g_i,   c_i = min(1, C / ||g_i||);   a gradient that is not finite counts as zero

Abadi et al. 2016, "Deep learning with differential privacy", arXiv:1607.00133. The gradient of one row by a
kernel is, in a dense layer, an outer product a_i b_i^T, whose norm is ||a_i|| ||b_i|| (Goodfellow 2015,
arXiv:1510.01799), and the weighted sum over rows is one matrix product (Bu et al. 2023, arXiv:2210.00038,
"book-keeping"). Here this is read off the traced program of one row's gradient: of every leaf that is the
product of two arrays only the two are stored. All other leaves are stored for each row of a microbatch.

Each row passes through the model alone, so no operation of the model or of the loss can mix rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import core

from jaxfed.core.products import multiply, weighted_sum
from jaxfed.core.types import PyTree

SHAPES = {"transpose", "reshape", "squeeze", "expand_dims", "optimization_barrier"}  # change no number

RowGradient = Callable[[PyTree, PyTree], tuple[Array, PyTree]]  # (params, row) -> (loss, gradient)


class Clipped(NamedTuple):
    """The sum of a microbatch's losses and clipped gradients; rows that do not count add nothing."""

    loss: Array
    gradient: PyTree


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A leaf of the gradient that is stored for each row."""

    variable: Any

    @property
    def variables(self) -> list[Any]:
        return [self.variable]

    def squared_norms(self, values: list[Array]) -> Array:
        return _squares(values[0])

    def weighted(self, values: list[Array], weights: Array) -> Array:
        (rows,) = values
        return weighted_sum(weights.astype(rows.dtype), _where(weights > 0, rows))


@dataclasses.dataclass(frozen=True)
class _Product:
    """A leaf that is a product of two arrays, followed by changes of its shape."""

    product: core.JaxprEqn
    changes: tuple[core.JaxprEqn, ...]

    @property
    def variables(self) -> list[Any]:
        return list(self.product.invars)

    @property
    def summed(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes that are summed over, of both arrays."""
        left, right = self.product.params["dimension_numbers"][0]
        return tuple(left), tuple(right)

    def squared_norms(self, values: list[Array]) -> Array:
        left, right = self._matrices(values)
        if left.shape[2] == 1:
            return _squares(left) * _squares(right)
        return _squares(multiply(left, right))

    def weighted(self, values: list[Array], weights: Array) -> Array:
        left, right = self._matrices([_where(weights > 0, value) for value in values])
        weights = weights.astype(right.dtype)[:, None, None]
        rows, free, summed = left.shape
        if free <= right.shape[2]:
            left = left * weights
        else:
            right = right * weights
        # behind a barrier, because XLA's CPU backend has a fast product of the transposed copy only
        columns = lax.optimization_barrier(jnp.moveaxis(left, 1, 0).reshape(free, rows * summed))
        result = multiply(columns, right.reshape(rows * summed, -1))
        aval: Any = self.product.outvars[0].aval
        result = result.reshape(aval.shape)
        for change in self.changes:
            if change.primitive.name != "optimization_barrier":
                result = change.primitive.bind(result, **change.params)
        return result

    def _matrices(self, values: list[Array]) -> tuple[Array, Array]:
        """``[B, free, summed]`` and ``[B, summed, free]``."""
        left, right = values
        of_left, of_right = self.summed
        kept = [a for a in range(left.ndim - 1) if a not in of_left]
        left = jnp.transpose(left, (0, *(a + 1 for a in kept), *(a + 1 for a in of_left)))
        also = [a for a in range(right.ndim - 1) if a not in of_right]
        right = jnp.transpose(right, (0, *(a + 1 for a in of_right), *(a + 1 for a in also)))
        size = math.prod(values[0].shape[a + 1] for a in of_left)
        rows = len(left)
        return left.reshape(rows, -1, size), right.reshape(rows, size, -1)


def clipped_sum(
    gradient: RowGradient, params: PyTree, rows: PyTree, counts: Array, clip: Any, *, flat: bool = True
) -> Clipped:
    """The sum over the rows of a microbatch of gradients, each clipped to norm ``clip``.

    Args:
        gradient: ``(params, row) -> (loss, gradient)`` of one row, without a batch axis.
        params: where the gradient is taken.
        rows: ``[B, ...]``.
        counts: ``[B]`` bool, False for padding, whose values may be anything.
        clip: the largest norm, may be traced; ``inf`` for none.
        flat: static; clip the whole gradient. Otherwise each of the L leaves is clipped to
            ``clip / sqrt(L)``, so that the whole has at most the norm ``clip`` too.
    """
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows)
    traced, shapes = jax.make_jaxpr(gradient, return_shape=True)(params, row)
    structure = jax.tree.structure(shapes[1])
    loss, *leaves = traced.jaxpr.outvars
    parts = [_part(traced.jaxpr, leaf) for leaf in leaves]
    wanted = [variable for part in parts for variable in part.variables]
    names = traced.jaxpr.debug_info._replace(result_paths=None)
    program = traced.jaxpr.replace(outvars=[loss, *wanted], debug_info=names)

    def run(row: PyTree) -> list[Array]:
        return jax.core.eval_jaxpr(program, traced.consts, *jax.tree.leaves((params, row)))

    losses, *values = jax.vmap(run)(rows)
    given: list[list[Array]] = []
    for part in parts:
        given.append([values.pop(0) for _ in part.variables])
    squares = [part.squared_norms(value) for part, value in zip(parts, given, strict=True)]
    used = counts & jnp.isfinite(losses) & jnp.isfinite(sum(squares, jnp.zeros(())))
    if flat:
        factors = [_factor(sum(squares, jnp.zeros(())), clip, used)] * len(parts)
    else:
        factors = [_factor(square, clip / math.sqrt(len(parts)), used) for square in squares]
    summed = [p.weighted(v, factor) for p, v, factor in zip(parts, given, factors, strict=True)]
    return Clipped(jnp.where(used, losses, 0).sum(), jax.tree.unflatten(structure, summed))


def _factor(squares: Array, clip: Any, used: Array) -> Array:
    """The factor of each row; 0 for rows that do not count."""
    return jnp.where(used, jnp.minimum(1, clip / jnp.sqrt(squares)), 0)


def _part(jaxpr: core.Jaxpr, leaf: Any) -> _Whole | _Product:
    """How a leaf of the gradient is stored."""
    made = {variable: eqn for eqn in jaxpr.eqns for variable in eqn.outvars}
    changes: list[core.JaxprEqn] = []
    variable = leaf
    while variable in made and made[variable].primitive.name in SHAPES and len(made[variable].invars) == 1:
        changes.insert(0, made[variable])
        variable = made[variable].invars[0]
    eqn = made.get(variable)
    if eqn is None or eqn.primitive.name != "dot_general":
        return _Whole(leaf)
    invars: list[Any] = list(eqn.invars)
    same_type = {v.aval.dtype for v in (*invars, leaf)} == {leaf.aval.dtype}
    batched = any(eqn.params["dimension_numbers"][1])
    smaller = sum(v.aval.size for v in invars) < leaf.aval.size
    if not same_type or batched or not smaller or any(isinstance(v, core.Literal) for v in eqn.invars):
        return _Whole(leaf)
    return _Product(eqn, tuple(changes))


def _squares(rows: Array) -> Array:
    """``[B]`` the squared norm of each row, in float32 at least."""
    rows = rows.reshape(len(rows), -1)
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    return (rows * rows).sum(1)


def _where(used: Array, rows: Array) -> Array:
    """Zeros in place of rows that do not count, which may hold NaN."""
    return jnp.where(used.reshape(-1, *(1,) * (rows.ndim - 1)), rows, 0)
