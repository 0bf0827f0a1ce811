"""Several classes, a logit each.

Metrics: log_loss (nats), brier (summed over the classes), accuracy.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.core.metrics.segments import named_means, right
from jaxfed.core.task import Task


def losses(outputs: Array, y: Array, mask: Array | None) -> Array:
    """The cross-entropy of each row."""
    # one-hot: the gradient of an indexed lookup is a scatter, which is slow on a CPU
    return optax.softmax_cross_entropy(outputs, jax.nn.one_hot(y, outputs.shape[-1], dtype=outputs.dtype))


def measures(outputs: Array, losses: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
    """Metrics of one logit per class."""
    wanted = jax.nn.one_hot(y, outputs.shape[-1], dtype=outputs.dtype)
    return named_means(
        segment,
        segments,
        log_loss=losses,
        brier=jnp.square(jax.nn.softmax(outputs) - wanted).sum(-1),
        accuracy=right(outputs.argmax(-1), y, outputs),
    )


def soft(outputs: Array, targets: Array) -> Array:
    """The cross-entropy with the targets' probabilities."""
    return optax.softmax_cross_entropy(outputs, jax.nn.softmax(targets))


MULTICLASS = Task(
    name="multiclass",
    losses=losses,
    loss="log_loss",
    measures=measures,
    first="accuracy",
    higher=("accuracy",),
    labels=(("log_loss", "log loss"), ("brier", "Brier score")),
    classes=0,
    soft=soft,
    output="one logit per class",
)
