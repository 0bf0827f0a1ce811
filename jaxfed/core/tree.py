"""Arithmetic on pytrees of arrays, as the papers write it on vectors."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.types import PyTree


def add(a: PyTree, b: PyTree) -> PyTree:
    """a + b."""
    return jax.tree.map(jnp.add, a, b)


def subtract(a: PyTree, b: PyTree) -> PyTree:
    """a - b."""
    return jax.tree.map(jnp.subtract, a, b)


def multiply(a: PyTree, b: PyTree) -> PyTree:
    """a * b, number by number."""
    return jax.tree.map(jnp.multiply, a, b)


def scale(factor: Array | float, a: PyTree) -> PyTree:
    """factor * a."""
    return jax.tree.map(lambda leaf: factor * leaf, a)


def axpy(factor: Array | float, a: PyTree, b: PyTree) -> PyTree:
    """factor * a + b."""
    return jax.tree.map(lambda x, y: factor * x + y, a, b)


def zeros_like(a: PyTree) -> PyTree:
    """A tree of zeros, shaped like a."""
    return jax.tree.map(jnp.zeros_like, a)


def dot(a: PyTree, b: PyTree) -> Array:
    """<a, b> over the whole tree, never per leaf, in full precision."""
    products = jax.tree.map(partial(jnp.vdot, precision=jax.lax.Precision.HIGHEST), a, b)
    return sum(jax.tree.leaves(products), jnp.zeros(()))


def squared_norm(a: PyTree) -> Array:
    """||a||^2 over the whole tree."""
    return dot(a, a)


def pull(strength: Array | float, a: PyTree, center: PyTree, grads: PyTree) -> PyTree:
    """grads + strength * (a - center): the gradient with a proximal term strength/2 ||a - center||^2."""
    return jax.tree.map(lambda g, x, c: g + strength * (x - c), grads, a, center)


@jax.jit  # one small program, where indexing leaf by leaf is one for each shape
def entry(stacked: PyTree, number: Array | int) -> PyTree:
    """The entry with a number (may be traced) of a tree ``[N, ...]``: a slot's run, or a hospital's state."""
    return jax.tree.map(lambda leaf: leaf[number], stacked)
