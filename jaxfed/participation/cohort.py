"""A fixed number of hospitals, drawn uniformly without replacement in every round."""

from __future__ import annotations

import dataclasses
import numbers

import jax.numpy as jnp
from jax import Array

from jaxfed.core.keys import first, round_keys
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class FixedCohort(Participation):
    """``size`` hospitals in every round (McMahan et al. 2017, arXiv:1602.05629: m = C N).

    Every hospital draws a number from its own key and the ``size`` smallest take part, so the draw does
    not depend on the order or layout of the hospitals.

    Attributes:
        size: static; hospitals per round.
    """

    size: int = dataclasses.field(metadata={"static": True})

    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """1 for the drawn hospitals; those without rows are never drawn."""
        return first(round_keys(keys, round), sizes, self.size).astype(jnp.int32), state

    def at_most(self, hospitals: int) -> int:
        """The size of the cohort."""
        return self.size

    def problems(self, hospitals: int) -> list[str]:
        """Whether so many can be drawn."""
        whole = isinstance(self.size, numbers.Integral) and not isinstance(self.size, bool)
        if whole and 1 <= self.size <= hospitals:
            return []
        return [
            f"FixedCohort(size={self.size!r}): give a whole number from 1 to {hospitals}, the hospitals "
            "with training rows"
        ]
