"""The trainer of a specification."""

from __future__ import annotations

import math
from functools import partial

import jax
import numpy as np

from jaxfed.core.group_algorithm import MixedAlgorithm
from jaxfed.spec.shapes import variables_of
from jaxfed.spec.spec import Spec
from jaxfed.storage.fingerprint import settings
from jaxfed.training.federated import Federated
from jaxfed.training.grouped import Grouped


def trainer_of(spec: Spec) -> Federated | Grouped:
    """What trains as a checked specification asks for; nothing is put on a device yet."""
    return _grouped(spec) if isinstance(spec.algorithm, MixedAlgorithm) else _federated(spec)


def _federated(spec: Spec) -> Federated:
    return Federated(
        unplaced=spec.recipe,
        hospitals=spec.hospitals,
        subjects=spec.evaluation_hospitals,
        splits=spec.splits,
        description=spec.describe(),
        identity=partial(settings, spec),
        wanted_devices=spec.devices,
        block=spec.block,
        metrics=spec.measure.metrics,
    )


def _grouped(spec: Spec) -> Grouped:
    names = tuple(spec.local_trainings)
    variables = [variables_of(spec, local) for local in spec.local_trainings.values()]
    return Grouped(
        unplaced=spec.recipe,
        hospitals=spec.hospitals,
        names=names,
        group=np.array([names.index(name) for name in spec.group_of]),
        parameters=tuple(sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(v.params)) for v in variables),
        splits=spec.splits,
        description=spec.describe(),
        identity=partial(settings, spec),
        wanted_devices=spec.devices,
        wanted_blocks=None if spec.block is None else (spec.block,) * len(names),
        metrics=spec.measure.metrics,
    )
