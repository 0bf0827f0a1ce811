"""Logistic regressions of many hospitals at once, by Newton's method.

    maximise  sum_i y_i eta_i - log(1 + exp(eta_i)),    eta_i = offset_i + x_i^T b_h    (i in hospital h)

Steps are cut to ``LONGEST``, so that a hospital far from its maximum does not jump away from it. Where the
classes are separated there is no maximum: callers look for that before (Albert and Anderson 1984,
doi:10.1093/biomet/71.1.1).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.evaluation.intervals import row_counts

STEPS = 12
LONGEST = 3.0


def fit_logistic(
    design: Array,
    y: Array,
    offset: Array,
    segment: Array,
    segments: int,
    *,
    steps: int = STEPS,
    longest: float = LONGEST,
) -> tuple[Array, Array, Array]:
    """Coefficients of every segment, their covariance, and whether Newton's method has ended.

    Args:
        design: ``[N, K]``; columns of about unit size.
        y: ``[N]``, 0 or 1.
        offset: ``[N]``.
        segment: ``[N]``; rows outside ``0 .. segments - 1`` are left out.
        segments: static.
        steps: of Newton's method.
        longest: norm of a step.

    Returns:
        ``[segments, K]``, ``[segments, K, K]`` and ``[segments]`` bool.
    """
    K = design.shape[1]
    rows = row_counts(segment, segments)
    place = jnp.clip(segment, 0, segments - 1)
    across, down = jnp.triu_indices(K)
    products = design[:, across] * design[:, down]
    unit = jnp.eye(K, dtype=design.dtype)
    empty = ~design.any(0)  # a column of zeros has the coefficient 0

    def slopes(b: Array) -> tuple[Array, Array]:
        """Means over rows of the gradient and of minus the Hessian."""
        risk = jax.nn.sigmoid(offset + jnp.einsum("nk,nk->n", design, b[place]))
        gradient = design * (y - risk)[:, None]
        curvature = products * (risk * (1 - risk))[:, None]
        means = segment_means(jnp.concatenate([gradient, curvature], axis=1), segment, segments)
        matrix = jnp.zeros((segments, K, K), means.dtype)
        matrix = matrix.at[:, across, down].set(means[:, K:]).at[:, down, across].set(means[:, K:])
        fine = jnp.isfinite(means).all(1)
        matrix = matrix + jnp.where(empty, unit, 0)
        return jnp.where(fine[:, None], means[:, :K], 0), jnp.where(fine[:, None, None], matrix, unit)

    def newton(_: int | Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        b, _ = state
        gradient, matrix = slopes(b)
        step = jnp.linalg.solve(matrix, gradient[..., None])[..., 0]
        size = jnp.linalg.norm(step, axis=-1, keepdims=True)
        step = jnp.nan_to_num(step * jnp.minimum(1, longest / jnp.maximum(size, 1e-9)))
        return b + step, size[:, 0]

    start = jnp.zeros((segments, K), jnp.promote_types(design.dtype, jnp.float32))
    b, size = jax.lax.fori_loop(0, steps, newton, (start, jnp.zeros(segments, start.dtype)))
    covariance = jnp.linalg.inv(slopes(b)[1]) / jnp.maximum(rows, 1)[:, None, None]
    return b, covariance, size < 1e-2
