"""Norms and directions of the uploads of a round, for the observer.

    norm_k    = ||u_k||
    share_k   = w_k / sum_j w_j
    mean      = sum_k share_k u_k
    cosine_k  = <u_k, mean> / (||u_k|| ||mean||)

They need the uploads twice, once for the mean, so the engine stores them. The aggregate is computed as
without them.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxfed.core.products import multiply
from jaxfed.core.types import Metrics
from jaxfed.core.uploads import Uploads

NORM, COSINE, SHARE, MEAN_NORM = "update_norm", "update_cosine", "update_share", "mean_norm"


def diagnosed(uploads: Uploads) -> Metrics:
    """``name: [C]`` of the uploads as hospitals sent them; NaN for those that were not used.

    ``mean_norm`` is the same for all. A cosine with an update of norm 0 is NaN.
    """
    mean = uploads.mean(uploads.weights).update
    norms = jnp.sqrt(uploads.squared_norms())
    length = jnp.sqrt(uploads.sum_over_devices(multiply(mean, mean)))
    shares = uploads.influence(uploads.weights)

    def used(values: Array) -> Array:
        return jnp.where(uploads.present, values, jnp.nan)

    product = norms * length
    cosine = jnp.where(product > 0, uploads.dot(mean) / jnp.where(product > 0, product, 1), jnp.nan)
    return {
        NORM: used(norms),
        COSINE: used(jnp.clip(cosine, -1, 1)),
        SHARE: used(shares),
        MEAN_NORM: used(jnp.broadcast_to(length, norms.shape)),
    }
