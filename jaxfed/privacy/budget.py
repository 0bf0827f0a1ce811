"""Hospitals that stop when their budget is spent."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


class Spent(NamedTuple):
    """The state of another participation, and ``[C]`` the rounds in which each hospital took part."""

    inner: PyTree
    rounds: Array


@pytree
@dataclasses.dataclass(frozen=True)
class Budgeted(Participation):
    """Another participation, in which a hospital takes part in a limited number of rounds.

    Rounds are counted, which depends on who was drawn and on no row, so that who stops reveals nothing.

    Attributes:
        inner: draws among the hospitals that have rounds left.
        rounds: :func:`jaxfed.per_hospital` numbers of rounds.
    """

    inner: Participation
    rounds: PerHospital

    def init(self, sizes: Array) -> Spent:
        """Nobody has taken part."""
        return Spent(self.inner.init(sizes), jnp.zeros(sizes.shape, jnp.int32))

    def draw(self, state: Spent, keys: Array, round: Array, sizes: Array) -> tuple[Array, Spent]:
        """The other participation's draw; a hospital without rounds left is as one without rows."""
        left = state.rounds < self.rounds.values
        drawn, inner = self.inner.draw(state.inner, keys, round, jnp.where(left, sizes, 0))
        present = jnp.where(left & (sizes > 0), drawn, 0)
        return present, Spent(inner, state.rounds + (present > 0))

    def at_most(self, hospitals: int) -> int:
        """As many as in the other participation."""
        return self.inner.at_most(hospitals)

    def problems(self, hospitals: int) -> list[str]:
        """Those of the other participation."""
        return self.inner.problems(hospitals)
