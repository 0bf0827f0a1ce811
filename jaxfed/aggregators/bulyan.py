"""Bulyan: Krum selects uploads one after the other, and their numbers around the median are averaged.

    S         = {}; n - 2 f times: add Krum's choice among the uploads that are not in S
    update_j  = mean of the |S| - 2 f numbers of {u_kj : k in S} nearest to their median

El Mhamdi, Guerraoui, Rouault 2018, "The hidden vulnerability of distributed learning in Byzantium",
arXiv:1802.07927, section 4, with Krum (Blanchard et al. 2017, arXiv:1703.02757). Among the m uploads left
Krum sums the distances to the m - f - 2 nearest, as if there were m from the start, and to at least one.

A poor choice where hospitals differ: it needs n >= 4 f + 3, and averages n - 4 f numbers at most.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import influence, limits
from jaxfed.aggregators.meamed import around_median, near_median
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Bulyan(Rule):
    """Bulyan over Krum.

    Weights n_k are ignored: whoever takes part has one voice. Of equal scores, and of equally near numbers,
    the first hospital's counts. There is no answer (the aggregate is NaN) for fewer than 4 f + 3 uploads.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
    """

    f: Number = 1

    def __post_init__(self) -> None:
        problems = Problems("Bulyan")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """Too few uploads for f."""
        f = checks.known(self.f)
        if f is None or clients >= 4 * f + 3:
            return []
        remedy = f"give f <= {(clients - 3) // 4}" if clients >= 3 else "take another rule, such as Median()"
        return [f"f={self.f} needs at least {4 * f + 3} uploads, and there are {clients}: {remedy}"]

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The means; metrics ``selected``, ``[M]`` bool, and ``influence``, ``[K]``."""
        count, f = uploads.present.sum(), limits.whole(self.f)
        selected = _selected(uploads.squared_distances(), uploads.present, count, f)
        averaged = count - 4 * f
        aggregate = around_median(uploads, selected, averaged)
        answer = jnp.where(count >= 4 * f + 3, 1, jnp.nan).astype(uploads.aux.dtype)
        seen = {
            "selected": selected,
            "influence": influence.by_coordinate(uploads, lambda x: near_median(x, selected, averaged)),
        }
        return Aggregate(answer * aggregate.update, answer * aggregate.aux), state, seen


def _selected(between: Array, present: Array, count: Array, f: Array) -> Array:
    """``[M]`` bool: the n - 2 f uploads that Krum chooses one after the other.

    The neighbours of an upload are those that are left up to a place in the order of their distances. When
    one is chosen, that place moves; the scores are added up anew, because differences would lose digits.
    """
    number = jnp.arange(len(between))
    between = jnp.where(number[:, None] == number, jnp.inf, between)  # so that each is its own last
    order = jnp.argsort(between, axis=1, stable=True)
    rank = jnp.argsort(order, axis=1)

    def neighbours(left: Array) -> Array:
        return jnp.clip(left - f - 2, 1, len(between))

    def moved(last: Array, left: Array, step: int, moves: Array) -> Array:
        """The place, where it ``moves``, after it has passed (-1) or reached (1) one that is left."""

        def go(state: tuple[Array, Array]) -> tuple[Array, Array]:
            last, moves = state
            place = jnp.clip(last + max(step, 0), 0, len(order) - 1)
            return jnp.where(moves, last + step, last), moves & ~left[order[number, place]]

        return jax.lax.while_loop(lambda state: state[1].any(), go, (last, moves))[0]

    def choose(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        last, left = carry
        near = left & (rank <= last[:, None])
        score = jnp.where(left, jnp.where(near, between, 0).sum(1), jnp.inf)
        chosen = jnp.argmin(score)
        left &= number != chosen
        counted = (near & left).sum(1)
        wanted = neighbours(count - 1 - i)
        last = moved(last, left, -1, counted > wanted)
        return moved(last, left, 1, (counted < wanted) & (left.sum() > 1)), left

    last = jnp.full(len(between), neighbours(count) - 1)
    return present & ~jax.lax.fori_loop(0, count - 2 * f, choose, (last, present))[1]
