"""Decisions at a threshold: sensitivity, F1, net benefit, and a threshold that hospitals choose together.

    net benefit(t) = TP / n - FP / n * t / (1 - t)          treat all: the same with every row called positive

Vickers and Elkin 2006, doi:10.1177/0272989X06295361. Intervals are Wilson's. F1 = 2 F* / (1 + F*) with
``F* = TP / (TP + FP + FN)``, a proportion (Hand, Christen and Kirielle 2021, doi:10.1007/s10994-021-05964-1):
so F1 has the interval of F*, transformed, and ``logit(F1) = log 2 + logit(F*)``. Without a row that is called
positive there is no PPV.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.evaluation.intervals import Estimate, around, proportion, standard_error

EDGES = 400  # thresholds that hospitals count for, evenly on the logit's scale
WIDEST = 10.0  # logits beyond are counted at the ends
RULES = ("youden", "f1")


def counts_at(
    probability: Array, y: Array, segment: Array, segments: int, threshold: Array | float
) -> dict[str, Array]:
    """``tp``, ``fp``, ``fn`` and ``tn`` of each segment; a row at the threshold is called positive."""
    place = jnp.where((segment >= 0) & (segment < segments), segment, segments)
    called, positive = probability >= threshold, y > 0
    cells = jnp.stack(
        [called & positive, called & ~positive, ~called & positive, ~called & ~positive], axis=1
    )
    counts = jax.ops.segment_sum(cells.astype(jnp.int32), place, segments + 1)[:segments]
    return dict(zip(("tp", "fp", "fn", "tn"), counts.T, strict=True))


def decisions(counts: dict[str, Array], level: float) -> dict[str, Estimate]:
    """Sensitivity, specificity, PPV, NPV and F1 with their intervals, from :func:`counts_at`."""
    tp, fp, fn, tn = (counts[name].astype(jnp.float32) for name in ("tp", "fp", "fn", "tn"))
    star = proportion(tp, tp + fp + fn, level)
    value, low, high = (2 * x / (1 + x) for x in star[:3])
    f1 = Estimate(value, low, high, star.centre + jnp.log(2.0), star.se)
    return {
        "sensitivity": proportion(tp, tp + fn, level),
        "specificity": proportion(tn, tn + fp, level),
        "ppv": proportion(tp, tp + fp, level),
        "npv": proportion(tn, tn + fn, level),
        "f1": f1,
    }


def benefit(probability: Array, y: Array, threshold: Array | float) -> Array:
    """What each row adds to the net benefit, ``[N]``: 1, minus the odds of the threshold, or 0."""
    odds = threshold / (1 - threshold)
    of_called = jnp.where(y > 0, 1.0, -odds).astype(probability.dtype)
    return jnp.where(probability >= threshold, of_called, 0)


def net_benefit(
    mean: Array, variance: Array, rows: Array, threshold: Array | float, level: float
) -> Estimate:
    """From moments of :func:`benefit`.

    Where every row adds the same, as where no row is called positive, the error is that with half a true and
    half a false positive more: a hospital without an error would be missing among those that are pooled.
    """
    odds = threshold / (1 - threshold)
    middle = (rows * mean + (1 - odds) / 2) / (rows + 1)
    spread = (rows * jnp.square(mean) + (1 + odds**2) / 2) / (rows + 1) - jnp.square(middle)
    se = standard_error(jnp.where(variance > 0, variance, spread), rows)
    return around(mean, se, rows - 1, level)


@partial(jax.jit, static_argnames="segments")
def histogram(logit: Array, y: Array, segment: Array, segments: int) -> Array:
    """What each hospital counts, ``[segments, 2, EDGES + 1]`` int32: its rows of each class between edges.

    Entry 0 is below the first edge, and class 1 is the positive one. The sum over hospitals is all that
    :func:`choose_threshold` needs; rows with NaN are left out.
    """
    bin_of_row = jnp.searchsorted(edges(), logit, side="right")
    inside = (segment >= 0) & (segment < segments) & ~jnp.isnan(logit)
    cell = (segment * 2 + (y > 0)) * (EDGES + 1) + bin_of_row
    cells = segments * 2 * (EDGES + 1)
    counts = jax.ops.segment_sum(jnp.ones(len(logit), jnp.int32), jnp.where(inside, cell, cells), cells + 1)
    return counts[:-1].reshape(segments, 2, EDGES + 1)


def edges() -> Array:
    """The thresholds among which hospitals choose, as logits ``[EDGES]``; 0.5 is one of them."""
    return jnp.arange(-EDGES // 2, EDGES - EDGES // 2) * (2 * WIDEST / EDGES)


@partial(jax.jit, static_argnames="rule")
def choose_threshold(counts: Array, rule: str = "youden") -> Array:
    """The probability at which the hospitals' counts are best.

    Args:
        counts: ``[2, EDGES + 1]``, the sum of the hospitals' histograms.
        rule: ``"youden"``, the largest sensitivity + specificity (Youden 1950); ``"f1"``, the largest F1.

    Returns:
        The middle one of the best edges; .5 if one of the classes has no row.
    """
    above = jnp.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:].astype(jnp.float32)
    negatives, positives = counts.sum(1)
    fp, tp = above
    if rule == "youden":
        score = tp / jnp.maximum(positives, 1) - fp / jnp.maximum(negatives, 1)
    else:
        score = 2 * tp / jnp.maximum(tp + fp + positives, 1)
    best = score >= score.max() - 1e-6
    places = jnp.arange(EDGES)
    first, last = jnp.argmax(best), EDGES - 1 - jnp.argmax(best[::-1])
    # the run of best edges that begins first: between two runs it is worse
    run = jnp.where((places >= first) & ~best, places, EDGES).min() - 1
    middle = (first + jnp.minimum(run, last)) // 2
    defined = (positives > 0) & (negatives > 0)
    return jnp.where(defined, jax.nn.sigmoid(edges()[middle]), 0.5)
