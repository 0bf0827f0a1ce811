"""Nearest-neighbour mixing: every upload becomes the mean of the n - f nearest to it, itself among them.

    y_i = 1/(n - f) sum_{j in N_i} u_j,    N_i: the n - f nearest to u_i

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan 2023, "Fixing by mixing: a recipe for optimal Byzantine
ML under heterogeneity", arXiv:2302.01772. It comes before a robust rule, and makes the median, the trimmed
mean, Krum and the geometric median optimal up to constants where hospitals differ.
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
class NNM(Mixer):
    """Nearest-neighbour mixing.

    Means are plain ones: weights n_k are ignored, and each upload keeps its weight. Of equally near ones the
    first hospital's counts. There is no answer (uploads are NaN) where 2 f or fewer take part.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
    """

    f: Number = 1

    def __post_init__(self) -> None:
        problems = Problems("NNM")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads."""
        return limits.no_majority(self.f, clients)

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """As many uploads; an absent one stays a row of zeros."""
        count = uploads.present.sum()
        neighbours = jnp.clip(count - self.f, 1, len(uploads))

        def nearest(columns: Array) -> Array:
            return order_statistics.least(columns, neighbours)

        near = uploads.by_columns(nearest, uploads.squared_distances()).T  # columns are rows
        matrix = jnp.where(near & uploads.present[:, None], 1 / neighbours, 0)
        return uploads.mix(jnp.where(count > 2 * self.f, matrix, jnp.nan), uploads.weights)
