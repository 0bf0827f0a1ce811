"""Minimum diameter averaging: the mean of the n - f uploads that lie closest together.

    S         = argmin over sets of n - f uploads of max_{i, j in S} ||u_i - u_j||
    aggregate = mean of S

El Mhamdi, Guerraoui, Guirguis, Hoang, Rouault 2020, "Genuinely distributed Byzantine machine learning",
arXiv:1905.03853, after Rousseeuw 1985, "Multivariate estimation with high breakdown point". All 2^n sets are
compared, so it is for few hospitals.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import limits
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads

MOST = 20  # uploads; 2^20 diameters take 4 MB


@pytree
@dataclasses.dataclass(frozen=True)
class MDA(Rule):
    """Minimum diameter averaging, for at most 20 uploads.

    Weights n_k are ignored: whoever takes part has one voice. Of sets with the same diameter the one with the
    first hospitals counts. There is no answer (the aggregate is NaN) where 2 f or fewer take part.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
    """

    f: Number = 1

    def __post_init__(self) -> None:
        problems = Problems("MDA")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads, or too many sets to compare."""
        problems = limits.no_majority(self.f, clients)
        if clients > MOST:
            problems.append(
                f"{clients} uploads have 2^{clients} sets, and at most {MOST} uploads can be compared: take "
                "another rule, such as chain(NNM(f), TrimmedMean(...)), or Bucketing before it"
            )
        return problems

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean of the set; metrics ``selected``, ``[M]`` bool, and ``influence``, ``[K]``."""
        between, count, f = uploads.squared_distances(), uploads.present.sum(), limits.whole(self.f)
        diameters, sizes = jnp.zeros(1, between.dtype), jnp.zeros(1, jnp.int32)
        for i in reversed(range(len(uploads))):  # sets with upload i come before those without it
            within = jnp.maximum(diameters, jnp.maximum(_furthest(between[i, i + 1 :]), between[i, i]))
            diameters = jnp.concatenate([within, diameters])
            sizes = jnp.concatenate([sizes + 1, sizes])
        best = jnp.argmin(jnp.where(sizes == count - f, diameters, jnp.inf))
        selected = (best >> jnp.arange(len(uploads))[::-1]) & 1 == 0
        selected &= uploads.present
        weights = jnp.where(count > 2 * f, selected.astype(uploads.aux.dtype), jnp.nan)
        seen = {"selected": selected, "influence": uploads.influence(selected.astype(between.dtype))}
        return uploads.mean(weights), state, seen


def _furthest(distances: Array) -> Array:
    """``[2^m]``: the largest of the distances ``[m]`` in each set, in the order of :meth:`MDA.reduce`."""
    m = len(distances)
    if m == 0:
        return jnp.zeros(1, distances.dtype)
    if m == 1:
        return jnp.append(distances, 0)
    first, second = _furthest(distances[: m // 2]), _furthest(distances[m // 2 :])
    return jnp.maximum(first[:, None], second).ravel()
