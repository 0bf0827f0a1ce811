"""Privacy of whole hospitals in a simulation: a private road, and the round at which the budget is spent."""

from __future__ import annotations

import bisect
import dataclasses
from typing import Any

import numpy as np

from jaxfed.core import checks
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.group_algorithm import ByGroup
from jaxfed.core.local import LocalTraining
from jaxfed.core.participation import Participation
from jaxfed.participation import FixedCohort, Poisson
from jaxfed.privacy import BandMF, HospitalDP
from jaxfed.privacy.accounting import Mechanism, charged
from jaxfed.privacy.calibration import LARGEST_STEPS, noise_for, steps_for
from jaxfed.privacy.correlation import Correlation
from jaxfed.privacy.coverage import uncovered_upload
from jaxfed.privacy.ledger import Ledger
from jaxfed.spec.private_parts import Private, model_shapes


def privacy_of_hospitals(
    privacy: HospitalDP,
    data: Dataset,
    algorithm: ByGroup,
    trainings: tuple[LocalTraining, ...],
    group: np.ndarray,
    participation: Participation,
) -> Private:
    """As :func:`jaxfed.spec.private.private_of`: a private road, and a run that ends for all at once."""
    problems, sizes = Problems("privacy"), data.counts[:, TRAIN]
    inner, hospitals = algorithm.algorithm, int((sizes > 0).sum())
    problems.check(
        inner.weighting == "uniform",
        f"{type(inner).__name__} has weights by rows, with which one hospital can move the mean by more than "
        f"its share; give {type(inner).__name__}(weighting='uniform')",
    )
    problems.check(len(trainings) == 1, "HospitalDP is for hospitals with one model; give model=...")
    reason = uncovered_upload(inner, trainings[0], model_shapes(trainings[0], data), data.x, data.y)
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
