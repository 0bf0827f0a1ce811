"""jaxfed's task of a run in files, which have the task's name and what its outputs mean."""

from __future__ import annotations

from jaxfed.core.meaning import Meaning
from jaxfed.core.task import Task
from jaxfed.core.tasks import TASKS
from jaxfed.core.tasks.discrete_hazard import discrete_hazard
from jaxfed.core.tasks.multilabel import multilabel
from jaxfed.core.tasks.quantiles import quantiles


def task_named(name: str, meaning: Meaning) -> Task | None:
    """The task of this name whose outputs have this meaning; None for a user's task."""
    if meaning.link == "sigmoid":
        return multilabel(meaning.names)
    if meaning.link == "sort":
        return quantiles(float(text.split()[0]) for text in meaning.names)
    if meaning.link == "hazard":
        return discrete_hazard([float(text.split()[-1]) for text in meaning.names])
    return TASKS.get(name)
