"""Bucketing: uploads in a random order, and the mean of every ``size`` of them.

    y_b = mean of u_{pi((b-1)s+1)}, ..., u_{pi(min(n, b s))}    for b = 1 ... ceil(n / s)

Karimireddy, He, Jaggi 2022, "Byzantine-robust learning on heterogeneous datasets via bucketing",
arXiv:2006.09365, algorithm 1. It comes before a robust rule: means of several uploads differ less than
uploads, but up to f of the fewer means are malicious, so the rule has to stand f of ceil(n / s).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import checks
from jaxfed.core.aggregation import Mixer
from jaxfed.core.errors import Problems
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Bucketing(Mixer):
    """Means of ``size`` uploads at a time.

    Means are plain ones: weights n_k are ignored, and the weight of a bucket is how many uploads it has.
    Those that take part fill the first buckets; the rest are absent.

    Attributes:
        size: static; uploads of a bucket, the paper's s. 1 only changes the order.
    """

    size: int = dataclasses.field(default=2, metadata={"static": True})
    reorders: ClassVar[bool] = True

    def __post_init__(self) -> None:
        problems = Problems("Bucketing")
        problems.extend(checks.shared_count("size", self.size))
        problems.raise_if_any()

    def left(self, clients: int) -> int:
        """The number of buckets."""
        return -(-clients // self.size)

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """``ceil(M / size)`` uploads."""
        present = uploads.present
        order = jnp.argsort(jnp.where(present, jax.random.uniform(key, present.shape), 2))
        place = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
        inside = (place // self.size == jnp.arange(self.left(len(order)))[:, None]) & present
        inside = inside.astype(uploads.weights.dtype)
        count = inside.sum(1)
        return uploads.mix(inside / jnp.maximum(count, 1)[:, None], count)
