"""An audit of a simulation: canaries among patients or hospitals, and what the model tells of them.

A canary is a made-up patient with a feature of its own, 0 for everybody else, and the label that the
initial model believes least, so that its gradient is large and in a direction of its own: much about one
patient, which is what differential privacy has to hide. Where the guarantee is for a hospital, every canary
is a hospital of one such patient. Its score is

    score = phi(after training) - phi(before),    phi = log p / (1 - p),    p the probability of its label,

less the median score of the canaries with the same label.

The bound is that of one run, see :mod:`jaxfed.audits.one_run`. Crafted canaries: Nasr et al. 2021,
arXiv:2101.04535; Steinke, Nasr, Jagielski 2023, arXiv:2305.08846; in federations: Andrew et al. 2023,
arXiv:2302.03098.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np

from jaxfed.audits.confidence import check_attackable, judge
from jaxfed.audits.one_run import Audit, audit_mechanism
from jaxfed.audits.uploads import initial_variables
from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import TEST, TRAIN, Dataset
from jaxfed.core.errors import Problems, did_you_mean, spelled
from jaxfed.core.types import Variables
from jaxfed.participation import Everyone, Poisson
from jaxfed.privacy import HospitalDP
from jaxfed.spec.checks import check_count, check_spec
from jaxfed.spec.spec import Spec
from jaxfed.training.loop import train
from jaxfed.training.trainer import Trainer

Unit = Literal["patient", "hospital"]


@spelled
def audit(
    sim: Spec,
    rounds: int,
    *,
    epsilon: float,
    delta: float,
    canaries: int = 1000,
    unit: Unit | None = None,
    hospital: str | None = None,
    scale: float = 30.0,
    guesses: Sequence[int] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Audit:
    """A lower bound on the epsilon of a simulation's training for a patient or a hospital, from one run.

    Each canary takes part in training with probability 1/2. The guarantee must be for adding or removing one
    patient or hospital. Hospitals with budgets of their own share nothing, so the bound for a patient holds
    for the largest of their epsilons.

    Args:
        sim: the simulation; classes as labels, features as one matrix, and a model of any number of features.
        rounds: of the run; it ends at its privacy budget, as every run does.
        epsilon, delta: the claim. Any claim of a method without noise is refuted if canaries are enough.
        canaries: how many; 1000 show an epsilon of at most 4.6, 4000 one of 6.
        unit: what a canary is; None for that of the simulation's ``privacy``, a patient where it has none.
        hospital: in which all patients among them are; None for all hospitals in turn.
        scale: the value of a canary's feature, large beside 1, the deviation of standardised features.
        guesses, confidence: see :func:`jaxfed.audits.audit_of_scores`.
        seed: of the run, and of the canaries.

    Raises:
        InvalidInput: lists what is wrong with the arguments.
    """
    problems = Problems("audit")
    check_attackable(sim, problems)
    data = sim.hospitals
    check_count(problems, "rounds", rounds, 1)
    check_count(problems, "canaries", canaries, 2)
    check_count(problems, "seed", seed, 0)
    remedy = "give audit_mechanism a function of your own"
    matrix = isinstance(data.x, np.ndarray) and data.x.ndim == 2
    problems.check(matrix, f"sim: its features are no single matrix [N, d]; {remedy}")
    problems.check(data.task.has_classes, f"sim: its task {data.task} has no classes; {remedy}")
    number = isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < np.inf
    problems.check(number, f"scale={scale!r}: give a number above 0")
    known = hospital is None or hospital in data.hospitals
    problems.check(known, f"hospital={hospital!r}: {did_you_mean(hospital, data.hospitals)}")
    if unit is None:
        unit = "hospital" if isinstance(sim.privacy, HospitalDP) else "patient"
    problems.check(unit in get_args(Unit), f"unit={unit!r}: give 'patient' or 'hospital'")
    if unit == "hospital":
        _check_hospitals(sim, hospital, problems)
    problems.raise_if_any()
    able = np.flatnonzero(data.counts[:, TRAIN] > 0)
    at = able if hospital is None else np.array([data.hospitals.index(hospital)])

    def scores(included: np.ndarray, seed: int) -> np.ndarray:
        where = at[np.arange(canaries) % len(at)] if unit == "patient" else len(data) + np.arange(canaries)
        mixed, rows = with_canaries(data, included, where, float(scale))
        fields = {field.name: getattr(sim, field.name) for field in dataclasses.fields(Spec)}
        fields |= {"evaluate_on": None, "splits": ("test",)}
        spec = Spec(**{**fields, "hospitals": mixed})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # canaries have scales that nobody else has
            check_spec(spec)
        before: Any = initial_variables(spec, seed)
        if spec.algorithm.personal:
            before = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(mixed), *leaf.shape)), before)
        labels = mixed.y.copy()
        labels[rows] = _least_believed(spec, before, mixed)[rows]
        spec = dataclasses.replace(spec, hospitals=mixed.replace(y=labels))
        run = train(Trainer(spec), int(rounds), seed=seed, eval_every=int(rounds), progress=False)
        after, first = (judge(spec, model, spec.hospitals).confidence for model in (run.variables, before))
        return _within_classes((after - first)[rows], labels[rows])

    return audit_mechanism(
        scores, canaries, epsilon=epsilon, delta=delta, guesses=guesses, confidence=confidence, seed=seed
    )


def _check_hospitals(sim: Spec, hospital: str | None, problems: Problems) -> None:
    """Record what keeps new hospitals from being like the others."""
    problems.check(
        hospital is None, f"hospital={hospital!r}: each canary is a hospital of its own; leave it out"
    )
    problems.check(
        isinstance(sim.participation, (Everyone, Poisson)),
        f"sim: with {type(sim.participation).__name__} the epsilon depends on the number of hospitals, which "
        "canaries change; give participation=Everyone() or Poisson(rate)",
    )
    numbers = (
        sim.client_optimizer,
        sim.epochs,
        sim.steps,
        sim.l2,
        sim.weights,
        sim.algorithm,
        sim.participation,
        sim.privacy,
    )
    problems.check(
        not values.differs(numbers) and sim.included is None,
        "sim: numbers of single hospitals, or included=..., say nothing of hospitals that are canaries; give "
        "the same to all",
    )


def with_canaries(
    data: Dataset, included: np.ndarray, where: np.ndarray, scale: float
) -> tuple[Dataset, np.ndarray]:
    """The hospitals with canaries of class 0 at their ends, and ``[m]`` the rows of these.

    Where rows have weights, a canary has the mean weight of its hospital's training rows.

    Args:
        data: hospitals with one matrix of features ``[N, d]``; canaries add m features.
        included: ``[m]`` bool; the others are test rows.
        where: ``[m]`` number of the hospital of each canary; numbers that follow those of the hospitals are
            of new ones.
        scale: the value of a canary's feature.
    """
    count, (patients, features) = len(included), data.x.shape
    order = np.argsort(np.concatenate([data.owner, where]), kind="stable")
    x = np.zeros((patients + count, features + count), np.float32)
    x[:patients, :features] = data.x
    x[patients + np.arange(count), features + np.arange(count)] = scale
    split = np.concatenate([data.split, np.where(included, TRAIN, TEST)]).astype(np.int8)
    y = np.concatenate([data.y, np.zeros(count, data.y.dtype)])
    size = np.bincount(where, minlength=len(data))
    size[: len(data)] += data.size
    names = data.features and (*data.features, *(f"canary {i}" for i in range(count)))
    weights, ids = data.row_weights, data.patients
    if weights is not None:
        weights = np.concatenate([weights, _usual_weights(data, weights, where)])[order]
    if ids is not None:
        ids = np.concatenate([ids, [f"canary {i}" for i in range(count)]])[order]
    mixed = Dataset(
        x=x[order],
        y=y[order],
        size=size,
        split=split[order],
        hospitals=(*data.hospitals, *(f"canary {i}" for i in range(len(size) - len(data)))),
        task=data.task,
        classes=data.classes,
        features=names,
        name=data.name,
        patients=ids,
        row_weights=weights,
    )
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return mixed, place[patients:]


def _usual_weights(data: Dataset, weights: np.ndarray, where: np.ndarray) -> np.ndarray:
    """``[m]`` the mean weight of the training rows in each canary's hospital; of all rows in new hospitals.

    So the weights of the patients beside a canary, over their mean, stay as they are.
    """
    everywhere = weights[data.split == TRAIN].mean()
    usual = np.full(max(len(data), int(where.max()) + 1), everywhere)
    trains = np.flatnonzero(data.counts[:, TRAIN])
    usual[trains] = data.weight_factors[trains]
    return usual[where].astype(np.float32)


def _within_classes(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores less the median of their class: what training does to all of a class tells nothing of one."""
    medians = {label: np.median(scores[labels == label]) for label in np.unique(labels)}
    return scores - np.array([medians[label] for label in labels])


def _least_believed(spec: Spec, variables: Variables, data: Dataset) -> np.ndarray:
    """``[N]`` the class that a model gives the least probability, row by row."""
    classes = range(max(len(data.classes), 2))
    believed = [
        judge(spec, variables, data.replace(y=np.full_like(data.y, label))).confidence for label in classes
    ]
    return np.argmin(believed, axis=0).astype(data.y.dtype)
