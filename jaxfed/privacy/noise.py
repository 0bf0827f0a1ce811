"""Gaussian noise on trees."""

from __future__ import annotations

import jax
from jax import Array

from jaxfed.core.types import PyTree
from jaxfed.privacy.draws import normal


def noisy(tree: PyTree, deviation: Array | float, key: Array, step: Array | int = 0) -> PyTree:
    """The tree with noise N(0, ``deviation``^2) on every number; a deviation of 0 changes nothing."""
    noise = normal_like(tree, key, step)
    return jax.tree.map(lambda leaf, z: (leaf + deviation * z).astype(leaf.dtype), tree, noise)


def normal_like(tree: PyTree, key: Array, step: Array | int = 0) -> PyTree:
    """Standard normal float32 in the shapes of a tree.

    The numbers of a tree have places one after another, so that no two share a random number.
    """
    leaves, structure = jax.tree.flatten(tree)
    result, first = [], 0
    for leaf in leaves:
        result.append(normal(key, step, first, leaf.shape))
        first += leaf.size
    return jax.tree.unflatten(structure, result)
