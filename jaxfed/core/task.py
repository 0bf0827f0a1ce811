"""What hospitals predict, as one object: losses, metrics, and what both mean.

A new task is a :class:`Task` in a file of its own: ``Dataset(..., task=mine)`` and ``from_arrays(...,
task=mine)`` take it, and nothing else has to know of it. jaxfed's are in :mod:`jaxfed.core.tasks`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.metrics.metric import Metric, Scoring
from jaxfed.core.metrics.segments import named_means

Losses = Callable[[Array, Array, Array | None], Array]
# (outputs [N, ...], losses [N], y [N, ...], segment [N], segments) -> name: [segments]
Measures = Callable[[Array, Array, Array, Array, int], dict[str, Array]]


def squared(outputs: Array, targets: Array) -> Array:
    """Each row's mean squared difference of outputs from other outputs, ``[B]``."""
    return jnp.square(outputs - targets).reshape(len(outputs), -1).mean(-1)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A frozen, hashable noun; equal to its name, so that ``hospitals.task == "binary"`` is True.

    Attributes:
        name: what it is called in tables, files and errors.
        losses: ``(outputs [B, ...], y [B, ...], mask [B] or None) -> [B]``, in jax. ``mask`` is 1 for the
            rows that count, None where all do; a loss of each row by itself does not look at it.
        loss: name of the metric that is the mean of these losses: what is minimised.
        measures: the metrics of segments of a flat store, ``(outputs [N, ...], losses [N], y [N, ...],
            segment [N], segments) -> {name: [segments]}``; rows with other segments are left out, and a
            segment without rows has NaN. Metrics called ``loss`` and ``first`` must be among them. None for
            the mean loss.
        first: the metric that figures and tables show first; None for ``loss``.
        higher: the metrics of which more is better.
        labels: ``(metric, what figures call it)``.
        classes: None where labels are numbers; 2 where they are two classes with one logit; 0 where they are
            the classes that the data name, with a logit each.
        check: what is wrong with the labels ``[n, ...]`` of a hospital, with the remedy, or None.
        soft: ``(outputs, targets) -> [B]``, how far outputs are from another model's, up to what depends on
            the targets alone; for algorithms that distil.
        output: what one number of the model's output is, for errors.
    """

    name: str
    losses: Losses
    loss: str
    measures: Measures | None = None
    first: str | None = None
    higher: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    classes: int | None = None
    check: Callable[[np.ndarray], str | None] | None = None
    soft: Callable[[Array, Array], Array] = squared
    output: str = "one number per target"

    @property
    def has_classes(self) -> bool:
        """Whether labels are numbers of classes."""
        return self.classes is not None

    @property
    def two_classes(self) -> bool:
        """Whether there are two classes, and one logit for the second."""
        return self.classes == 2

    @property
    def output_per_class(self) -> bool:
        """Whether the model has an output for each class."""
        return self.classes == 0

    @property
    def scoring(self) -> Scoring:
        """What its metrics mean."""
        return Scoring(self.loss, self.first or self.loss, self.higher, self.labels, self.two_classes)

    def width(self, y: np.ndarray, classes: int) -> int:
        """Width of the model's output: classes, or the width of ``y``."""
        if self.output_per_class:
            return classes
        return 1 if y.ndim == 1 else int(y.shape[1])

    def divergence(self, outputs: Array, targets: Array) -> Array:
        """``[B]``, 0 where outputs are the targets: with classes KL( p(targets) || p(outputs) )."""
        return self.soft(outputs, targets) - self.soft(targets, targets)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Task({self.name!r})"

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.name == other
        return isinstance(other, Task) and _fields(self) == _fields(other)


def _fields(task: Task) -> tuple[Any, ...]:
    return tuple(getattr(task, field.name) for field in dataclasses.fields(task))


@dataclasses.dataclass(frozen=True)
class Measure:
    """What is measured of segments of a flat store: a task's metrics and users' own; hashable, static.

    Attributes:
        task: whose losses and metrics.
        metrics: users' own, ``(name, metric)``.
    """

    task: Task
    metrics: tuple[tuple[str, Metric], ...] = ()

    def __call__(
        self, outputs: Array, losses: Array, y: Array, segment: Array, segments: int
    ) -> dict[str, Array]:
        """``name: [segments]``; see :attr:`Task.measures`."""
        if self.task.measures is None:
            found = named_means(segment, segments, **{self.task.loss: losses})
        else:
            found = self.task.measures(outputs, losses, y, segment, segments)
        own = {name: metric.by_segment(outputs, y, segment, segments) for name, metric in self.metrics}
        return {**found, **own}

    @property
    def scoring(self) -> Scoring:
        """What all these metrics mean."""
        return self.task.scoring.extended(dict(self.metrics))

    def names(self, y: np.ndarray, outputs: int) -> list[str]:
        """Names of the metrics for labels like ``y`` and that many outputs; nothing is computed."""
        rows = jnp.zeros((2, *y.shape[1:]), jax.dtypes.canonicalize_dtype(y.dtype))
        said, losses, segment = jnp.zeros((2, outputs)), jnp.zeros(2), jnp.zeros(2, jnp.int32)
        return [*jax.eval_shape(lambda: self(said, losses, rows, segment, 1))]
