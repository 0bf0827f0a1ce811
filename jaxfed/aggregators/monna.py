"""MoNNA: the mean of the n - f uploads nearest to that of a hospital that is trusted.

    aggregate = 1/(n - f) sum_{i in N} u_i,    N: the n - f nearest to u_trusted, itself among them

Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan 2023, "Robust collaborative learning with linear
gradient overhead", arXiv:2209.10931: nearest-neighbour averaging, which every node does around its own
vector. Here the server does it around that of a hospital that it trusts.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import limits, order_statistics
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class MoNNA(Rule):
    """Nearest-neighbour averaging around a trusted hospital.

    Weights n_k are ignored: whoever takes part has one voice. Of equally near uploads the first hospital's
    counts. There is no answer (the aggregate is NaN) where the trusted hospital is absent, or 2 f or fewer
    take part.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
        trusted: the number of the trusted hospital, ``data.hospitals.index(name)``; may be traced.
    """

    f: Number = 1
    trusted: Number = 0
    names_hospital: ClassVar[bool] = True

    def __post_init__(self) -> None:
        problems = Problems("MoNNA")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.extend(checks.shared_count("trusted", self.trusted, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads."""
        return limits.no_majority(self.f, clients)

    def hospital_problems(self, hospitals: int) -> list[str]:
        """No such hospital."""
        return checks.hospital_number("trusted", self.trusted, hospitals)

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean of the nearest; metrics ``selected``, ``[M]`` bool, and ``influence``, ``[K]``."""
        present, f, trusted = uploads.present, limits.whole(self.f), limits.whole(self.trusted)
        count = present.sum()
        far = uploads.squared_distances()[trusted]
        near = order_statistics.least(far[:, None], jnp.clip(count - f, 1, len(uploads)))[:, 0]
        selected = near & present
        answer = (count > 2 * f) & present[trusted]
        weights = jnp.where(answer, selected.astype(uploads.aux.dtype), jnp.nan)
        seen = {"selected": selected, "influence": uploads.influence(selected.astype(far.dtype))}
        return uploads.mean(weights), state, seen
