"""Outputs, losses and confidences of a model for the rows of hospitals."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.problem import Problem
from jaxfed.core.task import Task
from jaxfed.core.types import Variables
from jaxfed.spec.spec import ALL, Spec

ROWS = 1024  # that are passed through a model at a time
LEAST = 1e-12  # smaller losses count as this


class Judged(NamedTuple):
    """What a model says of each row, ``[N]`` each: its loss, and its confidence in the row's label."""

    loss: np.ndarray
    confidence: np.ndarray


def check_attackable(spec: Any, problems: Problems) -> None:
    """Record why the audits of this package cannot work on a simulation; raise if it is none."""
    problems.check(
        isinstance(spec, Spec), f"sim={type(spec).__name__}: give a jaxfed.Simulation as the first argument"
    )
    problems.raise_if_any()
    problems.check(
        spec.models is None, "sim: hospitals have different models; give a simulation with model=..."
    )
    problems.check(
        not spec.algorithm.adapts,
        f"sim: {type(spec.algorithm).__name__} adapts the model before it is used; give another algorithm",
    )


def check_judgeable(spec: Spec, problems: Problems) -> None:
    """Record why rows of a simulation have no loss of their own."""
    problems.check(
        spec.local_trainings[ALL].problem.by_row,
        f"sim: the loss of a row of task={spec.hospitals.task.name!r} depends on other rows; give data with "
        "another task",
    )


def judge(spec: Spec, variables: Variables, data: Dataset) -> Judged:
    """What the models of a run say of rows; personal models are applied to their hospital's rows."""
    problem = spec.local_trainings[ALL].problem
    if spec.algorithm.personal:
        owner, x, y = jax.tree.map(jnp.asarray, (data.owner, data.x, data.y))
        return Judged(*map(np.asarray, _personal(problem, variables, owner, x, y)))
    parts = []
    for first in range(0, len(data.y), ROWS):
        x, y = jax.tree.map(lambda leaf: leaf[first : first + ROWS], (data.x, data.y))  # noqa: B023
        parts.append(_shared(problem, variables, x, y))
    return Judged(*(np.concatenate([np.asarray(part[i]) for part in parts]) for i in range(2)))


def confidences(task: Task, outputs: Array, losses: Array, y: Array) -> Array:
    """``[N]``: log(p / (1 - p)) of the probability p of the true class; minus log loss without classes.

    It is close to normal over models (Carlini et al. 2022, arXiv:2112.03570, section V).
    """
    if task.two_classes:
        logit = outputs.reshape(len(y))
        return jnp.where(y > 0, logit, -logit)
    if task.output_per_class:
        true = jnp.take_along_axis(outputs, y[:, None], 1)[:, 0]
        others = jnp.where(jax.nn.one_hot(y, outputs.shape[1], dtype=bool), -jnp.inf, outputs)
        return true - jax.scipy.special.logsumexp(others, axis=1)
    return -jnp.log(jnp.maximum(losses, LEAST))


@jax.jit
def _shared(problem: Problem, variables: Variables, x: Any, y: Array) -> tuple[Array, Array]:
    outputs = problem.predict(variables, x)
    losses = problem.losses(outputs, y)
    return losses, confidences(problem.task, outputs, losses, y)


@jax.jit
def _personal(problem: Problem, variables: Variables, owner: Array, x: Any, y: Array) -> tuple[Array, Array]:
    def row(one: tuple[Array, Any, Array]) -> tuple[Array, Array]:
        at, features, label = one
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf)[at], variables)
        alone = jax.tree.map(lambda leaf: leaf[None], (features, label))
        loss, confidence = _shared(problem, model, *alone)
        return loss[0], confidence[0]

    return jax.lax.map(row, (owner, x, y), batch_size=ROWS)
