"""Which axes of a model's arrays are hidden widths, found by following every axis through the model.

The model is traced, and operations join axes: both operands of a sum have the same ones, a matrix product
joins the columns of one operand with the rows of the other, a reshape splits or merges them. Axes that are
joined with the model's input or output, with positions of an image or with other features (concatenation)
stay whole in every slice; every other axis of a parameter is a hidden width.

A slice keeps some units of each width and puts zeros in the others' parameters. That is the model of smaller
width as long as nothing but a parameter is summed over the width; where something else is (layer norm,
attention) the reason is kept in ``problems``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms.submodel.jaxpr_widths import (
    Axis,
    Value,
    Width,
    follow,
    fresh,
    keep_whole,
    product,
    roots,
)
from jaxfed.core.problem import Problem
from jaxfed.core.types import PyTree, Variables

WHOLE, OUTPUT = -1, -2
Part = tuple[int, int]  # a factor of an axis: its size, and the number of its width or WHOLE or OUTPUT


@dataclasses.dataclass(frozen=True)
class Axes:
    """What is known of a model's arrays; static.

    Attributes:
        widths: ``[H]`` the hidden widths.
        arrays: for each array of the variables, for each axis, its factors; slowest first.
        outputs: the model's output width.
        problems: why this model cannot be sliced; empty where it can.
    """

    widths: tuple[int, ...]
    arrays: tuple[tuple[tuple[Part, ...], ...], ...]
    outputs: int = 1
    problems: tuple[str, ...] = ()

    def mask(self, variables: Variables, held: Sequence[Array], labels: Array | None = None) -> Variables:
        """1 where an array's units are all held, else 0; shaped like ``variables``.

        Args:
            variables: the model's arrays, or their shapes.
            held: bool ``[d]`` for each hidden width.
            labels: bool ``[outputs]``, which outputs count; None for all.
        """
        leaves, tree = jax.tree.flatten(variables)

        def factor(size: int, which: int, dtype: Any) -> Array:
            if which == WHOLE or (which == OUTPUT and labels is None):
                return jnp.ones((size,), dtype)
            return (labels if which == OUTPUT else held[which]).astype(dtype)  # type: ignore[union-attr]

        masks = []
        for leaf, axes in zip(leaves, self.arrays, strict=True):
            mask = jnp.ones((), leaf.dtype)
            for parts in axes:
                for part in parts:
                    mask = mask[..., None] * factor(*part, leaf.dtype)
            masks.append(mask.reshape(leaf.shape))
        return jax.tree.unflatten(tree, masks)

    def last(self, variables: Variables) -> Variables:
        """Whether an array's last axis is a hidden width; a tree of Python bools."""
        found = [bool(axes) and any(which >= 0 for _, which in axes[-1]) for axes in self.arrays]
        return jax.tree.unflatten(jax.tree.structure(variables), found)


def find_axes(problem: Problem, x: PyTree) -> Axes:
    """The hidden widths of a model.

    Args:
        problem: with the model.
        x: rows, of which only shapes and dtypes matter.
    """
    rows = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)), x
    )
    try:
        variables = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)), rows)
        program = jax.make_jaxpr(problem.plain().predict)(variables, rows)
    except Exception as error:  # whatever a user's model raises
        return Axes((), (), problems=(f"the model cannot be traced: {type(error).__name__}: {error}",))
    arrays = [fresh(leaf.shape, zero=True) for leaf in jax.tree.leaves(variables)]
    inputs = [fresh(leaf.shape) for leaf in jax.tree.leaves(rows)]
    (out,) = follow(program, [*arrays, *inputs])
    for value in inputs:
        keep_whole(value)
    outputs = [width for axis in out.axes[1:] for width in roots(axis)]
    paths = [jax.tree_util.keystr(path[1:], simple=True, separator="/")
             for path, _ in jax.tree_util.tree_leaves_with_path(variables)]  # fmt: skip
    return _describe(arrays, outputs, paths)


def _describe(arrays: list[Value], outputs: Axis, paths: list[str]) -> Axes:
    numbers: dict[int, int] = {}
    widths: list[int] = []
    reasons: dict[int, str] = {}
    out = {id(width) for width in outputs}

    def part(width: Width) -> Part:
        if id(width) in out:
            return width.size, OUTPUT
        if width.whole or width.reason:
            return width.size, WHOLE
        if id(width) not in numbers:
            numbers[id(width)] = len(widths)
            widths.append(width.size)
        return width.size, numbers[id(width)]

    found = []
    for value, path in zip(arrays, paths, strict=True):
        own = [roots(axis) for axis in value.axes]
        found.append(tuple(tuple(part(width) for width in axis) for axis in own))
        for i, axis in enumerate(own):
            stuck = [width for width in axis if width.reason and not width.whole and id(width) not in out]
            if stuck and not any(which >= 0 for _, which in found[-1][i]):
                what = f"the width {stuck[0].size} of {path} cannot be sliced: {stuck[0].reason}"
                reasons.setdefault(id(stuck[0]), f"{what}; use a model without that, or with batch norm")
    if not reasons and not widths:
        reasons[0] = "the model has no hidden width to slice; give one with a hidden layer"
    return Axes(tuple(widths), tuple(found), product(outputs), tuple(reasons.values()))
