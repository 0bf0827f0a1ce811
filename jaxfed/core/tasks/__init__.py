"""jaxfed's tasks, and their names."""

from __future__ import annotations

from collections.abc import Iterable

from jaxfed.core.errors import InvalidInput
from jaxfed.core.metrics.metric import Scoring
from jaxfed.core.task import Task
from jaxfed.core.tasks.binary import BINARY
from jaxfed.core.tasks.discrete_hazard import discrete_hazard
from jaxfed.core.tasks.multiclass import MULTICLASS
from jaxfed.core.tasks.multilabel import multilabel
from jaxfed.core.tasks.quantiles import quantiles
from jaxfed.core.tasks.regression import REGRESSION
from jaxfed.core.tasks.survival import SURVIVAL, SURVIVAL_EFRON

TASKS = {task.name: task for task in (BINARY, MULTICLASS, REGRESSION, SURVIVAL, SURVIVAL_EFRON)}

__all__ = [
    "BINARY",
    "MULTICLASS",
    "REGRESSION",
    "SURVIVAL",
    "SURVIVAL_EFRON",
    "TASKS",
    "as_task",
    "discrete_hazard",
    "known_scoring",
    "multilabel",
    "quantiles",
]


def as_task(task: Task | str) -> Task:
    """The task itself, or jaxfed's task of this name.

    Raises:
        InvalidInput: ``task`` is neither a task nor the name of one.
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, str) or task not in TASKS:
        raise InvalidInput(f"task={task!r}: give one of {', '.join(map(repr, TASKS))}, or a jaxfed.Task")
    return TASKS[task]


def known_scoring(metrics: Iterable[str]) -> Scoring | None:
    """The scoring of jaxfed's task that has metrics of these names, or None if there is no such task."""
    names = {*metrics}
    fits = [task.scoring for task in TASKS.values() if {task.loss, task.first} <= names]
    return fits[0] if fits else None
