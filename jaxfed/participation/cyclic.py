"""Hospitals take turns, round after round."""

from __future__ import annotations

import dataclasses
import numbers

import jax.numpy as jnp
from jax import Array

from jaxfed.core.keys import first
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Cyclic(Participation):
    """Hospitals take turns, ``size`` in a round, in an order drawn once from the seed.

    With FedAvg and one hospital in a round this is cyclic weight transfer (Chang et al. 2018, "Distributed
    deep learning networks among institutions for medical imaging", doi 10.1093/jamia/ocy017): the model
    travels from hospital to hospital. With more of them it is block-cyclic (Eichner et al. 2019,
    arXiv:1904.10120), as correlated noise needs it. C / size rounds, rounded up, are one cycle, whose last
    round may have fewer hospitals.

    Attributes:
        size: static; hospitals in a round.
    """

    size: int = dataclasses.field(default=1, metadata={"static": True})

    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """1 for the hospitals whose turn it is."""
        turn = round % -(-(sizes > 0).sum() // self.size)
        before = first(keys, sizes, turn * self.size)
        return (first(keys, sizes, (turn + 1) * self.size) & ~before).astype(jnp.int32), state

    def at_most(self, hospitals: int) -> int:
        """The hospitals of a round."""
        return self.size

    def cycle(self, hospitals: int) -> int:
        """The rounds in which every hospital has one turn."""
        return -(-hospitals // self.size)

    def problems(self, hospitals: int) -> list[str]:
        """Whether there are so many."""
        whole = isinstance(self.size, numbers.Integral) and not isinstance(self.size, bool)
        if whole and 1 <= self.size <= hospitals:
            return []
        return [
            f"Cyclic(size={self.size!r}): give a whole number from 1 to {hospitals}, the hospitals with "
            "training rows"
        ]
