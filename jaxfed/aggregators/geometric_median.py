"""The geometric median: the point with the least sum of distances to the uploads.

    aggregate ~ argmin_z sum_k w_k ||u_k - z||
    Weiszfeld: z <- sum_k b_k u_k / sum_k b_k with b_k = w_k / max(floor, ||u_k - z||)

Pillutla, Kakade, Harchaoui 2022, "Robust aggregation for federated learning" (RFA), arXiv:1912.13445,
algorithm 2. Less than half of the weights, and not of the hospitals, can send what they like: the paper has
weights n_k. With uniform weights every hospital has one voice.

Departures from the paper: z is a mean of uploads throughout, so a step is arithmetic on their K weights and
inner products. Steps cost next to nothing, and there are many. The start is the mean in which far uploads
weigh little, and not the plain mean, from which an upload at distance R takes about log R steps to get rid
of.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.products import multiply
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import FAR, Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class GeometricMedian(Rule):
    """The smoothed geometric median; 0 where nobody took part.

    Uploads further than 1e9 from the most central one are left out.

    Attributes:
        steps: static; steps of Weiszfeld's iteration.
        floor: the least distance that is divided by, in units of the updates; the paper's nu. May be traced.
    """

    steps: int = dataclasses.field(default=32, metadata={"static": True})
    floor: Number = 1e-6

    def __post_init__(self) -> None:
        problems = Problems("GeometricMedian")
        problems.extend(checks.shared_count("steps", self.steps))
        problems.extend(checks.shared("floor", self.floor, above=True))
        problems.raise_if_any()

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean with the weights of the last step; metrics ``weight`` and ``influence``: those."""
        gram, far = uploads.centred_gram(), jnp.sqrt(uploads.squared_distances())
        everyone = uploads.weights.astype(gram.dtype)
        # The most central upload is near the others' if they have more than half of the weights.
        far = jnp.where(uploads.present, far, 0)
        central = far[jnp.argmin(jnp.where(uploads.present, multiply(far, everyone), jnp.inf))]
        weights = jnp.where(central < FAR, everyone, 0)

        def shares(distance: Array) -> Array:
            parts = weights / distance
            return parts / jnp.maximum(parts.sum(), jnp.finfo(parts.dtype).tiny)

        def step(_: Array, share: Array) -> Array:
            inner = multiply(gram, share)
            squares = jnp.diagonal(gram) - 2 * inner + multiply(share, inner)
            return shares(jnp.maximum(jnp.sqrt(jnp.maximum(squares, 0)), self.floor))

        near = _weighted_median(central, everyone)
        start = shares(jnp.maximum(central, jnp.maximum(near, self.floor)))
        share = jax.lax.fori_loop(0, self.steps, step, start)
        return uploads.mean(share), state, {"weight": share, "influence": uploads.influence(share)}


def _weighted_median(numbers: Array, weights: Array) -> Array:
    """The least of ``[M]`` numbers up to which there are more than half of the weights."""
    order = jnp.argsort(numbers)
    return numbers[order[jnp.argmax(2 * jnp.cumsum(weights[order]) > weights.sum())]]
