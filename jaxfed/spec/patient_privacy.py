"""Privacy of patients in a simulation: private trainings, and which patients are in several hospitals."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.group_algorithm import ByGroup
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.local import LocalTraining
from jaxfed.core.participation import Participation
from jaxfed.privacy import PatientDP
from jaxfed.privacy.budget import Budgeted
from jaxfed.privacy.coverage import Uncovered, trainings_of
from jaxfed.privacy.ledger import Ledger, limits, noise_of
from jaxfed.spec.private_parts import Private, model_shapes

_KNOWN: dict[tuple[Any, ...], Any] = {}  # the trainings of an algorithm, or why it is not covered


def privacy_of_patients(
    privacy: PatientDP,
    data: Dataset,
    algorithm: ByGroup,
    trainings: tuple[LocalTraining, ...],
    group: np.ndarray,
    participation: Participation,
) -> Private:
    """As :func:`jaxfed.spec.private.private_of`: private trainings, and hospitals that stop one by one."""
    problems, sizes = Problems("privacy"), data.counts[:, TRAIN]
    problems.check(
        all(training.problem.by_row for training in trainings),
        f"PatientDP clips the gradient of each row, and the loss of task={data.task.name!r} has none: a "
        "row's part depends on all rows at risk; give task=jaxfed.evaluation.discrete_hazard([...]), or "
        "HospitalDP",
    )
    problems.check(
        data.row_weights is None,
        "row_weights: they are divided by the mean weight of a hospital's patients, so that one patient more "
        "changes the gradient of every other, which PatientDP does not bound; give "
        "hospitals=hospitals.replace(row_weights=None), or leave row_weights=... out where the data are made",
    )
    problems.raise_if_any()
    largest = int(sizes.max())
    problems.check(
        (privacy.microbatch + 1) * largest < 2**31,
        f"microbatch={privacy.microbatch}: too many for a hospital of {largest} rows; give a smaller number",
    )
    steps, rates = np.zeros(len(sizes), np.int64), np.zeros(len(sizes))
    for g, training in enumerate(trainings):
        local = privacy.training(training, 1.0)
        members = group == g
        for call in _trainings(algorithm, local, data, problems):
            known = values.at_hospital(values.in_order(call, data.hospitals), ...)
            total = np.broadcast_to(np.asarray(known.total_steps(sizes)), sizes.shape)
            steps[members] += total[members]
            rate = np.broadcast_to(np.asarray(known.sampling_rate(sizes), float), sizes.shape)
            rates[members] = np.maximum(rates, rate)[members]  # of all steps: at least what they cost
    problems.raise_if_any()
    if privacy.epsilon is None:
        noise: Any = _each(privacy.noise_multiplier, len(sizes))
        given: Any = privacy.noise_multiplier
    else:
        noise = noise_of(_each(privacy.epsilon, len(sizes)), steps * int(privacy.rounds or 1), rates, privacy)
        given = PerHospital(noise)
    mechanisms = [privacy.mechanism(z, q) if n else None for z, q, n in zip(noise, rates, sizes, strict=True)]
    limit = None
    if privacy.epsilon is not None:
        limit = np.full(len(sizes), privacy.rounds, np.int32)
    elif privacy.until_epsilon is not None:
        budgets = _each(privacy.until_epsilon, len(sizes))
        limit = limits(budgets, mechanisms, steps, privacy, data.hospitals, problems)
        problems.raise_if_any()
    if limit is not None:
        participation = Budgeted(participation, PerHospital(limit))
    ledger = Ledger("patient", tuple(mechanisms), steps, privacy.delta, privacy.accountant)
    private = tuple(privacy.training(local, given) for local in trainings)
    return Private(private, None, participation, ledger, noise)


def _trainings(
    algorithm: ByGroup, local: Any, data: Dataset, problems: Problems
) -> tuple[LocalTraining, ...]:
    """The trainings of a round; a problem if the algorithm is not covered."""
    alone = dataclasses.replace(local, problem=dataclasses.replace(local.problem, l2=None))
    # by classes and functions themselves and by all numbers: texts are the same for a class that was written
    # again, and leave out the middle of a long array
    numbers, structure = jax.tree.flatten((algorithm, alone))
    arrays = [np.asarray(number) for number in numbers]
    key = (
        structure,
        tuple((array.shape, array.dtype.str, array.tobytes()) for array in arrays),
        repr(jax.tree.map(lambda leaf: leaf.shape[1:], data.x)),
    )
    if key not in _KNOWN:
        try:
            found = trainings_of(algorithm.algorithm, local, model_shapes(local, data))
            _KNOWN[key] = tuple(dataclasses.replace(training, problem=alone.problem) for training in found)
        except Uncovered as reason:
            _KNOWN[key] = str(reason)
    known = _KNOWN[key]
    if isinstance(known, tuple):
        return known
    name = type(algorithm.algorithm).__name__
    problems.add(
        f"PatientDP does not cover {name} here: it {known}"
        + ("" if "give" in known or "same with" in known else "; give FedAvg, FedProx, Scaffold, or another")
    )
    return ()


def _each(number: Any, hospitals: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(values.at_hospital(number, ...), float), (hospitals,))


def shared_patients(data: Dataset) -> tuple[list[tuple[int, ...]], int, int]:
    """The sets of hospitals that share patients, the number of such patients, and the most rows of a patient.

    Of training rows; rows of a patient are counted within a hospital.
    """
    if data.patients is None:
        return [], 0, 1
    inside = data.split == TRAIN
    owners: dict[str, dict[int, int]] = {}
    for patient, owner in zip(data.patients[inside].tolist(), data.owner[inside].tolist(), strict=True):
        rows = owners.setdefault(patient, {})
        rows[owner] = rows.get(owner, 0) + 1
    several = [tuple(sorted(rows)) for rows in owners.values() if len(rows) > 1]
    most = max((max(rows.values()) for rows in owners.values()), default=1)
    return sorted(set(several)), len(several), most
