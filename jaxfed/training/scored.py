"""What a run needs to score patients: what its models expect, and the baseline hazard of a Cox model."""

from __future__ import annotations

import jax
import numpy as np

from jaxfed.core.dataset import TRAIN
from jaxfed.core.types import Variables
from jaxfed.evaluation.baseline import BaselineHazard, baseline_hazard
from jaxfed.evaluation.life_table import life_table
from jaxfed.results.prediction import Inputs, apply_model, by_hospital
from jaxfed.spec.spec import Spec

INTERVALS = 200  # of time, in which hospitals count


def inputs_of(spec: Spec) -> Inputs:
    """What the models expect and what their outputs mean."""
    data = spec.hospitals
    groups = {} if spec.models is None else dict(zip(data.hospitals, spec.group_of, strict=True))
    return Inputs(
        features=data.features,
        classes=data.classes,
        task=data.task.name,
        outputs=data.outputs,
        steps=data.steps,
        groups=groups,
        adapts=spec.algorithm.adapts,
        meaning=data.task.meaning(data.classes, data.outputs),
    )


def has_baseline(spec: Spec) -> bool:
    """Whether training rows give a baseline: of Cox models, and not beside a guarantee of privacy."""
    return inputs_of(spec).meaning.link == "risk" and not spec.algorithm.adapts and spec.privacy is None


def fitted_baseline(spec: Spec, variables: Variables) -> BaselineHazard:
    """The baseline hazard of the training rows of all hospitals that train."""
    data = spec.hospitals
    rows = (data.split == TRAIN) & (spec.trained_rows[data.owner] > 0)
    owners, inputs = data.hospitals if spec.algorithm.personal else None, inputs_of(spec)
    differ = owners is not None or bool(inputs.groups)
    # with one model all rows are one call
    names = np.array(data.hospitals)[data.owner[rows]] if differ else np.full(rows.sum(), "")
    model = spec.model if spec.models is None else spec.models
    x = jax.tree.map(lambda leaf: leaf[rows], data.x)
    risk = by_hospital(inputs, variables, owners, model, x, names, apply_model)[:, 0]
    ends = life_table(data, split="train", intervals=INTERVALS).ends
    time, event = data.y[rows].T
    return baseline_hazard(risk, time, event, ends)
