"""What privacy makes of a simulation: private trainings or a private road, and the ledger of costs."""

from __future__ import annotations

import bisect
import dataclasses
from typing import Any

import jax
import numpy as np

from jaxfed.core import checks
from jaxfed.core import hyperparameters as values
from jaxfed.core.aggregation import Part
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.group_algorithm import ByGroup, GroupAlgorithm
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.local import LocalTraining
from jaxfed.core.participation import Participation
from jaxfed.participation import FixedCohort, Poisson
from jaxfed.privacy import BandMF, HospitalDP, PatientDP
from jaxfed.privacy.accounting import LARGEST_STEPS, Mechanism, charged, noise_for, steps_for
from jaxfed.privacy.budget import Budgeted
from jaxfed.privacy.correlation import Correlation
from jaxfed.privacy.coverage import Uncovered, trainings_of, uncovered_upload
from jaxfed.privacy.ledger import Ledger, limits, noise_of

Privacy = PatientDP | HospitalDP
_KNOWN: dict[tuple[Any, ...], Any] = {}  # the trainings of an algorithm, or why it is not covered


@dataclasses.dataclass(frozen=True, eq=False)
class Private:
    """The private parts of a recipe.

    Attributes:
        trainings: of each group.
        road: the parts that process uploads; None for those of the simulation.
        participation: which stops hospitals at their budgets.
        ledger: what is spent.
        noise: ``[C]`` the noise multiplier of each hospital.
        lasts: rounds after which the whole run ends; None if hospitals stop one by one, or never.
        cycle: the rounds from a hospital's turn to its next, where the hospitals' privacy is by turns.
    """

    trainings: tuple[LocalTraining, ...]
    road: tuple[Part, ...] | None
    participation: Participation
    ledger: Ledger
    noise: np.ndarray
    lasts: int | None = None
    cycle: int = 1


def private_of(
    privacy: Any,
    data: Dataset,
    algorithm: GroupAlgorithm,
    trainings: tuple[LocalTraining, ...],
    group: np.ndarray,
    participation: Participation,
) -> Private:
    """The private parts.

    Args:
        privacy: what the user gave.
        data: the hospitals.
        algorithm, trainings: of the groups, without privacy.
        group: ``[C]`` the number of each hospital's group.
        participation: the simulation's.

    Raises:
        InvalidInput: numbers out of range, an algorithm that is not covered, a budget that is too small.
    """
    problems = Problems("privacy")
    problems.extend(privacy.problems())
    if not isinstance(algorithm, ByGroup):
        name = type(algorithm).__name__
        problems.add(f"{name} shares more than updates, which is not accounted; give ByGroup(FedAvg())")
    problems.raise_if_any()
    assert isinstance(algorithm, ByGroup)
    privacy = values.in_order(privacy, data.hospitals)
    make = _patients if isinstance(privacy, PatientDP) else _hospitals
    return make(privacy, data, algorithm, trainings, group, participation)


def _patients(
    privacy: PatientDP,
    data: Dataset,
    algorithm: ByGroup,
    trainings: tuple[LocalTraining, ...],
    group: np.ndarray,
    participation: Participation,
) -> Private:
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
            found = trainings_of(algorithm.algorithm, local, _shapes(local, data))
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


def _hospitals(
    privacy: HospitalDP,
    data: Dataset,
    algorithm: ByGroup,
    trainings: tuple[LocalTraining, ...],
    group: np.ndarray,
    participation: Participation,
) -> Private:
    problems, sizes = Problems("privacy"), data.counts[:, TRAIN]
    inner, hospitals = algorithm.algorithm, int((sizes > 0).sum())
    problems.check(
        inner.weighting == "uniform",
        f"{type(inner).__name__} has weights by rows, with which one hospital can move the mean by more than "
        f"its share; give {type(inner).__name__}(weighting='uniform')",
    )
    problems.check(len(trainings) == 1, "HospitalDP is for hospitals with one model; give model=...")
    reason = uncovered_upload(inner, trainings[0], _shapes(trainings[0], data), data.x, data.y)
    problems.check(not reason, f"HospitalDP does not cover {type(inner).__name__}: it {reason}")
    expected, mechanism = _participation(privacy, participation, hospitals, problems)
    problems.raise_if_any()
    cycle = 1 if privacy.where == "local" else participation.cycle(hospitals) or 1
    correlation = privacy.correlation
    if correlation is None and cycle > 1:
        correlation = BandMF(bands=1)
    if correlation is not None:
        correlation = correlation.for_cycle(cycle)
    noise: Any = privacy.noise_multiplier
    lasts = None
    if privacy.epsilon is not None:
        lasts = int(privacy.rounds or 1)
        noise = noise_for(
            float(privacy.epsilon),
            lasts if correlation is None else 1,
            privacy.delta,
            rate=mechanism.rate,
            adjacency=mechanism.adjacency,
            accountant=privacy.accountant,
        )
        if correlation is not None:
            noise *= float(correlation.largest_charges(cycle, lasts)[-1]) ** 0.5
    mechanism = dataclasses.replace(mechanism, noise_multiplier=float(noise))
    _check_adaptive(privacy, float(noise), expected, problems)
    every = tuple(mechanism if n else None for n in sizes)
    if privacy.until_epsilon is not None:
        lasts = _rounds_until(privacy, mechanism, correlation, cycle)
        problems.check(
            lasts > 0,
            f"until_epsilon={privacy.until_epsilon}: the first round alone costs more; give more "
            "noise_multiplier, or a larger budget",
        )
    problems.raise_if_any()
    always = privacy.where == "central" and correlation is None
    steps = np.ones(len(sizes), np.int64)
    ledger = Ledger("hospital", every, steps, privacy.delta, privacy.accountant, always, correlation)
    given = privacy.noise_multiplier if privacy.epsilon is None else float(noise)
    road = tuple(privacy.parts(given, expected, correlation))
    return Private(trainings, road, participation, ledger, np.full(len(sizes), float(noise)), lasts, cycle)


def _rounds_until(
    privacy: HospitalDP, mechanism: Mechanism, correlation: Correlation | None, cycle: int
) -> int:
    """The most rounds whose epsilon is at most ``until_epsilon``; at most 2**24 turns of all hospitals."""
    budget = float(privacy.until_epsilon or 0)
    if correlation is None:
        return steps_for(budget, mechanism, privacy.delta, accountant=privacy.accountant)
    rounds = cycle
    charges = correlation.largest_charges(cycle, rounds)

    def fits(charge: Any) -> bool:
        return bool(charged(mechanism, charge, privacy.delta, accountant=privacy.accountant) <= budget)

    while fits(charges[-1]) and 2 * rounds * cycle <= LARGEST_STEPS:
        rounds *= 2
        charges = correlation.largest_charges(cycle, rounds)
    return bisect.bisect_left(range(rounds), True, key=lambda r: not fits(charges[r]))


def _participation(
    privacy: HospitalDP, participation: Participation, hospitals: int, problems: Problems
) -> tuple[float, Mechanism]:
    """The expected number of hospitals of a round, and the mechanism without its noise."""
    if privacy.correlation is not None:
        _check_turns(privacy.correlation, participation, hospitals, problems)
    rate = _rate(participation)
    expected = float(participation.at_most(hospitals)) if rate is None else rate * hospitals
    counted = rate is not None or not isinstance(participation, Poisson)
    if privacy.where == "local" and counted:  # the server sees who sends what, so that sampling hides nobody
        return expected, Mechanism(1.0, adjacency="replace-one")
    if rate is not None or participation.cycle(hospitals) is not None:
        return expected, Mechanism(1.0, 1.0 if rate is None else rate, adjacency=privacy.adjacency)
    name = type(participation).__name__
    remedy = "give Everyone(), Cyclic(size), or Poisson(rate) with a number"
    if isinstance(participation, FixedCohort):
        remedy = f"give Poisson({participation.size / max(hospitals, 1):.3g}), as many hospitals in the mean"
    problems.add(f"{name} has no accounting for hospitals; {remedy}")
    return 1.0, Mechanism(1.0)


def _check_turns(
    correlation: Correlation, participation: Participation, hospitals: int, problems: Problems
) -> None:
    """Record if hospitals are drawn anew in every round: nothing then bounds how their turns overlap."""
    if participation.cycle(hospitals) is not None:
        return
    name, kind, size = type(participation).__name__, type(correlation).__name__, 1
    if isinstance(participation, FixedCohort):
        size = participation.size
    elif (rate := _rate(participation)) is not None:
        size = max(1, round(rate * hospitals))
    problems.add(
        f"correlation={kind}(): with {name} any round may be a hospital's turn, and the accounting of drawn "
        f"hospitals is for independent noise; give participation=Cyclic({size}), or leave correlation out"
    )


def _rate(participation: Participation) -> float | None:
    """The rate of Poisson sampling; None if it is a schedule, or if hospitals take part in another way."""
    known = checks.known(participation.rate) if isinstance(participation, Poisson) else None
    return None if known is None else float(known)


def _check_adaptive(privacy: HospitalDP, noise: float, expected: float, problems: Problems) -> None:
    adaptive = privacy.adaptive
    if adaptive is None or not noise:
        return
    sigma = expected / 20 if adaptive.count_noise is None else float(adaptive.count_noise)
    problems.check(
        2 * sigma > noise,
        f"adaptive: a count_noise of {sigma:g} costs more than noise_multiplier={noise:.3g} allows; give "
        f"AdaptiveClip(count_noise={noise:.2g}) or more",
    )


def _shapes(local: LocalTraining, data: Dataset) -> Any:
    row = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)),
        data.x,
    )
    return jax.eval_shape(local.problem.init, jax.random.key(0), row)


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
