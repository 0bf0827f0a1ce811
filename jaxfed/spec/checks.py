"""Every problem of a simulation, found on the host before anything is compiled, in one error."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core.dataset import SPLITS, TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.group_algorithm import MixedAlgorithm
from jaxfed.core.hyperparameters import PerHospital, Schedule, differs
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.nn.rewrite import Form
from jaxfed.core.optimizer import Optimizer
from jaxfed.data.notices import warn_scales, warn_unmeasured
from jaxfed.spec import groups as grouping
from jaxfed.spec.shapes import batch_of, outline, variables_of

if TYPE_CHECKING:
    from jaxfed.simulation import Simulation

# Methods that tell each part of a simulation, and an example.
PARTS = {
    "algorithm": (("variables",), "FedAvg()"),
    "aggregator": (("finish", "aggregate"), "WeightedMean()"),
    "participation": (("problems",), "Poisson(0.5)"),
}
CHANGEABLE = {"client_optimizer", "participation", "l2"}  # when a run goes on


def check_simulation(sim: Simulation, like: Simulation | None = None) -> None:
    """Raise one error that lists what is wrong with a simulation.

    What it shares with ``like``, which was checked before, is not looked at again.
    """
    problems = Problems("Simulation")
    if not isinstance(sim.hospitals, Dataset):
        problems.add(
            f"hospitals={type(sim.hospitals).__name__}: give a Dataset, for example "
            "jaxfed.data.from_arrays({'north': (x, y), ...})"
        )
        problems.raise_if_any()
    for name, (methods, example) in PARTS.items():
        part = getattr(sim, name)
        fits = any(hasattr(part, method) for method in methods) and not isinstance(part, type)
        problems.check(fits, f"{name}={part!r}: give one of jaxfed's or your own, such as {example}")
    problems.raise_if_any()
    _check_training(sim, problems)
    if like is None or sim.hospitals is not like.hospitals:
        _check_features(sim.hospitals, problems)
    _check_subjects(sim, problems)
    if isinstance(sim.splits, str):
        problems.add(f"splits={sim.splits!r}: give a tuple, ({sim.splits!r},)")
        problems.raise_if_any()
    for name in sim.splits:
        problems.check(name in SPLITS, f"splits: no split {name!r}; there are {', '.join(SPLITS)}")
    problems.check(len(sim.splits) > 0, "splits=(): give at least one, for example ('test',)")
    hospitals = int((sim.hospitals.counts[:, TRAIN] > 0).sum())
    problems.check(hospitals > 0, "no hospital has training rows; give a split with some")
    for found in sim.participation.problems(hospitals):
        problems.add(found)
    for name in ("devices", "block"):
        _check_count(problems, name, getattr(sim, name), 1, optional=True)
    problems.check(sim.form in (None, *get_args(Form)), f"form={sim.form!r}: give 'fast', 'native', or None")
    available = len(jax.devices())
    problems.check(
        not isinstance(sim.devices, int) or sim.devices <= available,
        f"devices={sim.devices}: jax has {available}; call jaxfed.use_cpu_devices({sim.devices}) before "
        "anything else uses jax, or give a smaller number",
    )
    grouping.check_groups(sim, problems)
    if sim.models is None:
        try:
            as_model(sim.model)
        except TypeError as error:
            problems.add(str(error))
    problems.raise_if_any()
    _check_shapes(sim, problems)
    problems.raise_if_any()
    if like is None or sim.hospitals is not like.hospitals:
        warn_scales(sim.hospitals, stacklevel=5)
    if like is None or sim.subjects is not like.subjects:
        _warn_untested(sim)


def check_run(sim: Simulation, rounds: Any, seed: Any, eval_every: Any, initial: Any, resume: Any) -> None:
    """Raise one error that lists what is wrong with the arguments of ``run``."""
    problems = Problems("run")
    _check_count(problems, "rounds", rounds, 0)
    _check_count(problems, "eval_every", eval_every, 1)
    _check_count(problems, "seed", seed, 0)
    problems.check(
        not isinstance(seed, (int, np.integer)) or bool(seed < 2**31),
        f"seed={seed}: give a whole number below 2**31",
    )
    if resume is not None:
        problems.check(
            resume.state is not None,
            "resume: this run was loaded from files and has no state; give a Run of this session, or let "
            "runs keep what they have done, run(checkpoint=folder)",
        )
        here = sim.describe()
        changed = [n for n in here if n not in CHANGEABLE and resume.config.get(n) != here[n]]
        changed += ["hospitals"] * (resume.history.hospitals != sim.subjects.hospitals)
        changed += ["training hospitals"] * (resume.history.trainees != sim.hospitals.hospitals)
        problems.check(
            not changed,
            f"resume: that run has other {', '.join(dict.fromkeys(changed))}; give a run of this simulation",
        )
        problems.check(initial is None, "initial and resume: give one of them")
    if initial is not None:
        wanted = {name: variables_of(sim, local) for name, local in sim._locals.items()}
        found = jax.tree.map(jnp.shape, initial)
        expected = jax.tree.map(lambda leaf: leaf.shape, wanted)
        single = not isinstance(sim.algorithm, MixedAlgorithm)
        shapes, kind = (expected[grouping.ALL], "") if single else (expected, " of every group")
        problems.check(
            found == shapes, f"initial has shapes {found}, the model needs {shapes}; give Variables{kind}"
        )
    problems.raise_if_any()
    warn_unmeasured(sim.subjects, sim.splits, stacklevel=4)


def check_checkpoint(checkpoint: Any, every: Any, keep: Any, resume: Any) -> None:
    """Raise one error that lists what is wrong with the arguments for checkpoints."""
    problems = Problems("checkpoint")
    fine = checkpoint is None or isinstance(checkpoint, str | os.PathLike)
    fine = fine and checkpoint != ""
    problems.check(fine, f"checkpoint={checkpoint!r}: give the name of a folder, or None")
    problems.check(resume is None or checkpoint is None, "checkpoint and resume: give one of them")
    problems.check(every is None or checkpoint is not None, f"every={every!r}: give checkpoint=folder too")
    _check_count(problems, "every", every, 1, optional=True)
    _check_count(problems, "keep", keep, 1)
    problems.raise_if_any()


def _check_training(sim: Simulation, problems: Problems) -> None:
    for name in ("epochs", "steps", "batch_size"):
        _check_count(problems, name, getattr(sim, name), 1, optional=True)
    problems.check(
        sim.epochs is None or sim.steps is None,
        f"epochs={sim.epochs} and steps={sim.steps}: give one of them",
    )
    if sim.algorithm.trains:
        problems.check(
            isinstance(sim.client_optimizer, Optimizer),
            f"client_optimizer={sim.client_optimizer!r}: describe it, "
            "jaxfed.optimizer(optax.sgd, learning_rate=0.05)",
        )
    if sim.weights is not None:
        fine = isinstance(sim.weights, PerHospital)
        numbers = np.asarray(sim.weights.values if fine else np.nan, float)
        fine = fine and bool(np.isfinite(numbers).all()) and bool((numbers >= 0).all()) and numbers.sum() > 0
        remedy = "give jaxfed.per_hospital(...) of numbers >= 0, not all of them 0, or None"
        problems.check(fine, f"weights={sim.weights!r}: {remedy}")
        problems.check(sim.models is None, "weights: not with models=...; leave it out")
    if sim.l2 is not None and not isinstance(sim.l2, (Schedule, jax.core.Tracer)):
        given = np.asarray(sim.l2.values if isinstance(sim.l2, PerHospital) else sim.l2)
        fine = given.dtype.kind in "iuf" and bool(((given >= 0) & (given < np.inf)).all())
        problems.check(fine, f"l2={sim.l2!r}: give a number >= 0, or None")


def _check_subjects(sim: Simulation, problems: Problems) -> None:
    """Whether the hospitals that are evaluated fit those that train."""
    if sim.evaluate_on is None:
        return
    if not isinstance(sim.evaluate_on, Dataset):
        problems.add(f"evaluate_on={type(sim.evaluate_on).__name__}: give a Dataset, or None")
        return
    if sim.hospitals.steps and [*map(id, sim.hospitals.steps)] != [*map(id, sim.evaluate_on.steps)]:
        warnings.warn(
            "evaluate_on: the training rows were imputed or standardised, these not with the same numbers; "
            "give jaxfed.data.transform_like(rows, hospitals)",
            stacklevel=5,
        )
    if sim.evaluate_on.x is not sim.hospitals.x:
        _check_features(sim.evaluate_on, problems)
    here, there = (
        (data.task, data.classes, jax.tree.map(lambda leaf: leaf.shape[1:], data.x))
        for data in (sim.hospitals, sim.evaluate_on)
    )
    problems.check(
        here == there,
        f"evaluate_on: its task, classes and shapes of features are {there}, those of hospitals are {here}",
    )
    problems.check(
        not sim.algorithm.personal,
        f"evaluate_on: {type(sim.algorithm).__name__} has a model for each training hospital and none for "
        "others; leave it out",
    )


def _check_count(problems: Problems, name: str, value: Any, least: int, *, optional: bool = False) -> None:
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


def _check_features(dataset: Dataset, problems: Problems) -> None:
    """NaN and infinite features, by hospital and feature."""
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


def _check_shapes(sim: Simulation, problems: Problems) -> None:
    """What the models say of a batch, from shapes alone."""
    before = problems.count
    variables = {name: _check_model(sim, name, local, problems) for name, local in sim._locals.items()}
    if problems.count > before:
        return
    problems.check(
        not differs(getattr(sim.algorithm, "server_optimizer", None)),
        "server_optimizer: per_hospital(...) is for the hospitals; give the server one number or a schedule",
    )
    problems.check(
        sim.evaluate_on is None or not sim.algorithm.personal,
        f"evaluate_on: {type(sim.algorithm).__name__} has models for its own hospitals only; leave it out",
    )
    if isinstance(sim.algorithm, MixedAlgorithm):
        grouping.check_algorithm(sim, variables, batch_of(sim.hospitals.x, 2), problems)
        return
    recipe = sim._unplaced
    for found in recipe.algorithm.problems(recipe.local, variables[grouping.ALL]):
        problems.add(f"{type(sim.algorithm).__name__}: {found}")


def _check_model(sim: Simulation, name: str, local: LocalTraining, problems: Problems) -> Any:
    """One model; returns the shapes of its variables."""
    dataset, problem = sim.hospitals, local.problem
    which = "model" if sim.models is None else f"models[{name!r}]"
    try:
        variables, outputs = outline(sim, local)
    except Exception as error:  # whatever a user's model raises
        shapes = jax.tree.map(lambda leaf: leaf.shape[1:], dataset.x)
        why = f"{type(error).__name__}: {error}" if not isinstance(error, InvalidInput) else str(error)
        problems.add(f"{which}: it does not take rows of shape {shapes}: {why}")
        return None
    width = outputs.shape[-1] if outputs.ndim > 1 else 1
    kind = "one logit per class" if dataset.task == "multiclass" else "one logit"
    kind = "one number per target" if dataset.task == "regression" else kind
    problems.check(
        width == dataset.outputs,
        f"{which}: its output has width {width}, but {dataset.task} data need {dataset.outputs} ({kind})",
    )
    if sim.loss is not None:
        try:
            shape = jax.eval_shape(problem.losses, outputs, batch_of(dataset.y, 2)).shape
            found = f"gives shape {shape} for 2 rows"
        except Exception as error:  # whatever a user's loss raises
            shape, found = None, f"fails: {type(error).__name__}: {error}"
        problems.check(shape == (2,), f"loss: it {found}; give one loss per example, shape (2,)")
    problems.check(
        not variables.stats or (sim.batch_size is not None and sim.algorithm.trains),
        f"{which}: batch statistics need mini-batches; give batch_size, or use group norm",
    )
    return variables


def _warn_untested(sim: Simulation) -> None:
    counts = sim.subjects.counts
    for name in sim.splits:
        none = [
            h for h, n in zip(sim.subjects.hospitals, counts[:, SPLITS.index(name)], strict=True) if not n
        ]
        if none and len(none) < len(counts):
            warnings.warn(
                f"{len(none)} hospitals have no {name} rows and no {name} metrics: {', '.join(none[:5])}"
                + (" ..." if len(none) > 5 else ""),
                stacklevel=5,
            )
