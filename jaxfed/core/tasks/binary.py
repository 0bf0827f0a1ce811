"""Two classes, one logit.

Metrics: auroc, log_loss (nats), brier (mean squared error of the probability), accuracy (at one half).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.core.metrics.auroc import auroc_by_segment
from jaxfed.core.metrics.segments import named_means, right
from jaxfed.core.task import Task


def losses(outputs: Array, y: Array, mask: Array | None) -> Array:
    """The cross-entropy of each row."""
    logits = outputs[..., 0] if outputs.ndim > 1 else outputs
    return optax.sigmoid_binary_cross_entropy(logits, y.astype(logits.dtype))


def measures(outputs: Array, losses: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
    """Metrics of one logit per row."""
    logit = outputs.reshape(len(outputs))
    probability = jax.nn.sigmoid(logit)
    means = named_means(
        segment,
        segments,
        log_loss=losses,
        brier=jnp.square(probability - y.astype(probability.dtype)),
        accuracy=right(logit > 0, y > 0, outputs),
    )
    return {"auroc": auroc_by_segment(logit, y, segment, segments), **means}


def soft(outputs: Array, targets: Array) -> Array:
    """The cross-entropy with the targets' probabilities."""
    outputs, targets = outputs.reshape(len(outputs)), targets.reshape(len(targets))
    return optax.sigmoid_binary_cross_entropy(outputs, jax.nn.sigmoid(targets))


BINARY = Task(
    name="binary",
    losses=losses,
    loss="log_loss",
    measures=measures,
    first="auroc",
    higher=("auroc", "accuracy"),
    labels=(("auroc", "AUROC"), ("log_loss", "log loss"), ("brier", "Brier score")),
    classes=2,
    soft=soft,
    output="one logit",
)
