"""Gaussian noise on the aggregate that is correlated over rounds; see :mod:`jaxfed.privacy.correlation`.

    update_t <- update_t + multiplier bound / expected (C^-1 z)_t,    z_t ~ N(0, I)

This part adds noise and no more: it states no guarantee of privacy, which also depends on who takes part, and
on what the sum of uploads was clipped and divided by. :class:`HospitalDP` puts them together.
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
from jaxfed.privacy.correlation import Correlation
from jaxfed.privacy.noise import normal_like


@pytree
@dataclasses.dataclass(frozen=True)
class CorrelatedNoise(Post):
    """Noise on every number of the aggregated update, correlated with that of earlier rounds.

    Attributes:
        multiplier: the noise on the sum, in units of ``bound``: the standard deviation of z. May be traced.
        bound: the largest norm of an upload; may be traced, and may change over rounds.
        expected: what the sum of uploads is divided by; may be traced.
        correlation: static; ``BandMF(bands=...)`` or ``Tree(restart=...)``.
    """

    multiplier: Number
    bound: Number
    expected: Number
    correlation: Correlation = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("CorrelatedNoise")
        problems.extend(checks.shared("multiplier", self.multiplier))
        problems.extend(checks.shared("bound", self.bound, above=True))
        problems.extend(checks.shared("expected", self.expected, above=True))
        known = isinstance(self.correlation, Correlation)
        given = known and self.correlation.for_cycle(1) == self.correlation
        problems.check(
            given,
            f"correlation={self.correlation!r}: give BandMF(bands=8), Tree(restart=8), or other numbers",
        )
        if given:
            problems.extend(f"correlation: {problem}" for problem in self.correlation.problems())
        problems.raise_if_any()

    def init(self, update: PyTree) -> PyTree:
        """The state of the correlation."""
        return self.correlation.init(update)

    def apply(self, update: PyTree, state: PyTree, key: Array) -> tuple[PyTree, PyTree]:
        """The update with noise."""
        noise, state = self.correlation.apply(normal_like(update, key), state)
        deviation = self.multiplier * self.bound / self.expected
        added = jax.tree.map(lambda leaf, z: (leaf + deviation * z).astype(leaf.dtype), update, noise)
        return added, state
