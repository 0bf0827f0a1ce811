"""Users' metrics, and the meaning of the names of metrics where results are shown or compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# What tables put behind a metric's name.
SUFFIXES = ("_weighted", "_sd", "_worst", "_worst_decile", "_best", "_undefined", "_pooled")
TOGETHER = 8  # segments whose rows are masked at a time


@dataclasses.dataclass(frozen=True)
class Metric:
    """A user's metric: ``Simulation(metrics={"f2": Metric(f2, label="F2")})``.

    The function sees all rows that are evaluated on a device, once for each hospital and split, with the
    other rows masked, and once more for each split over all hospitals: that is cheap for a sum, and
    expensive for a function that sorts if there are many hospitals.

    Attributes:
        function: ``(outputs [N, ...], y [N, ...], mask [N]) -> scalar``, in jax. ``mask`` is 1 for the rows
            of a hospital and split (or, pooled, of all hospitals) and 0 for the others, whose outputs and
            labels are 0. Without rows the metric is NaN, whatever the function returns.
        higher_is_better: whether more is better, as it is for a plain function.
        label: its label in figures; None for its name.
    """

    function: Callable[[Array, Array, Array], Array]
    higher_is_better: bool = True
    label: str | None = None

    def by_segment(self, outputs: Array, y: Array, segment: Array, segments: int) -> Array:
        """The metric of each segment, ``[segments]``, at least in float32; NaN without rows."""

        def value(number: Array) -> Array:
            inside = segment == number
            predicted, labels = (
                jnp.where(inside.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0) for leaf in (outputs, y)
            )
            dtype = jnp.promote_types(outputs.dtype, jnp.float32)
            result = self.function(predicted, labels, inside.astype(dtype)).astype(dtype)
            return jnp.where(inside.any(), result, jnp.nan)

        return jax.lax.map(value, jnp.arange(segments), batch_size=min(TOGETHER, segments))

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"Metric({name}, higher_is_better={self.higher_is_better}, label={self.label!r})"


def as_metric(metric: Metric | Callable[..., Any]) -> Metric:
    """The metric, or a plain function as a metric of which more is better."""
    return metric if isinstance(metric, Metric) else Metric(metric)


@dataclasses.dataclass(frozen=True)
class Scoring:
    """The meaning of the metrics of a run or a sweep: plain data that are saved with the metrics.

    Attributes:
        loss: the metric that is the mean loss; its smallest value chooses settings and rounds.
        first: the metric that figures and tables show first.
        higher: the metrics of which more is better; of all others less is.
        labels: ``(metric, its label in figures)`` for metrics whose label is not their name.
        prevalence: whether the labels have a share of positives, or of events.
    """

    loss: str
    first: str
    higher: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    prevalence: bool = False

    def higher_is_better(self, metric: str) -> bool:
        """Whether more is better for a metric, or for one of its columns such as ``auroc_worst``."""
        return parts(metric)[0] in self.higher

    def label(self, metric: str) -> str:
        """The label of a metric in figures."""
        return dict(self.labels).get(metric, metric)

    def extended(self, metrics: Mapping[str, Metric]) -> Scoring:
        """A copy with users' metrics added."""
        higher = tuple(name for name, metric in metrics.items() if metric.higher_is_better)
        labels = tuple((name, metric.label) for name, metric in metrics.items() if metric.label)
        return dataclasses.replace(self, higher=self.higher + higher, labels=self.labels + labels)

    def to_json(self) -> str:
        """Text for a file."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Scoring:
        """Read the text that :meth:`to_json` wrote."""
        read: dict[str, Any] = json.loads(text)
        labels = tuple((name, label) for name, label in read["labels"])
        return cls(**{**read, "higher": tuple(read["higher"]), "labels": labels})


def parts(column: str) -> tuple[str, str]:
    """A column of a table as a metric and a suffix of ``SUFFIXES`` (or ``""``)."""
    for suffix in SUFFIXES:
        if column.endswith(suffix):
            return column.removesuffix(suffix), suffix
    return column, ""
