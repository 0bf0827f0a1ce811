"""Every hospital with training rows takes part in every round."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Everyone(Participation):
    """Full participation."""

    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """1 for everyone."""
        return jnp.ones(sizes.shape, jnp.int32), state

    def cycle(self, hospitals: int) -> int:
        """Every round is the turn of everyone."""
        return 1

    def problems(self, hospitals: int) -> list[str]:
        """Nothing can be wrong."""
        return []
