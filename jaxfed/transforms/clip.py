"""Clipping: an update that is longer than a bound is scaled down to it.

    u <- u min(1, bound / ||u||),    the norm over the whole update

Abadi et al. 2016, arXiv:1607.00133, for gradients; McMahan, Ramage, Talwar, Zhang 2018, arXiv:1710.06963, for
the uploads of federated averaging ("flat clipping").
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxfed.core import checks, tree
from jaxfed.core.aggregation import Sender, Transform
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Upload


@pytree
@dataclasses.dataclass(frozen=True)
class Clip(Transform):
    """Clip an upload's ``update``; its extras stay as they are.

    An update whose squares overflow (a norm above 1e19 in float32) is sent as zeros. One that is not finite
    stays so, and is refused.

    Attributes:
        bound: the largest norm that is sent; may be traced and differ between hospitals.
    """

    bound: Number = 1.0

    def __post_init__(self) -> None:
        problems = Problems("Clip")
        problems.extend(checks.number("bound", self.bound, above=True))
        problems.raise_if_any()

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The clipped upload."""
        norm = jnp.sqrt(tree.squared_norm(upload.update))
        factor = jnp.minimum(1, self.bound / norm)  # 0 for an infinite norm, and 1 for none
        scaled = jax.tree.map(lambda leaf: (factor * leaf).astype(leaf.dtype), upload.update)
        return upload._replace(update=scaled), state
