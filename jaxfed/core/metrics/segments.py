"""Means over segments of a flat store."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def segment_means(values: Array, segment: Array, segments: int) -> Array:
    """Means of ``values [N, M]`` in each segment, ``[segments, M]``, at least in float32.

    A segment without rows has NaN. Rows outside ``0 .. segments - 1`` are left out, whatever they hold.
    """
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    inside = (segment >= 0) & (segment < segments)
    place = jnp.where(inside, segment, segments)
    count = jax.ops.segment_sum(inside.astype(jnp.int32), place, segments + 1)[:, None]

    def mean(values: Array) -> Array:
        counted = jnp.where(inside[:, None], values, 0)
        return jax.ops.segment_sum(counted, place, segments + 1) / jnp.maximum(count, 1).astype(values.dtype)

    first = mean(values)
    # a long float32 sum drifts; summing the residuals a second time recovers the lost digits
    rest = mean(values - first[place])
    means = first + jnp.where(jnp.isfinite(first), rest, 0)
    return jnp.where(count > 0, means, jnp.nan)[:segments]


def named_means(segment: Array, segments: int, **values: Array) -> dict[str, Array]:
    """Means of each segment of several values ``[N]``, all in one reduction: ``name: [segments]``."""
    means = segment_means(jnp.stack([*values.values()], axis=-1), segment, segments)
    return dict(zip(values, means.T, strict=True))


def right(predicted: Array, y: Array, outputs: Array) -> Array:
    """``[N]``: 1 where ``predicted`` equals ``y``, else 0; NaN where an output of the model is NaN."""
    broken = jnp.isnan(outputs).reshape(len(outputs), -1).any(-1)
    return jnp.where(broken, jnp.nan, (predicted == y).astype(outputs.dtype))
