"""The cluster bootstrap: hospitals are drawn anew, then the patients in each, for any metric.

A replicate has C places; each takes a hospital, with replacement, and draws as many of its rows as it has,
with replacement (Davison and Hinkley 1997, 3.8). A hospital that is drawn twice has two draws of patients.
The rows of a replicate are gathered into a flat store like the hospitals' own, so that a metric of segments
sees nothing new; replicates run under ``vmap``, some at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.metrics.metric import Metric

# (outputs [N, ...], y [N, ...], segment [N], segments) -> name: [segments]
Statistic = Callable[[Array, Array, Array, int], dict[str, Array]]
SPARE = 6.0  # standard deviations of the number of rows that a replicate has room for
TOGETHER = 4  # replicates under vmap


def bootstrap(
    statistic: Statistic,
    outputs: Array | np.ndarray,
    y: Array | np.ndarray,
    owner: np.ndarray,
    hospitals: int,
    *,
    replicates: int = 400,
    seed: int = 0,
    draw_hospitals: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A statistic of every hospital and of all rows together, and its replicates.

    Args:
        statistic: ``(outputs, y, segment, segments) -> {name: [segments]}``, in jax; rows with other segments
            are left out. Equal functions share a compiled program.
        outputs, y: ``[N, ...]``.
        owner: ``[N]`` the hospital of each row, on the host.
        hospitals: C.
        replicates: B.
        seed: of the draws.
        draw_hospitals: False to draw patients alone.

    Returns:
        Of the data, ``name: [C]``, ``name_pooled: []`` of all rows, and ``rows: [C]``; and the replicates,
        ``name: [B, C]`` of each place and so on.
    """
    owner = np.asarray(owner)
    order = np.argsort(owner, kind="stable")
    size = np.bincount(owner, minlength=hospitals)
    start = np.cumsum(size) - size
    room = int(size.sum())
    if draw_hospitals:  # a replicate with still more rows, which hardly exists, loses its last ones
        room = min(int(size.max()) * hospitals, int(room + SPARE * np.sqrt(hospitals) * size.std()) + 1)
    keys = jax.random.split(jax.random.key(seed), replicates + 1)
    values = _replicates(
        keys, jnp.asarray(outputs)[order], jnp.asarray(y)[order], jnp.asarray(size), jnp.asarray(start),
        statistic=statistic, room=room, draw_hospitals=draw_hospitals,
    )  # fmt: skip
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return {name: a[0] for name, a in arrays.items()}, {name: a[1:] for name, a in arrays.items()}


@partial(jax.jit, static_argnames=("statistic", "room", "draw_hospitals"))
def _replicates(
    keys: Array,
    outputs: Array,
    y: Array,
    size: Array,
    start: Array,
    *,
    statistic: Statistic,
    room: int,
    draw_hospitals: bool,
) -> dict[str, Array]:
    hospitals = len(size)
    every = jnp.arange(hospitals)

    def replicate(given: tuple[Array, Array]) -> dict[str, Array]:
        key, as_they_are = given
        of_hospitals, of_patients = jax.random.split(key)
        drawn = every
        if draw_hospitals:
            drawn = jax.random.randint(of_hospitals, (hospitals,), 0, hospitals)
            drawn = jnp.where(as_they_are, every, drawn)
        end = jnp.cumsum(size[drawn])
        position = jnp.arange(room)
        place = jnp.searchsorted(end, position, side="right")  # hospitals if the row is not used
        inside = jnp.clip(place, 0, hospitals - 1)
        hospital = drawn[inside]
        uniform = jax.random.uniform(of_patients, (room,))
        within = jnp.minimum((uniform * size[hospital]).astype(jnp.int32), size[hospital] - 1)
        within = jnp.where(as_they_are, position - (end - size[drawn])[inside], within)
        row = jnp.clip(start[hospital] + within, 0, len(y) - 1)
        x, labels = outputs[row], y[row]
        single = statistic(x, labels, place, hospitals)
        pooled = statistic(x, labels, jnp.where(place < hospitals, 0, 1), 1)
        together = {f"{name}_pooled": value[0] for name, value in pooled.items()}
        return {**single, **together, "rows": size[drawn]}

    first = jnp.arange(len(keys)) == 0
    return jax.lax.map(replicate, (keys, first), batch_size=min(TOGETHER, len(keys)))


def percentile_interval(replicates: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval over the first axis; replicates that are not defined are left out."""
    enough = np.isfinite(replicates).sum(0) > 1
    masked = np.where(np.isfinite(replicates) & enough, replicates, np.nan)
    filled = np.where(enough, masked, 0)
    low, high = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


class OfMetrics:
    """A statistic made of users' metrics, for hospitals of at most ``most`` rows.

    The rows of a segment must stand together. Each metric sees the rows of one hospital, padded to ``most``
    with rows of which the mask is 0.
    """

    def __init__(self, metrics: dict[str, Metric], most: int) -> None:
        self.metrics, self.most = dict(metrics), most

    def __call__(self, outputs: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
        """``name: [segments]``; NaN without rows."""
        first = jnp.searchsorted(segment, jnp.arange(segments))
        most = len(segment) if segments == 1 else self.most
        rows = first[:, None] + jnp.arange(most)
        clipped = jnp.clip(rows, 0, len(segment) - 1)
        inside = (rows < len(segment)) & (segment[clipped] == jnp.arange(segments)[:, None])

        def padded(values: Array) -> Array:
            gathered = values[clipped]
            return jnp.where(inside.reshape(*inside.shape, *[1] * (gathered.ndim - 2)), gathered, 0)

        x, labels, mask = padded(outputs), padded(y), inside.astype(jnp.float32)
        values: dict[str, Any] = {
            name: jnp.where(inside.any(1), jax.vmap(metric.function)(x, labels, mask), jnp.nan)
            for name, metric in self.metrics.items()
        }
        return values
