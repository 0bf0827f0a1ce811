"""Clipping on the server, before any rule: static, or adaptive and robust.

    static:  u_i <- u_i min(1, bound / ||u_i||)
    ARC:     the same with bound = the (k + 1)-th largest norm, k = floor(2 (f / n) (n - f))

Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan 2024, "Adaptive gradient clipping for robust federated
learning" (ARC), arXiv:2405.14432, algorithm 2. `jaxfed.transforms.Clip` clips in the hospital, where a
malicious hospital need not do it; these clip what has arrived.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import limits, order_statistics
from jaxfed.core import checks
from jaxfed.core.aggregation import Mixer
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class StaticClipping(Mixer):
    """Clip every upload to the same norm; weights and extras stay as they are.

    An upload whose square overflows (a norm above 1e19 in float32) becomes 0.

    Attributes:
        bound: the largest norm that is left, in units of the updates; may be traced.
    """

    bound: Number = 1.0

    def __post_init__(self) -> None:
        problems = Problems("StaticClipping")
        problems.extend(checks.shared("bound", self.bound, above=True))
        problems.raise_if_any()

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """As many uploads."""
        return _clipped(uploads, jnp.sqrt(uploads.squared_norms()), jnp.asarray(self.bound))


@pytree
@dataclasses.dataclass(frozen=True)
class ARC(Mixer):
    """Adaptive robust clipping: the k longest uploads become as long as the next; the others stay.

    Weights n_k are ignored and stay as they are, and so do extras. There is no answer (uploads are NaN) where
    2 f or fewer take part.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
    """

    f: Number = 1

    def __post_init__(self) -> None:
        problems = Problems("ARC")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads."""
        return limits.no_majority(self.f, clients)

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """As many uploads."""
        count, f = uploads.present.sum(), limits.whole(self.f)
        clipped = 2 * f * (count - f) // jnp.maximum(count, 1)
        norms = jnp.sqrt(uploads.squared_norms())
        bound = order_statistics.element(norms[:, None], uploads.present, count - 1 - clipped)[0]
        return _clipped(uploads, norms, jnp.where(count > 2 * f, bound, jnp.nan))


def _clipped(uploads: Uploads, norms: Array, bound: Array) -> Uploads:
    factors = jnp.where(norms > bound, bound / norms, jnp.where(jnp.isnan(bound), bound, 1))
    return uploads.scale(factors)
