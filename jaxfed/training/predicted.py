"""The outputs of a run's models for its evaluated rows, in the order of the data set."""

from __future__ import annotations

import numpy as np

from jaxfed.core.dataset import SPLITS
from jaxfed.core.engine import predict
from jaxfed.core.engine.slots import RunInput
from jaxfed.core.layout.store import evaluated_rows
from jaxfed.core.types import State
from jaxfed.records.predictions import Predictions
from jaxfed.spec.spec import Spec
from jaxfed.training.placed import Placed, members_of


def predicted(placed: Placed, spec: Spec, given: RunInput, state: State) -> Predictions:
    """Predictions of the models in a state ``[1, ...]`` of a run with the inputs ``given``."""
    data = spec.evaluation_hospitals
    splits = tuple(SPLITS.index(name) for name in spec.splits)
    results = predict.outputs(given, state, placed.data, plans=placed.evaluation_plans, splits=len(splits))
    dtype = np.promote_types(results[0][0].dtype, np.float32)
    outputs = np.full((len(data.y), data.outputs), np.nan, dtype)
    members = members_of(spec.evaluation_group_of, spec)
    placements = placed.evaluation_placements[0]
    for (values, counted), placement, group in zip(results, placements, members, strict=True):
        parts = evaluated_rows(data, placement, group, splits)
        values, counted = (
            np.asarray(leaf).reshape(len(parts), -1, *leaf.shape[1:]) for leaf in (values, counted)
        )
        for part, value, inside in zip(parts, values, counted, strict=True):
            value = value[: len(part)].reshape(len(part), -1).astype(dtype)
            outputs[part] = np.where(inside[: len(part), None], value, np.nan)
    row = np.flatnonzero(np.isin(data.split, splits))
    return Predictions(
        outputs[row], data.y[row], data.owner[row], data.split[row], row, data.hospitals, data.task.name,
        data.classes, data.task.meaning(data.classes, data.outputs),
    )  # fmt: skip
