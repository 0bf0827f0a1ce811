"""Smallest maximum eigenvalue averaging: the mean of the n - f uploads that differ least in any direction.

    S         = argmin over sets of n - f uploads of the largest eigenvalue of their covariance
    aggregate = mean of S

Allouah, Guerraoui, Gupta, Pinot, Stephan 2023, "On the privacy-robustness-utility trilemma in distributed
learning", arXiv:2302.04787, algorithm 2. Eigenvalues are exact and not from the power method; those of sets
of n - f uploads are found from inner products. All sets are compared, so it is for few hospitals.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.aggregators import limits, spectral
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads

MOST = 20_000  # sets


@pytree
@dataclasses.dataclass(frozen=True)
class SMEA(Rule):
    """Smallest maximum eigenvalue averaging, for at most 20,000 sets of n - f of n uploads.

    Weights n_k are ignored: whoever takes part has one voice. Of sets with the same eigenvalue the one with
    the first hospitals counts. There is no answer (the aggregate is NaN) where 2 f or fewer take part.

    Attributes:
        f: static; how many uploads of a round may be malicious.
    """

    f: int = dataclasses.field(default=1, metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("SMEA")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads, or too many sets to compare."""
        problems = limits.no_majority(self.f, clients)
        sets = math.comb(clients, self.f)
        if not problems and sets > MOST:
            problems.append(
                f"{clients} uploads with f={self.f} have {sets:,} sets, and {MOST:,} can be compared: "
                "give a smaller f, or take CAF(f), which needs no sets"
            )
        return problems

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean of the set; metrics ``selected``, ``[M]`` bool, and ``influence``, ``[K]``."""
        gram, present = uploads.centred_gram(), uploads.present
        rest = np.ones((math.comb(len(uploads), self.f), len(uploads)), bool)
        left_out = itertools.combinations(range(len(uploads)), self.f)
        for row, some in zip(rest[::-1], left_out, strict=True):  # those with the first hospitals come first
            row[list(some)] = False

        def variances(columns: Array) -> Array:
            kept = (columns & present[:, None]).astype(gram.dtype)
            return jax.vmap(spectral.largest_variance, (None, 1))(gram, kept)

        variance = uploads.by_columns(variances, jnp.asarray(rest.T))
        possible = (rest | present).all(1)  # whoever is left out takes part
        best = jnp.argmin(jnp.where(possible, variance, jnp.inf))
        selected = jnp.asarray(rest)[best] & present
        answer = present.sum() > 2 * self.f
        weights = jnp.where(answer, selected.astype(uploads.aux.dtype), jnp.nan)
        seen = {"selected": selected, "influence": uploads.influence(selected.astype(gram.dtype))}
        return uploads.mean(weights), state, seen
