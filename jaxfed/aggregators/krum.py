"""Krum: the upload that is nearest to its nearest neighbours.

    score_i   = sum of ||u_i - u_j||^2 over the n - f - 2 other uploads j nearest to i
    aggregate = the upload of the least score, or the mean of the ``select`` uploads of the least scores

Blanchard, El Mhamdi, Guerraoui, Stainer 2017, "Machine learning with adversaries: Byzantine tolerant gradient
descent", arXiv:1703.02757; the mean of several is its multi-Krum. n counts the uploads of the round, of which
f may be anything. Other libraries count n - f - 1 neighbours; this is the paper's number.

A poor choice where hospitals differ: the aggregate is the update of a single hospital.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import order_statistics
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Krum(Rule):
    """Krum, and multi-Krum with ``select`` above 1.

    Weights n_k are ignored: whoever takes part has one voice. Of equal scores the first hospital's counts.
    There is no answer (the aggregate is NaN) for fewer than f + 3 uploads, and none for 2 f or fewer.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
        select: static; how many uploads the aggregate is the mean of; None for n - f.
    """

    f: Number = 1
    select: int | None = dataclasses.field(default=1, metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("Krum")
        problems.extend(checks.shared_count("f", self.f, 0))
        if self.select is not None:
            problems.extend(checks.shared_count("select", self.select))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """Too few uploads for f, or for how many are selected."""
        problems, f = [], checks.known(self.f)
        if f is not None and clients < 2 * f + 3:
            remedy = (
                f"give f <= {(clients - 3) // 2}" if clients >= 3 else "take another rule, such as Median()"
            )
            problems.append(
                f"f={self.f} needs at least {2 * f + 3} uploads, and there are {clients}: {remedy}"
            )
        if self.select is not None and self.select > clients - (0 if f is None else f):
            most = clients - (0 if f is None else int(f))
            problems.append(f"select={self.select} of {clients} uploads with f={self.f}: give at most {most}")
        return problems

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean of the selected uploads; metrics ``selected``, ``score`` and ``influence``."""
        between, count = uploads.squared_distances(), uploads.present.sum()
        neighbours = jnp.clip(count - self.f - 2, 0, len(uploads) - 1)

        def nearest(columns: Array) -> Array:
            """The sums of the least distances, with that to itself, which is 0; columns are rows."""
            return jnp.where(order_statistics.least(columns, neighbours + 1), columns, 0).sum(0)

        score = jnp.where(uploads.present, uploads.by_columns(nearest, between), jnp.inf)
        most = jnp.clip(count - self.f, 1, len(uploads)) if self.select is None else self.select
        selected = uploads.present & order_statistics.least(score[:, None], most)[:, 0]
        answer = count >= jnp.maximum(self.f + 3, 2 * self.f + 1)
        weights = selected.astype(uploads.aux.dtype)
        aggregate = uploads.mean(jnp.where(answer, weights, jnp.nan))
        seen = {"selected": selected, "score": score, "influence": uploads.influence(weights)}
        return aggregate, state, seen
