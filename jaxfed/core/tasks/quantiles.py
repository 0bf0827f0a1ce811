"""A number with its distribution: one output per quantile.

    loss_i = mean_q max(q (y - o_q), (q - 1) (y - o_q))

The pinball loss (Koenker and Bassett 1978, doi 10.2307/1913643) is least, in expectation, where o_q is the
q-quantile of y given x. Quantiles that cross are put in order, which brings none further from the truth
(Chernozhukov, Fernandez-Val and Galichon 2010, doi 10.3982/ECTA7880).

Metrics: pinball, coverage (share of labels from the lowest to the highest quantile, both included; a good
model has the difference of the two, such as .8 for .1 and .9), width (the mean distance of the two), and mae
of the median where it is among the quantiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.errors import InvalidInput
from jaxfed.core.metrics.segments import named_means
from jaxfed.core.task import Task

MEDIAN = 0.5


def quantiles(levels: Iterable[float] = (0.1, 0.5, 0.9)) -> Task:
    """The task of predicting quantiles of a number.

    Args:
        levels: at least two, in ascending order, above 0 and below 1.

    Raises:
        InvalidInput: levels that are not so.

    >>> quantiles([0.05, 0.5, 0.95]).targets
    ('0.05 quantile', '0.5 quantile', '0.95 quantile')
    """
    try:
        given = tuple(float(level) for level in levels)
    except (TypeError, ValueError):
        given = ()
    if len(given) < 2 or not all(0 < q < 1 for q in given) or (np.diff(given) <= 0).any():
        raise InvalidInput(
            f"quantiles: levels={levels!r}; give at least two ascending numbers above 0 and below 1, such as "
            "[0.1, 0.5, 0.9]"
        )
    median = MEDIAN in given
    return Task(
        name="quantiles",
        losses=_Losses(given),
        loss="pinball",
        measures=_Measures(given),
        first="pinball",
        higher=(),
        labels=(("pinball", "pinball loss"), *((("mae", "MAE of the median"),) if median else ())),
        output="one number per quantile",
        targets=tuple(f"{q!r} quantile" for q in given),
        link="sort",
    )


@dataclasses.dataclass(frozen=True)
class _Losses:
    """The pinball loss of each row; equal for equal levels."""

    levels: tuple[float, ...]

    def __call__(self, outputs: Array, y: Array, mask: Array | None) -> Array:
        q = jnp.asarray(self.levels, outputs.dtype)
        short = y.reshape(-1, 1).astype(outputs.dtype) - outputs
        return jnp.maximum(q * short, (q - 1) * short).mean(-1)


@dataclasses.dataclass(frozen=True)
class _Measures:
    """Metrics of each segment; equal for equal levels."""

    levels: tuple[float, ...]

    def __call__(
        self, outputs: Array, losses: Array, y: Array, segment: Array, segments: int
    ) -> dict[str, Array]:
        ordered, y = jnp.sort(outputs, axis=-1), y.reshape(-1).astype(outputs.dtype)
        low, high = ordered[:, 0], ordered[:, -1]
        broken = jnp.isnan(outputs).any(-1)
        covered = ((low <= y) & (y <= high)).astype(outputs.dtype)
        more = {}
        if MEDIAN in self.levels:
            more["mae"] = jnp.abs(ordered[:, self.levels.index(MEDIAN)] - y)
        return named_means(
            segment,
            segments,
            pinball=losses,
            coverage=jnp.where(broken, jnp.nan, covered),
            width=high - low,
            **more,
        )
