"""The covariance-bound agnostic filter: uploads far out along the direction of most variance lose weight.

    c = 1;  while sum_i c_i > n - 2 f:
        mu, lambda, v = weighted mean, largest eigenvalue and its eigenvector of the weighted covariance
        c_i <- c_i (1 - t_i / max_{c_j > 0} t_j)    with t_i = <v, u_i - mu>^2
    aggregate = the mu of the least lambda

Allouah, Guerraoui, Stephan 2025, "Towards trustworthy federated learning with untrusted participants",
arXiv:2505.01874. At least one upload loses its whole weight in every step, so there are at most 2 f steps.

A poor choice for many hundreds of hospitals: every step takes the eigenvectors of an n x n matrix.

Departure from ByzFL's code, which takes one step of the power method from a random start: the eigenvector is
exact. The largest t is taken over the uploads that still have a weight; otherwise no further one need lose
it.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import limits, spectral
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class CAF(Rule):
    """The covariance-bound agnostic filter.

    Weights n_k are ignored: whoever takes part starts with one voice. There is no answer (the aggregate is
    NaN) where 2 f or fewer take part.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
    """

    f: Number = 1

    def __post_init__(self) -> None:
        problems = Problems("CAF")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads."""
        return limits.no_majority(self.f, clients)

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean of the least variance; metrics ``influence``, ``[K]``: the weights of it, of sum 1."""
        gram, count, f = uploads.centred_gram(), uploads.present.sum(), limits.whole(self.f)
        everyone = uploads.present.astype(gram.dtype)
        enough = jnp.maximum(count - 2 * f, 0).astype(gram.dtype)

        def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            weights, best, least = carry
            variance, square = spectral.main_direction(gram, weights)
            best = jnp.where(variance < least, weights, best)
            top = jnp.where(weights > 0, square, 0).max()
            lower = weights * (1 - square / jnp.where(top > 0, top, 1))
            # compared, because 1 - top / top is not 0 where XLA multiplies by the reciprocal
            return jnp.where(square < top, lower, 0), best, jnp.minimum(variance, least)

        start = (everyone, everyone, jnp.asarray(jnp.inf, gram.dtype))
        _, best, _ = jax.lax.while_loop(lambda carry: carry[0].sum() > enough, step, start)
        weights = jnp.where(count > 2 * f, best.astype(uploads.aux.dtype), jnp.nan)
        return uploads.mean(weights), state, {"influence": uploads.influence(best)}
