r"""Part 10: times until an event, some of which are not seen because the patient is censored before.

    T = scale (E_T / exp(eta))^(1 / shape),   C = scale E_C^(1 / shape),   E ~ Exp(1)
    time = min(T, C),   event = T <= C

T is a Weibull proportional-hazards model with hazard ``h_0(t) exp(eta)``, exponential for ``shape`` 1. As
the censoring has the shape of the event, ``P(event | z) = sigmoid(eta)`` whatever the time: the patients
are those of :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr` with its ``y`` as the event,
``time = scale (E / (1 + exp(eta)))^(1 / shape)``, and after it the event of a censored patient is as far away
as at the beginning: ``T^shape = time^shape + scale^shape E / exp(eta)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.task import Task
from jaxfed.core.tasks import SURVIVAL
from jaxfed.data.ehr.checks import check_between, check_number
from jaxfed.data.ehr.draws import TIMES, keyed
from jaxfed.data.ehr.synthetic import synthetic_ehr

NOT_HERE = ("prevalence", "sensitivity", "specificity")


def synthetic_survival(
    hospitals: int = 200,
    *,
    censoring: float = 0.7,
    shape: float = 1.0,
    follow_up: float = 365.0,
    task: Task = SURVIVAL,
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Draw hospitals ``h0000, h0001, ...`` with times until an event, and the true hazards.

    Args:
        hospitals: how many.
        censoring: share of the population whose event is not seen; usual are 0.5 to 0.9.
        shape: of the Weibull distribution: 1 is a constant hazard, above 1 it rises with time.
        follow_up: median time until censoring, in days.
        task: one of times and events, such as ``jaxfed.evaluation.SURVIVAL``.
        seed: of everything.
        **options: of :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr` except ``prevalence``,
            ``sensitivity`` and ``specificity``; ``label_shift`` is that of the share of events.

    Returns:
        Dataset with ``x [N, d]`` and ``y [N, 2]`` float32, time (days) and event (1, or 0 if censored), and
        ``truth``: ``eta [N]``, the log hazard ratio, ``p [N]``, the probability that the event is seen,
        and ``time [N]``, the days until the event had nobody been censored. ``split`` is stratified by event.

    Raises:
        InvalidInput: everything that cannot be used.

    >>> synthetic_survival(2, sizes=[40, 30]).y.shape
    (70, 2)
    """
    problems = Problems("synthetic_survival")
    check_between("censoring", censoring, 0, 1, problems, ", as 0.7")
    for key, value in (("shape", shape), ("follow_up", follow_up)):
        check_number(key, value, problems, np.finfo(float).tiny)
    survival = isinstance(task, Task) and task.survival
    problems.check(
        survival, f"task={task!r}: give a task of time and event, such as jaxfed.evaluation.SURVIVAL"
    )
    for key in NOT_HERE:
        problems.check(key not in options, f"{key}: that is for binary outcomes; here censoring=0.7 is given")
    problems.raise_if_any()
    dataset = synthetic_ehr(hospitals, seed=seed, prevalence=1 - censoring, **options)
    time, uncensored = _times(dataset, shape, follow_up, seed)
    y = np.stack([time, dataset.y], axis=1).astype(np.float32)
    return dataset.replace(y=y, task=task, classes=(), truth={**dataset.truth, "time": uncensored})


def _times(dataset: Dataset, shape: float, follow_up: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``[N]`` days until the event or the censoring, whichever is first, and ``[N]`` until the event."""
    first, rest = np.concatenate(
        [keyed(seed, TIMES, h).standard_exponential((int(n), 2)) for h, n in enumerate(dataset.size)]
    ).T
    hazard, scale = np.exp(dataset.truth["eta"]), follow_up / np.log(2) ** (1 / shape)
    seen = first / (1 + hazard)
    whole = seen + np.where(dataset.y == 1, 0, rest / hazard)
    return scale * seen ** (1 / shape), scale * whole ** (1 / shape)
