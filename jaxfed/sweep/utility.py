"""What privacy costs: a metric against epsilon, of a federation and of its baselines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput
from jaxfed.privacy import PatientDP, arguments
from jaxfed.spec.spec import Spec
from jaxfed.sweep.run import sweep


def privacy_utility(
    arms: Mapping[str, Spec],
    epsilons: Sequence[float],
    rounds: int,
    seeds: int,
    metric: str | None,
    **options: Any,
) -> pd.DataFrame:
    """See :meth:`jaxfed.Simulation.privacy_utility`; ``arms`` are specifications with :class:`PatientDP`."""
    parts = []
    for value in epsilons:
        for problem in arguments.real("epsilons", value, 0, math.inf, above=True):
            raise InvalidInput(f"privacy_utility: {problem}")
    for name, spec in arms.items():
        if not isinstance(spec.privacy, PatientDP):
            raise InvalidInput(
                "privacy_utility: give the simulation privacy=jaxfed.privacy.PatientDP(epsilon=1.0, "
                "rounds=1); "
                "all but epsilon and rounds is used"
            )
        private = dataclasses.replace(
            spec.privacy, noise_multiplier=None, epsilon=float(epsilons[0]), until_epsilon=None, rounds=rounds
        )
        fields = {"privacy.epsilon": [float(e) for e in epsilons], "seed": range(seeds)}
        parts.append(_rows(name, dataclasses.replace(spec, privacy=private), fields, rounds, metric, options))
        plain = dataclasses.replace(spec, privacy=None)
        parts.append(_rows(name, plain, {"seed": range(seeds)}, rounds, metric, options))
    return pd.concat(parts, ignore_index=True)


def _rows(
    arm: str, spec: Spec, fields: dict[str, Any], rounds: int, metric: str | None, options: dict[str, Any]
) -> pd.DataFrame:
    done = sweep(spec, fields, rounds, eval_every=rounds, **options)
    metric = metric or done.primary
    frame = done.to_frame()
    last = frame[(frame["round"] == rounds) & (frame["split"] == spec.splits[-1])]
    epsilon = last["privacy.epsilon"] if "privacy.epsilon" in last else np.full(len(last), np.inf)
    columns = {"arm": arm, "epsilon": epsilon, "seed": last["seed"], "mean": last[metric]}
    return pd.DataFrame({**columns, "worst": last[f"{metric}_worst"]})
