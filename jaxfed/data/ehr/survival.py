r"""Part 10: times until an event, some of which are not seen because the patient is censored before.

    T = scale (E_T / exp(eta))^(1 / shape),   C = scale E_C^(1 / shape),   E ~ Exp(1)
    time = min(T, C),   event = T <= C

T is a Weibull proportional-hazards model with hazard ``h_0(t) exp(eta)``, exponential for ``shape`` 1. As
the censoring has the shape of the event, ``P(event | z) = sigmoid(eta)`` whatever the time: the patients
are those of :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr` with ``y`` as the event, and
``time = scale (E / (1 + exp(eta)))^(1 / shape)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems
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
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """A table with a row per patient: features, the time until event or censoring, and which it was.

    Args:
        hospitals: how many.
        censoring: share of the population whose event is not seen; usual are 0.5 to 0.9.
        shape: of the Weibull distribution: 1 is a constant hazard, above 1 it rises with time.
        follow_up: median time until censoring, in days.
        seed: of everything.
        **options: of :func:`~jaxfed.data.ehr.synthetic.synthetic_ehr` except ``prevalence``,
            ``sensitivity`` and ``specificity``. That function with ``prevalence=1 - censoring`` and the same
            options gives the same patients in the same order; its ``truth["eta"]`` is the log hazard ratio.

    Returns:
        Columns ``site`` (text), the features, ``time`` (days, above 0), ``event`` (1 if seen, else 0).

    Raises:
        InvalidInput: everything that cannot be used.

    >>> synthetic_survival(2, sizes=[40, 30], features=2).columns.tolist()
    ['site', 'x00', 'x01', 'time', 'event']
    """
    problems = Problems("synthetic_survival")
    check_between("censoring", censoring, 0, 1, problems, ", as 0.7")
    for key, value in (("shape", shape), ("follow_up", follow_up)):
        check_number(key, value, problems, np.finfo(float).tiny)
    for key in NOT_HERE:
        problems.check(key not in options, f"{key}: that is for binary outcomes; here censoring=0.7 is given")
    problems.raise_if_any()
    dataset = synthetic_ehr(hospitals, seed=seed, prevalence=1 - censoring, **options)
    table = pd.DataFrame(dataset.x, columns=list(dataset.features))
    table.insert(0, "site", np.repeat(np.array(dataset.hospitals), dataset.size))
    table["time"] = _times(dataset, shape, follow_up, seed)
    table["event"] = dataset.y
    return table


def oracle_concordance(eta: np.ndarray, censored: bool = True) -> float:
    """Expected concordance (Harrell's C) of the true log hazard ratios ``eta [n]``; NaN below two patients.

    Of a pair the event of i comes first with probability ``e_i / (e_i + e_j + c)``, ``e = exp(eta)``, where
    c is 2 with the censoring of :func:`synthetic_survival` (a hazard of 1 for each of the two) and 0 without
    any. The expectations of concordant and of comparable pairs are added up over all pairs, in O(n^2) steps.
    """
    e = np.exp(np.sort(np.asarray(eta, float)))
    if e.ndim != 1:
        raise InvalidInput(f"oracle_concordance: eta has shape {e.shape}; give [n]")
    concordant = comparable = 0.0
    for i in range(len(e) - 1):
        later = e[i + 1 :]
        seen = 1 / (e[i] + later + 2 * censored)
        comparable += float((seen * (e[i] + later)).sum())
        concordant += float((seen * np.where(later > e[i], later, (e[i] + later) / 2)).sum())
    return concordant / comparable if len(e) > 1 else float("nan")


def _times(dataset: Dataset, shape: float, follow_up: float, seed: int) -> np.ndarray:
    """``[N]`` days until the event or the censoring, whichever is first."""
    first = np.concatenate(
        [keyed(seed, TIMES, h).standard_exponential(int(n)) for h, n in enumerate(dataset.size)]
    )
    scale = follow_up / np.log(2) ** (1 / shape)
    return scale * (first / (1 + np.exp(dataset.truth["eta"]))) ** (1 / shape)
