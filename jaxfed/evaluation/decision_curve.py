"""Decision curves of hospitals: net benefit over thresholds, with that of treating all and none.

    net benefit(t) = TP / n - FP / n * t / (1 - t)

Vickers and Elkin 2006, doi:10.1177/0272989X06295361. The interval is Student's of a mean over rows.
"""

from __future__ import annotations

from functools import partial

import jax
from jax import Array

from jaxfed.core.metrics.segments import segment_means
from jaxfed.evaluation.intervals import mean_of
from jaxfed.evaluation.thresholds import benefit


@partial(jax.jit, static_argnames=("segments", "level"))
def decision_curve(
    logit: Array, y: Array, segment: Array, segments: int, thresholds: Array, level: float = 0.95
) -> dict[str, Array]:
    """``net_benefit``, ``low``, ``high`` and ``treat_all`` at ``thresholds [T]``, each ``[segments, T]``.

    Treating none has a net benefit of 0.
    """
    probability = jax.nn.sigmoid(logit)
    target = (y > 0).astype(probability.dtype)
    prevalence = segment_means(target[:, None], segment, segments)[:, 0]

    def at(threshold: Array) -> tuple[Array, Array, Array, Array]:
        model = mean_of(benefit(probability, y, threshold), segment, segments, level)
        odds = threshold / (1 - threshold)
        return model.value, model.low, model.high, prevalence - (1 - prevalence) * odds

    values = jax.lax.map(at, thresholds)
    return dict(zip(("net_benefit", "low", "high", "treat_all"), (v.T for v in values), strict=True))
