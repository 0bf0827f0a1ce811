"""The weighted mean: aggregate = sum_k w_k upload_k / sum_k w_k.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas 2017, "Communication-efficient learning of deep networks from
decentralized data", arXiv:1602.05629, with the sum over the hospitals of the round, as their erratum says,
and not over all. Uploads are added block by block and never stored.

With ``expected`` the sum is divided by a number that does not depend on who takes part, as central
differential privacy needs (McMahan, Ramage, Talwar, Zhang 2018, arXiv:1710.06963: q W, the expected sum of
weights).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import checks
from jaxfed.core.aggregation import Streamed
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Upload


@pytree
@dataclasses.dataclass(frozen=True)
class WeightedMean(Streamed):
    """The mean of the uploads with weights n_k or 1, as the algorithm says; 0 where nobody took part.

    Attributes:
        expected: what the sum is divided by; None for the weights of the round. May be traced.
    """

    expected: Number = None
    averages: ClassVar[bool] = True

    def __post_init__(self) -> None:
        problems = Problems("WeightedMean")
        if self.expected is not None:
            problems.extend(checks.shared("expected", self.expected, above=True))
        problems.raise_if_any()

    def lift(self, upload: Upload, state: PyTree) -> Upload:
        """The upload in float32 at least: in bfloat16 a sum over some hundred patients stops growing."""
        return jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), upload)

    def lower(
        self, total: Upload, weight: Array, state: PyTree, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """The sum over ``expected``, or over the weights of the round."""
        divisor = jnp.where(weight > 0, weight, 1) if self.expected is None else jnp.asarray(self.expected)
        return jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype), total), state, {}
