"""Gaussian noise on the aggregate, as central differential privacy adds it.

    update_j <- update_j + N(0, (multiplier bound / expected)^2)

McMahan, Ramage, Talwar, Zhang 2018, arXiv:1710.06963: the sum of uploads of norm at most ``bound`` gets noise
of the standard deviation multiplier * bound, and the mean is that sum over ``expected``. It goes with
``Clip(bound)`` and ``WeightedMean(expected)`` and weights of at most 1 (``weighting="uniform"``).

This part adds noise and no more: it states no guarantee of privacy, which also depends on who takes part, on
the number of rounds, and on what else is published (extras of uploads and metrics get no noise).
"""

from __future__ import annotations

import dataclasses

import jax
from jax import Array

from jaxfed.core import checks
from jaxfed.core.aggregation import Post
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Noise(Post):
    """Independent Gaussian noise on every number of the aggregated update.

    Attributes:
        multiplier: standard deviation of the noise on the sum, in units of ``bound``; 0 for none. May be
            traced.
        bound: the largest norm of an upload; may be traced.
        expected: what the sum of uploads is divided by; may be traced.
    """

    multiplier: Number
    bound: Number
    expected: Number

    def __post_init__(self) -> None:
        problems = Problems("Noise")
        problems.extend(checks.shared("multiplier", self.multiplier))
        problems.extend(checks.shared("bound", self.bound, above=True))
        problems.extend(checks.shared("expected", self.expected, above=True))
        problems.raise_if_any()

    def apply(self, update: PyTree, state: PyTree, key: Array) -> tuple[PyTree, PyTree]:
        """The update with noise."""
        deviation = self.multiplier * self.bound / self.expected
        leaves, structure = jax.tree.flatten(update)
        keys = jax.random.split(key, len(leaves))
        noisy = [
            (leaf + deviation * jax.random.normal(k, leaf.shape, leaf.dtype)).astype(leaf.dtype)
            for leaf, k in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, noisy), state
