"""The prediction task of a data set as one object: losses, metrics, and the meaning of both.

A new task is a :class:`Task` in a file of its own: ``Dataset(..., task=mine)`` and ``from_arrays(...,
task=mine)`` accept it, and no other code has to change. jaxfed's tasks are in :mod:`jaxfed.core.tasks`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.meaning import Link, Meaning, of_classes
from jaxfed.core.metrics.metric import Metric, Scoring
from jaxfed.core.metrics.segments import named_means

Losses = Callable[[Array, Array, Array | None], Array]
# (outputs [N, ...], losses [N], y [N, ...], segment [N], segments) -> name: [segments]
Measures = Callable[[Array, Array, Array, Array, int], dict[str, Array]]
# (outputs [N, ...], y [N, ...], segment [N], segments) -> [N]
SegmentLosses = Callable[[Array, Array, Array, int], Array]


def squared(outputs: Array, targets: Array) -> Array:
    """Each row's mean squared difference of outputs from other outputs, ``[B]``."""
    return jnp.square(outputs - targets).reshape(len(outputs), -1).mean(-1)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A prediction task: frozen, hashable, and equal to its name (``hospitals.task == "binary"`` is True).

    Attributes:
        name: the name in tables, files and errors.
        losses: ``(outputs [B, ...], y [B, ...], mask [B] or None) -> [B]``, in jax. ``mask`` is 1 for the
            rows that count, None if all do; a loss that treats each row separately ignores it.
        loss: name of the metric that is the mean of these losses, which training minimises.
        measures: the metrics of segments of a flat store, ``(outputs [N, ...], losses [N], y [N, ...],
            segment [N], segments) -> {name: [segments]}``; rows with other segments are left out, and a
            segment without rows has NaN. Metrics called ``loss`` and ``first`` must be among them. None for
            the mean loss.
        first: the metric that figures and tables show first; None for ``loss``.
        higher: the metrics of which more is better.
        labels: ``(metric, its label in figures)``.
        classes: None if labels are numbers; 2 if they are two classes with one logit; 0 if they are
            the classes that the data name, with a logit each.
        check: returns the problem of the labels ``[n, ...]`` of a hospital, with the remedy, or None.
        soft: ``(outputs, targets) -> [B]``, the distance of outputs from another model's outputs, up to a
            term that depends on the targets only; for algorithms that distil.
        output: a description of the model's output, for errors.
        targets: names of the outputs, if they are neither classes nor the columns of ``y``.
        link: with ``targets``, what users see of the outputs; see :class:`jaxfed.core.meaning.Meaning`.
        segment_losses: for a loss that depends on the other rows of a hospital (Cox's, through the rows at
            risk): the loss of each row with those of its segment alone, ``(outputs [N, ...], y [N, ...],
            segment [N], segments) -> [N]``; rows with other segments have 0. Training without mini-batches
            then takes all rows of a hospital at once, and not in chunks. None if a row's loss depends on that
            row alone.
        survival: whether labels are ``(time, event)``, ``[n, 2]``.
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
    targets: tuple[str, ...] = ()
    link: Link = "number"
    segment_losses: SegmentLosses | None = None
    survival: bool = False

    @property
    def by_row(self) -> bool:
        """Whether a row's loss depends on that row alone."""
        return self.segment_losses is None

    @property
    def has_classes(self) -> bool:
        """Whether labels are class numbers."""
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
        """The meaning of its metrics."""
        return Scoring(
            self.loss, self.first or self.loss, self.higher, self.labels, self.two_classes or self.survival
        )

    def width(self, y: np.ndarray, classes: int) -> int:
        """Width of the model's output: classes, targets, or the width of ``y``."""
        if self.output_per_class:
            return classes
        if self.targets:
            return len(self.targets)
        return 1 if y.ndim == 1 else int(y.shape[1])

    def meaning(self, classes: tuple[str, ...], outputs: int) -> Meaning:
        """What ``outputs`` outputs mean to users, for these classes."""
        return Meaning(self.link, self.targets) if self.targets else of_classes(classes, outputs)

    def losses_within(self, outputs: Array, y: Array, segment: Array, segments: int) -> Array:
        """The loss of each row, ``[N]``, where rows of different segments know nothing of each other."""
        if self.segment_losses is None:
            return self.losses(outputs, y, segment < segments)
        return self.segment_losses(outputs, y, segment, segments)

    @property
    def stratified(self) -> bool:
        """Whether a split spreads :meth:`strata` evenly over its parts."""
        return self.has_classes or self.survival

    def strata(self, y: np.ndarray) -> np.ndarray:
        """``[n]`` classes, or with ``survival`` events; else ``y``."""
        return y[:, 1] if self.survival and y.ndim == 2 else y

    def divergence(self, outputs: Array, targets: Array) -> Array:
        """``[B]``, 0 where outputs equal the targets; with classes it is KL( p(targets) || p(outputs) )."""
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
    """Computes the metrics of segments of a flat store: a task's metrics and users' metrics.

    It is hashable, so that it can be a static argument.

    Attributes:
        task: the task that gives losses and metrics.
        metrics: the users' metrics, ``(name, metric)``.
    """

    task: Task
    metrics: tuple[tuple[str, Metric], ...] = ()

    def __call__(
        self, outputs: Array, losses: Array, y: Array, segment: Array, segments: int
    ) -> dict[str, Array]:
        """``name: [segments]``; see :attr:`Task.measures`."""
        if self.task.measures is None:
            values = named_means(segment, segments, **{self.task.loss: losses})
        else:
            values = self.task.measures(outputs, losses, y, segment, segments)
        users = {name: metric.by_segment(outputs, y, segment, segments) for name, metric in self.metrics}
        return {**values, **users}

    @property
    def scoring(self) -> Scoring:
        """The meaning of all these metrics."""
        return self.task.scoring.extended(dict(self.metrics))

    def names(self, y: np.ndarray, outputs: int) -> list[str]:
        """Names of the metrics for labels like ``y`` and ``outputs`` outputs; nothing is computed."""
        rows = jnp.zeros((2, *y.shape[1:]), jax.dtypes.canonicalize_dtype(y.dtype))
        predicted, losses, segment = jnp.zeros((2, outputs)), jnp.zeros(2), jnp.zeros(2, jnp.int32)
        return [*jax.eval_shape(lambda: self(predicted, losses, rows, segment, 1))]
