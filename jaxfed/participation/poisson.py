"""Every hospital takes part in a round with the same probability, independently of the others."""

from __future__ import annotations

import dataclasses
import numbers

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.hyperparameters import Number, Schedule
from jaxfed.core.keys import round_keys
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Poisson(Participation):
    """Poisson sampling, the one that privacy amplification is proved for.

    A round in which nobody is drawn leaves the model as it is and is counted.

    Attributes:
        rate: probability in (0, 1]; a leaf, may be traced and swept.
    """

    rate: Number

    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """1 for those drawn."""
        return (jax.vmap(jax.random.uniform)(round_keys(keys, round)) < self.rate).astype(jnp.int32), state

    def problems(self, hospitals: int) -> list[str]:
        """Whether the rate is a probability."""
        if isinstance(self.rate, (Array, Schedule)):
            return []
        if isinstance(self.rate, numbers.Real) and 0 < float(self.rate) <= 1:
            return []
        return [f"Poisson(rate={self.rate}): give a probability above 0 and at most 1"]
