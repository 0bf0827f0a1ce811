"""Numbers, averaged over the outputs.

Metrics: mse, mae, r2.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import named_means
from jaxfed.core.task import Task


def losses(outputs: Array, y: Array, mask: Array | None) -> Array:
    """The squared error of each row."""
    y = y.reshape(outputs.shape).astype(outputs.dtype)
    return jnp.mean(jnp.square(outputs - y).reshape(outputs.shape[0], -1), axis=-1)


def measures(outputs: Array, losses: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
    """Metrics of numbers, averaged over the outputs."""
    error = (outputs - y.reshape(outputs.shape)).reshape(len(outputs), -1)
    y = y.reshape(len(outputs), -1).astype(outputs.dtype)
    means = named_means(segment, segments, mse=jnp.square(error).mean(-1), mae=jnp.abs(error).mean(-1))
    mean = jnp.stack([named_means(segment, segments, y=column)["y"] for column in y.T], axis=-1)
    spread = jnp.square(y - mean[jnp.clip(segment, 0, segments - 1)]).mean(-1)
    variance = named_means(segment, segments, variance=spread)["variance"]
    r2 = jnp.where(variance > 0, 1 - means["mse"] / jnp.where(variance > 0, variance, 1), jnp.nan)
    return {**means, "r2": r2}


REGRESSION = Task(
    name="regression",
    losses=losses,
    loss="mse",
    measures=measures,
    first="r2",
    higher=("r2",),
    labels=(("r2", "R²"), ("mse", "MSE"), ("mae", "MAE")),
)
