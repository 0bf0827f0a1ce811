"""One hospital after another, round after round."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.core.keys import first
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Cyclic(Participation):
    """Hospitals take turns, in an order drawn once from the seed.

    With FedAvg this is cyclic weight transfer (Chang et al. 2018, "Distributed deep learning networks among
    institutions for medical imaging", doi 10.1093/jamia/ocy017): the model travels from hospital to
    hospital. A round is one stop, so C rounds are one cycle.
    """

    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """1 for the hospital whose turn it is."""
        turn = round % (sizes > 0).sum()
        return (first(keys, sizes, turn + 1) & ~first(keys, sizes, turn)).astype(jnp.int32), state

    def at_most(self, hospitals: int) -> int:
        """One hospital after another."""
        return 1

    def problems(self, hospitals: int) -> list[str]:
        """Nothing can be wrong."""
        return []
