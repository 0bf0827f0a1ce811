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
from jaxfed.spec.spec import Spec

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


def judge(spec: Spec, variables: Variables, data: Dataset) -> Judged:
    """What the models of a run say of rows; personal models are applied to their hospital's rows."""
    problem = spec.local_trainings["all"].problem
    y = jnp.asarray(data.y)
    if spec.algorithm.personal:
        outputs = _personal(problem, variables, jnp.asarray(data.owner), data.x)
    else:
        chunks = range(0, len(data.y), ROWS)
        parts = [
            _shared(problem, variables, jax.tree.map(lambda leaf: leaf[at : at + ROWS], data.x))  # noqa: B023
            for at in chunks
        ]
        outputs = jnp.concatenate(parts)
    losses = problem.losses(outputs, y)
    return Judged(np.asarray(losses), np.asarray(confidences(data.task, outputs, losses, y)))


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
def _shared(problem: Problem, variables: Variables, x: Any) -> Array:
    return problem.predict(variables, x)


@jax.jit
def _personal(problem: Problem, variables: Variables, owner: Array, x: Any) -> Array:
    def row(one: tuple[Array, Any]) -> Array:
        at, features = one
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf)[at], variables)
        return problem.predict(model, jax.tree.map(lambda leaf: leaf[None], features))[0]

    return jax.lax.map(row, (owner, x), batch_size=ROWS)
