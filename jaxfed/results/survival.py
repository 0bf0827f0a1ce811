"""Probabilities of survival from the risks of a Cox model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.core.meaning import Meaning, survival_at
from jaxfed.evaluation.baseline import BaselineHazard


def baseline_at(times: Sequence[float], meaning: Meaning, baseline: BaselineHazard | None) -> BaselineHazard:
    """The ``baseline`` of a run whose outputs have this ``meaning``, if it answers for ``times``.

    Raises:
        InvalidInput: times that are none, another model, or a run without a baseline.
    """
    if meaning.link == "hazard":
        names = ", ".join(meaning.names)
        raise InvalidInput(f"predict: the model gives {names} without times=; leave it out")
    if meaning.link != "risk":
        raise InvalidInput("predict: times= is for Cox models (task='survival'); leave it out")
    wanted = np.asarray(times, float)
    if wanted.ndim != 1 or not len(wanted) or not (wanted >= 0).all():
        raise InvalidInput(f"predict: times={times!r}; give one or more times >= 0, such as [365, 730]")
    if baseline is None:
        raise InvalidInput(
            "predict: the run has no baseline hazard, as it was copied, saved by an earlier version or "
            "trained with differential privacy; leave times= out, and give the risks of rows that you have "
            "to jaxfed.evaluation.baseline_hazard"
        )
    return baseline


def with_survival(table: pd.DataFrame, times: Sequence[float], baseline: BaselineHazard) -> pd.DataFrame:
    """The table of risks with a column ``survival at ..`` for each time."""
    survival = baseline.survival(table["risk"], times)
    return table.assign(**{survival_at(t): column for t, column in zip(times, survival.T, strict=True)})
