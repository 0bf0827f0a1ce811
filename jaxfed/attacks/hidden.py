"""The strongest attack along a direction that no distance to honest updates gives away.

    attackers send mean + gamma d
    min-max   the largest gamma with  max_i ||sent - u_i||     <= max_{i,j} ||u_i - u_j||
    min-sum   the largest gamma with  sum_i ||sent - u_i||^2   <= max_i sum_j ||u_i - u_j||^2

i and j are honest; d is -sd, -mean / ||mean|| or -sign(mean). Shejwalkar, Houmansadr 2021, "Manipulating the
Byzantine: optimizing model poisoning attacks and defenses for federated learning", NDSS,
doi:10.14722/ndss.2021.24498.

Departure from the paper: it looks for gamma by bisection; both constraints are quadratic in gamma, so here it
is their root.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jax import Array

from jaxfed.attacks.collusion import Collusion, honest_mean, honest_sd
from jaxfed.attacks.who import check_malicious
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.products import multiply
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads

Direction = Literal["sd", "mean", "sign"]


class Hidden(Collusion):
    """Abstract: the honest mean, moved as far as a constraint on distances allows.

    Attributes:
        malicious: which hospitals collude, from :func:`jaxfed.attacks.malicious`.
        direction: static; against the standard deviation, the mean, or the sign of the mean.
    """

    malicious: Any
    direction: Direction

    def __post_init__(self) -> None:
        name = type(self).__name__
        problems = Problems(name)
        check_malicious(name, self.malicious, problems)
        if self.direction not in get_args(Direction):
            problems.add(f"direction={self.direction!r}: {did_you_mean(self.direction, get_args(Direction))}")
        problems.raise_if_any()

    def line(self, uploads: Uploads, honest: Array) -> tuple[Array, Array]:
        """From the honest mean along the direction."""
        mean = honest_mean(uploads, honest)
        if self.direction == "sd":
            return mean, -honest_sd(uploads, honest, mean)
        if self.direction == "sign":
            return mean, -jnp.sign(mean)
        norm = jnp.sqrt(uploads.sum_over_devices(jnp.square(mean).sum()))
        return mean, -mean / jnp.maximum(norm, jnp.finfo(mean.dtype).tiny)


@pytree
@dataclasses.dataclass(frozen=True)
class MinMax(Hidden):
    """No further from any honest update than the two honest updates that are furthest apart.

    Attributes:
        malicious: which hospitals collude, from :func:`jaxfed.attacks.malicious`.
        direction: static; ``"sd"``, ``"mean"`` or ``"sign"``.
    """

    malicious: Any
    direction: Direction = dataclasses.field(default="sd", metadata={"static": True})

    def strength(self, uploads: Uploads, honest: Array, point: Array, direction: Array) -> Array:
        """The least of the roots of ||point + gamma d - u_i||^2 = max_{i,j} ||u_i - u_j||^2."""
        length, apart = _length(uploads, direction), _apart(uploads, honest).max()
        away = point - uploads.update
        slope = uploads.sum_over_devices(multiply(away, direction))
        room = apart - uploads.sum_over_devices(jnp.square(away).sum(1))
        root = (jnp.sqrt(jnp.maximum(slope**2 + length * room, 0)) - slope) / length
        return jnp.maximum(jnp.where(honest, root, jnp.inf).min(), 0)


@pytree
@dataclasses.dataclass(frozen=True)
class MinSum(Hidden):
    """Squared distances to honest updates add up to no more than those of some honest update.

    Attributes:
        malicious: which hospitals collude, from :func:`jaxfed.attacks.malicious`.
        direction: static; ``"sd"``, ``"mean"`` or ``"sign"``.
    """

    malicious: Any
    direction: Direction = dataclasses.field(default="sd", metadata={"static": True})

    def strength(self, uploads: Uploads, honest: Array, point: Array, direction: Array) -> Array:
        """The root; the linear term vanishes, because the point is the mean."""
        length, apart = _length(uploads, direction), _apart(uploads, honest).sum(1).max()
        squares = uploads.sum_over_devices(jnp.square(uploads.update - point).sum(1))
        room = apart - jnp.where(honest, squares, 0).sum()
        return jnp.sqrt(jnp.maximum(room, 0) / (honest.sum().astype(length.dtype) * length))


def _length(uploads: Uploads, direction: Array) -> Array:
    squares = uploads.sum_over_devices(jnp.square(direction).sum())
    return jnp.where(squares > 0, squares, 1)  # a direction of zeros moves nothing, whatever the strength


def _apart(uploads: Uploads, honest: Array) -> Array:
    """``[M, M]`` squared distances of honest updates, 0 for others."""
    return jnp.where(honest[:, None] & honest, uploads.squared_distances(), 0)
