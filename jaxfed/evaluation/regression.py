"""R2, RMSE and MAE with their intervals, for many hospitals at once; averaged over the outputs.

R2     1 - MSE / variance of y, with the hospital's mean of y; interval by the delta method
RMSE   the root of the MSE, whose interval is Student's on the log scale
MAE    with Student's interval
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.evaluation.intervals import Estimate, around, moments, standard_error, student_quantile


@partial(jax.jit, static_argnames=("segments", "level"))
def regression_estimates(
    outputs: Array, y: Array, segment: Array, segments: int, threshold: float = 0.5, level: float = 0.95
) -> tuple[dict[str, Estimate], dict[str, Array]]:
    """Every metric of each segment; see :func:`jaxfed.evaluation.binary.binary_estimates`.

    Args:
        outputs: ``[N, ...]`` predicted numbers.
        y: ``[N, ...]``.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
        threshold: not used.
        level: of the intervals; static.
    """
    outputs = outputs.reshape(len(outputs), -1).astype(jnp.promote_types(outputs.dtype, jnp.float32))
    y = y.reshape(outputs.shape).astype(outputs.dtype)
    inside = jnp.clip(segment, 0, segments - 1)
    squared = jnp.square(outputs - y).mean(1)
    spread = jnp.square(y - segment_means(y, segment, segments)[inside]).mean(1)
    columns = jnp.stack([squared, spread, jnp.abs(outputs - y).mean(1)], axis=1)
    (mse, variance, mae), (of_squared, _, of_error), rows = (
        part.T for part in moments(columns, segment, segments)
    )
    variance = jnp.where(variance > 0, variance, jnp.nan)
    ratio = mse / variance
    _, of_ratio, _ = moments((squared - ratio[inside] * spread)[:, None], segment, segments)
    r2 = around(1 - ratio, standard_error(of_ratio[:, 0], rows) / variance, rows - 1, level, most=1)
    relative = standard_error(of_squared, rows) / jnp.where(mse > 0, mse, jnp.nan)
    factor = jnp.exp(student_quantile(level, rows - 1) * relative / 2)
    rmse = jnp.sqrt(mse)
    root = Estimate(
        rmse, rmse / factor, rmse * factor, jnp.log(jnp.where(rmse > 0, rmse, jnp.nan)), relative / 2
    )
    absolute = around(mae, standard_error(of_error, rows), rows - 1, level, 0)
    return {"r2": r2, "rmse": root, "mae": absolute}, {"broken": jnp.isnan(mse) & (rows > 0)}
