"""How much of a coordinate-wise aggregate comes from each hospital, for the observer.

    influence_k = mean over coordinates j of [u_kj is used] / (how many uploads are used in j)

A number is used if it lies in the range of those that the rule averages, ends included: where many uploads
are equal nobody is singled out. At most 1/64 of the coordinates are looked at, evenly spaced and the same in
every layout of devices, and at least 256; so it costs little beside the rule.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxfed.core.uploads import Uploads

LEAST, MOST, SHARE = 256, 4096, 64  # coordinates looked at, and one of so many


def by_coordinate(uploads: Uploads, used: Callable[[Array], Array]) -> Array:
    """``[K]`` influences of the stored uploads, of sum 1; 0 where nobody took part.

    Args:
        uploads: of which the rule sees M.
        used: from some columns ``[M, b]`` to bool ``[M, b]``.
    """
    size = uploads.size
    count = min(size, max(LEAST, min(MOST, size // SHARE)))
    inside = used(uploads.columns(jnp.arange(count) * (size // max(count, 1)))) & uploads.present[:, None]
    inside = inside.astype(uploads.weights.dtype)
    share = inside / jnp.maximum(inside.sum(0), 1)
    return uploads.influence(share.sum(1))
