"""Checks of models and of what trains them: they have to fit the data; nothing is computed."""

from __future__ import annotations

from typing import Any

import jax

from jaxfed.aggregators import WeightedMean
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.hyperparameters import differs
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer, failure
from jaxfed.privacy import HospitalDP, PatientDP
from jaxfed.spec.groups import check_algorithm
from jaxfed.spec.notices import warn_few, warn_uncorrelated
from jaxfed.spec.road import check_single_uploads
from jaxfed.spec.shapes import batch_of, outline
from jaxfed.spec.spec import Spec


def check_models(spec: Spec, problems: Problems) -> None:
    """Record why models and what trains them do not fit the data, on the shapes of a batch."""
    before = problems.count
    variables = {
        name: _check_model(spec, name, local, problems) for name, local in spec.local_trainings.items()
    }
    if problems.count > before:
        return
    problems.check(
        not differs(getattr(spec.algorithm, "server_optimizer", None)),
        "server_optimizer: per_hospital(...) is for the hospitals; give the server one number or a schedule",
    )
    if spec.privacy is not None:
        _check_privacy(spec, problems)
        if problems.count > before:
            return
    for model in variables.values():
        _check_optimizers(spec, model.params, problems)
    if problems.count > before:
        return
    check_algorithm(spec, variables, batch_of(spec.hospitals.x, 2), problems)
    if problems.count == before:
        check_single_uploads(spec, problems)


def _check_privacy(spec: Spec, problems: Problems) -> None:
    """Record why privacy cannot work with this simulation; a guarantee for few hospitals is warned of."""
    if not isinstance(spec.privacy, PatientDP | HospitalDP):
        problems.add(
            f"privacy={spec.privacy!r}: give jaxfed.privacy.PatientDP(noise_multiplier=1.0), or None"
        )
        return
    if isinstance(spec.privacy, HospitalDP):
        problems.check(
            isinstance(spec.aggregator, WeightedMean) and spec.aggregator.expected is None,
            f"aggregator={spec.aggregator!r}: HospitalDP takes its place, because another rule or noise "
            "has no epsilon here; leave it out",
        )
        problems.check(
            spec.weights is None, "weights: under HospitalDP every hospital counts once; leave them out"
        )
    try:
        spec.private  # noqa: B018 - raises
    except InvalidInput as error:
        problems.add(str(error))
        return
    warn_few(spec)
    warn_uncorrelated(spec)


def _check_optimizers(spec: Spec, params: Any, problems: Problems) -> None:
    """Record optimisers, of the hospitals and in the algorithm, that need more than jaxfed gives them."""
    parts: list[tuple[str, Any]] = [("client_optimizer", spec.client_optimizer)] * spec.algorithm.trains
    inside = jax.tree_util.tree_leaves_with_path(spec.algorithm, is_leaf=lambda x: isinstance(x, Optimizer))
    parts += [(f"algorithm{jax.tree_util.keystr(path)}", part) for path, part in inside]
    for name, optimizer in parts:
        why = failure(optimizer, params) if isinstance(optimizer, Optimizer) else None
        problems.check(
            why is None,
            f"{name}={optimizer!r}: {why}; give one that needs no loss, such as optax.sgd or optax.adam "
            "(with learning_rate=jaxfed.schedule(...) it can fall over rounds)",
        )


def _check_model(spec: Spec, name: str, local: LocalTraining, problems: Problems) -> Any:
    """Check one model; returns the shapes of its variables."""
    dataset, problem = spec.hospitals, local.problem
    which = "model" if spec.models is None else f"models[{name!r}]"
    try:
        variables, outputs = outline(spec, local)
    except Exception as error:  # whatever a user's model raises
        shapes = jax.tree.map(lambda leaf: leaf.shape[1:], dataset.x)
        why = f"{type(error).__name__}: {error}" if not isinstance(error, InvalidInput) else str(error)
        problems.add(f"{which}: it does not take rows of shape {shapes}: {why}")
        return None
    width = outputs.shape[-1] if outputs.ndim > 1 else 1
    problems.check(
        width == dataset.outputs,
        f"{which}: its output has width {width}, but {dataset.task} data need {dataset.outputs} "
        f"({dataset.task.output})",
    )
    if spec.loss is not None:
        try:
            shape = jax.eval_shape(problem.losses, outputs, batch_of(dataset.y, 2)).shape
            result = f"gives shape {shape} for 2 rows"
        except Exception as error:  # whatever a user's loss raises
            shape, result = None, f"fails: {type(error).__name__}: {error}"
        problems.check(shape == (2,), f"loss: it {result}; give one loss per example, shape (2,)")
    problems.check(
        not variables.stats or (spec.batch_size is not None and spec.algorithm.trains),
        f"{which}: batch statistics need mini-batches; give batch_size, or use group norm",
    )
    return variables
