"""Checks of a simulation on the host, which report every problem in one error before anything is compiled."""

from __future__ import annotations

from typing import Any, get_args

import jax
import numpy as np

from jaxfed.core.aggregation import Chain, Part
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.dataset import SPLITS, Dataset
from jaxfed.core.devices import available_devices
from jaxfed.core.errors import Problems, warn
from jaxfed.core.group_algorithm import GroupAlgorithm
from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.nn.rewrite import Form
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.participation import Participation
from jaxfed.data.notices import warn_scales
from jaxfed.privacy import HospitalDP
from jaxfed.spec.groups import check_groups
from jaxfed.spec.metrics import check_metrics
from jaxfed.spec.models import check_models
from jaxfed.spec.notices import warn_restarts, warn_untested
from jaxfed.spec.road import check_road
from jaxfed.spec.spec import Spec

# The kinds of each part of a simulation, and an example.
PARTS: dict[str, tuple[tuple[type, ...], str]] = {
    "algorithm": ((Algorithm, GroupAlgorithm), "FedAvg()"),
    "aggregator": ((Part, Chain), "WeightedMean()"),
    "participation": ((Participation,), "Poisson(0.5)"),
}


def check_spec(spec: Spec, like: Spec | None = None) -> None:
    """Raise one error that lists every problem of a simulation.

    Data and metrics that it shares with ``like``, a specification that was checked before, are not checked
    again.
    """
    problems, available = Problems("Simulation"), len(available_devices())
    if not isinstance(spec.hospitals, Dataset):
        problems.add(
            f"hospitals={type(spec.hospitals).__name__}: give a Dataset, for example "
            "jaxfed.data.from_arrays({'north': (x, y), ...})"
        )
        problems.raise_if_any()
    for name, (kinds, example) in PARTS.items():
        part = getattr(spec, name)
        problems.check(
            isinstance(part, kinds), f"{name}={part!r}: give one of jaxfed's or your own, such as {example}"
        )
    problems.raise_if_any()
    for name, value in vars(spec.algorithm).items():
        if name.endswith("optimizer") and not isinstance(value, Optimizer | None):
            problems.add(
                f"algorithm: {type(spec.algorithm).__name__}({name}={value!r}): describe it, "
                f"{name}=jaxfed.optimizer(optax.adam, learning_rate=0.01), and name other arguments"
            )
    problems.raise_if_any()
    _check_training(spec, problems)
    if like is None or spec.hospitals is not like.hospitals:
        _check_features(spec.hospitals, problems)
    _check_evaluation_hospitals(spec, problems)
    if isinstance(spec.splits, str):
        problems.add(f"splits={spec.splits!r}: give a tuple, ({spec.splits!r},)")
        problems.raise_if_any()
    for name in spec.splits:
        problems.check(name in SPLITS, f"splits: no split {name!r}; there are {', '.join(SPLITS)}")
    problems.check(len(spec.splits) > 0, "splits=(): give at least one, for example ('test',)")
    hospitals = int((spec.trained_rows > 0).sum())
    problems.check(hospitals > 0, "no hospital has training rows; give a split with some")
    problems.extend(spec.participation.problems(hospitals))
    check_road(spec, spec.participation.at_most(hospitals), problems)
    for name in ("devices", "block"):
        check_count(problems, name, getattr(spec, name), 1, optional=True)
    problems.check(
        spec.form in (None, *get_args(Form)), f"form={spec.form!r}: give 'fast', 'native', or None"
    )
    problems.check(
        not isinstance(spec.devices, int) or spec.devices <= available,
        f"devices={spec.devices}: jax has {available}; call jaxfed.use_cpu_devices({spec.devices}) before "
        "anything else uses jax, or give a smaller number",
    )
    if like is None or spec.hospitals is not like.hospitals or spec.metrics is not like.metrics:
        check_metrics(spec, problems)
    check_groups(spec, problems)
    if spec.models is None:
        try:
            as_model(spec.model)
        except TypeError as error:
            problems.add(str(error))
    problems.raise_if_any()
    check_models(spec, problems)
    problems.raise_if_any()
    if like is None or spec.client_optimizer is not like.client_optimizer:
        warn_restarts(spec)
    if like is None or spec.hospitals is not like.hospitals:
        warn_scales(spec.hospitals)
    if like is None or spec.evaluation_hospitals is not like.evaluation_hospitals:
        warn_untested(spec)


def check_count(problems: Problems, name: str, value: Any, least: int, *, optional: bool = False) -> None:
    """Record a problem unless ``value`` is a whole number, or one per hospital, of at least ``least``."""
    if optional and value is None:
        return
    if isinstance(value, PerHospital):
        array = np.asarray(value.values)
        fine = np.issubdtype(array.dtype, np.integer) and bool((array >= least).all())
        problems.check(fine, f"{name}=per_hospital({array}): give whole numbers >= {least}")
        return
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    remedy = f"give a whole number >= {least}" + (", or None" if optional else "")
    problems.check(whole and value >= least, f"{name}={value!r}: {remedy}")


def _check_training(spec: Spec, problems: Problems) -> None:
    for name in ("epochs", "steps", "batch_size"):
        check_count(problems, name, getattr(spec, name), 1, optional=True)
    problems.check(
        spec.epochs is None or spec.steps is None,
        f"epochs={spec.epochs} and steps={spec.steps}: give one of them",
    )
    if spec.algorithm.trains:
        problems.check(
            isinstance(spec.client_optimizer, Optimizer),
            f"client_optimizer={spec.client_optimizer!r}: describe it, "
            "jaxfed.optimizer(optax.sgd, learning_rate=0.05)",
        )
    by_row = spec.loss is not None or spec.hospitals.task.by_row
    problems.check(
        by_row or spec.hospitals.row_weights is None,
        f"row_weights: the loss of task={spec.hospitals.task.name!r} is no sum over single rows, so that a "
        "weight of 2 would not be worth two rows; leave them out, or give a task such as "
        "jaxfed.evaluation.discrete_hazard([...])",
    )
    if spec.weights is not None:
        fine = isinstance(spec.weights, PerHospital)
        numbers = np.asarray(spec.weights.values if fine else np.nan, float)
        fine = fine and bool(np.isfinite(numbers).all()) and bool((numbers >= 0).all()) and numbers.sum() > 0
        remedy = "give jaxfed.per_hospital(...) of numbers >= 0, not all of them 0, or None"
        problems.check(fine, f"weights={spec.weights!r}: {remedy}")
    if spec.included is not None:
        fine = isinstance(spec.included, PerHospital) and bool(np.isin(spec.included.values, (0, 1)).all())
        problems.check(
            fine and bool((spec.trained_rows > 0).any()),
            f"included={spec.included!r}: give jaxfed.per_hospital(...) of 1 for hospitals that train and 0 "
            "for the others, with a 1 for at least one that has training rows, or None",
        )
        problems.check(
            not isinstance(spec.privacy, HospitalDP),
            "included: HospitalDP accounts for all hospitals of the data; give hospitals=hospitals.select("
            "[...]) with those that train, and evaluate_on=hospitals",
        )
    problems.check(
        isinstance(spec.diagnostics, bool), f"diagnostics={spec.diagnostics!r}: give True or False"
    )
    if spec.l2 is not None and not isinstance(spec.l2, (Schedule, jax.core.Tracer)):
        given = np.asarray(spec.l2.values if isinstance(spec.l2, PerHospital) else spec.l2)
        fine = given.dtype.kind in "iuf" and bool(((given >= 0) & (given < np.inf)).all())
        problems.check(fine, f"l2={spec.l2!r}: give a number >= 0, or None")


def _check_evaluation_hospitals(spec: Spec, problems: Problems) -> None:
    """Record a problem if the hospitals that are evaluated do not fit those that train."""
    if spec.evaluate_on is None:
        return
    if not isinstance(spec.evaluate_on, Dataset):
        problems.add(f"evaluate_on={type(spec.evaluate_on).__name__}: give a Dataset, or None")
        return
    if spec.hospitals.steps and [*map(id, spec.hospitals.steps)] != [*map(id, spec.evaluate_on.steps)]:
        warn(
            "evaluate_on: the training rows were imputed or standardised, these not with the same numbers; "
            "give jaxfed.data.transform_like(rows, hospitals) or, of a table, prepare(df, like=hospitals)"
        )
    if spec.evaluate_on.x is not spec.hospitals.x:
        _check_features(spec.evaluate_on, problems)
    trained, evaluated = (
        (data.task, data.classes, jax.tree.map(lambda leaf: leaf.shape[1:], data.x))
        for data in (spec.hospitals, spec.evaluate_on)
    )
    problems.check(
        trained == evaluated,
        f"evaluate_on: its task, classes and shapes of features are {evaluated}, those of hospitals are "
        f"{trained}",
    )
    problems.check(
        not spec.algorithm.personal,
        f"evaluate_on: {type(spec.algorithm).__name__} has a model for each training hospital and none for "
        "others; leave it out",
    )


def _check_features(dataset: Dataset, problems: Problems) -> None:
    """Record NaN and infinite features, by hospital and feature."""
    for leaf in jax.tree.leaves(dataset.x):
        if not np.issubdtype(leaf.dtype, np.floating) or np.isfinite(leaf).all():
            continue
        bad = ~np.isfinite(leaf.reshape(len(leaf), -1))
        table = np.zeros((len(dataset), bad.shape[1]), np.int64)
        np.add.at(table, dataset.owner, bad)
        for c, j in zip(*np.nonzero(table), strict=True):
            feature = repr(dataset.features[j]) if len(dataset.features) > j else f"number {j}"
            problems.hospital(dataset.hospitals[c]).add(
                f"feature {feature} has {table[c, j]} missing or infinite "
                "values; use jaxfed.data.impute(hospitals, 'mean') or drop it",
                kind=f"feature {feature}",
            )
