"""Checks of users' metrics and tasks: they can be computed, and their names are unique."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxfed.core.dataset import SPLITS
from jaxfed.core.errors import Problems
from jaxfed.core.metrics.metric import SUFFIXES, as_metric, parts
from jaxfed.core.task import Measure
from jaxfed.spec.spec import Spec

# Columns and axes of the tables of runs and sweeps.
TAKEN = {
    "round", "rounds", "split", "hospital", "hospitals", "seed", "data", "config", "configuration", "setting",
    "rows", "rounds_done", "diverged", "prevalence", "rejected", "rejected_uploads", "rejected_rounds",
    "empty_rounds", "present_per_round", "train_loss", *(f"{split}_rows" for split in SPLITS),
}  # fmt: skip


def check_metrics(spec: Spec, problems: Problems) -> None:
    """Record problems of the task's metrics and of ``metrics``, each with the remedy."""
    data = spec.hospitals
    try:
        names = Measure(data.task).names(data.y, data.outputs)
    except Exception as error:  # whatever a user's task raises
        problems.add(f"task={data.task.name!r}: its measures fail: {type(error).__name__}: {error}")
        return
    scoring = data.task.scoring
    lacking = [name for name in dict.fromkeys((scoring.loss, scoring.first)) if name not in names]
    problems.check(
        not lacking,
        f"task={data.task.name!r}: its measures give {', '.join(names)} and not {', '.join(lacking)}; give "
        "what loss and first name",
    )
    for name in names:
        _check_name("task", name, {field.name for field in dataclasses.fields(spec)}, problems)
    if spec.metrics is None:
        return
    if not isinstance(spec.metrics, Mapping):
        problems.add(f"metrics={spec.metrics!r}: give {{name: function}}")
        return
    taken = {field.name for field in dataclasses.fields(spec)}
    for name, metric in spec.metrics.items():
        if name in names:
            problems.add(f"metrics: {data.task} data have a metric {name!r}; give yours another name")
            continue
        _check_name("metrics", name, taken, problems)
        _check_function(name, metric, data, problems)


def _check_name(where: str, name: Any, taken: set[str], problems: Problems) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        problems.add(f"{where}: a metric is called {name!r}; give a name of letters, digits and underscores")
        return
    suffix = parts(name)[1]
    problems.check(
        not suffix,
        f"{where}: the metric {name!r} ends in {suffix!r}, as columns of tables do ({', '.join(SUFFIXES)}); "
        "give another name",
    )
    problems.check(
        name not in TAKEN | taken,
        f"{where}: the metric {name!r} has the name of a column or field; give another name, such as "
        f"'my_{name}'",
    )


def _check_function(name: str, metric: Any, data: Any, problems: Problems) -> None:
    if not callable(as_metric(metric).function):
        problems.add(
            f"metrics[{name!r}]={metric!r}: give a function (outputs, y, mask) -> scalar, or "
            "jaxfed.Metric(...)"
        )
        return
    y = jax.ShapeDtypeStruct((2, *data.y.shape[1:]), jax.dtypes.canonicalize_dtype(data.y.dtype))
    outputs = jax.ShapeDtypeStruct((2, data.outputs), jnp.result_type(float))
    mask = jax.ShapeDtypeStruct((2,), jnp.result_type(float))
    try:
        shape = jnp.shape(jax.eval_shape(as_metric(metric).function, outputs, y, mask))
        result = f"gives shape {shape}"
    except Exception as error:  # whatever a user's function raises
        shape, result = None, f"fails: {type(error).__name__}: {error}"
    problems.check(
        shape == (), f"metrics[{name!r}]: it {result}; give a function (outputs, y, mask) -> scalar"
    )
