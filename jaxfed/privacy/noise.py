"""Gaussian noise on trees."""

from __future__ import annotations

import jax
from jax import Array

from jaxfed.core.types import PyTree
from jaxfed.privacy.draws import normal


def noisy(tree: PyTree, deviation: Array | float, key: Array, step: Array | int = 0) -> PyTree:
    """The tree with noise N(0, ``deviation``^2) on every number; a deviation of 0 changes nothing.

    The numbers of a tree have places one after another, so that no two share a random number.
    """
    leaves, structure = jax.tree.flatten(tree)
    result, first = [], 0
    for leaf in leaves:
        result.append((leaf + deviation * normal(key, step, first, leaf.shape)).astype(leaf.dtype))
        first += leaf.size
    return jax.tree.unflatten(structure, result)
