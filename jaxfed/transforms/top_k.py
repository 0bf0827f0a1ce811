"""Top-k sparsification with error feedback: the largest numbers are sent, the rest is owed.

    p_k = e_k + u_k,    send s_k = the k numbers of p_k of the largest magnitude,    e_k <- p_k - s_k

Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with memory", arXiv:1809.07599; Karimireddy, Rebjock, Stich,
Jaggi 2019, arXiv:1901.09847, for error feedback. What is owed stays in the hospital until it takes part
again.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxfed.core import checks
from jaxfed.core.aggregation import Sender, Transform
from jaxfed.core.errors import Problems
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Upload


@pytree
@dataclasses.dataclass(frozen=True)
class TopK(Transform):
    """Send the largest share of an update's numbers, over the whole update and not layer by layer.

    Attributes:
        share: static; how many of the N numbers are sent, in (0, 1], rounded down, and at least 1
            of those there are.
    """

    share: float = dataclasses.field(default=0.01, metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("TopK")
        problems.extend(checks.shared("share", self.share, 0, 1, above=True))
        problems.raise_if_any()

    def init(self, upload: Upload) -> Array:
        """Nothing is owed: zeros ``[N]``."""
        return jnp.zeros_like(ravel_pytree(upload.update)[0])

    def apply(self, upload: Upload, state: Array, sender: Sender) -> tuple[Upload, Array]:
        """The update, 0 where nothing is sent, and what is owed; of equal numbers the first are sent."""
        update, unravel = ravel_pytree(upload.update)
        owed = state + update
        _, index = jax.lax.top_k(jnp.abs(owed), self._count(owed.size))
        sent = jnp.zeros_like(owed).at[index].set(owed[index], unique_indices=True)
        return upload._replace(update=unravel(sent)), owed - sent

    def wire_bytes(self, upload: Upload, before: int) -> int:
        """Each number that is sent travels with its place, an int32."""
        leaves: list[PyTree] = jax.tree.leaves(upload.update)
        dense = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        number = max((leaf.dtype.itemsize for leaf in leaves), default=0)
        return max(before - dense, 0) + self._count(sum(leaf.size for leaf in leaves)) * (number + 4)

    def _count(self, size: int) -> int:
        return min(size, max(1, int(self.share * size + 1e-6)))
