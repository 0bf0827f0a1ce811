"""The privacy of a finished run: epsilon per round and hospital in its history, and its statement."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxfed.core.hyperparameters import PerHospital, Schedule
from jaxfed.privacy import PatientDP, accounting
from jaxfed.privacy.correlation import Correlation
from jaxfed.records.history import History
from jaxfed.records.statement import PrivacyStatement
from jaxfed.spec.patient_privacy import shared_patients
from jaxfed.spec.spec import Spec

ALWAYS_OUTSIDE = (
    "metrics and predictions, and the choice of the best round by validation rows",
    "training losses",
    "which hospitals take part, and the number of rows of each",
    "imputation, standardisation and tuning on the same rows",
)


def accounted(spec: Spec, history: History) -> tuple[History, PrivacyStatement | None]:
    """The history with ``training["epsilon"] [R, C]``, and the statement; None without privacy."""
    if spec.private is None or spec.privacy is None:
        return history, None
    ledger, privacy, names = spec.private.ledger, spec.privacy, spec.hospitals.hospitals
    trains = np.array([mechanism is not None for mechanism in ledger.mechanisms])
    rounds, spent, curve = np.zeros(len(names), np.int64), np.zeros(len(names)), ledger.accountant
    if history.training:
        present = history.training["present"]
        epsilon, curve = ledger.curve(present)
        history = dataclasses.replace(history, training={**history.training, "epsilon": epsilon})
        rounds, spent = ledger.rounds(present)[-1], ledger.spent(present)

    def of(values: np.ndarray, kind: type) -> dict:
        return {n: kind(v) for n, v, here in zip(names, values, trains, strict=True) if here}

    groups, several, most = shared_patients(spec.hospitals) if ledger.unit == "patient" else ([], 0, 1)
    chosen = next(m for m in ledger.mechanisms if m is not None)
    cycle = spec.private.cycle
    if isinstance(privacy, PatientDP):
        sampling = "Poisson sampling of rows at full capacity"
    elif privacy.where == "local":
        sampling = "every upload noisy by itself, no sampling"
    elif cycle > 1:
        sampling = (
            f"every hospital once in {cycle} rounds, in a public order in which the turn of a hospital that "
            "is taken away stays empty"
        )
    else:
        sampling = "Poisson sampling of hospitals" if chosen.rate < 1 else "every hospital in every round"
    statement = PrivacyStatement(
        unit=ledger.unit,
        adjacency=chosen.adjacency,
        sampling=sampling,
        accountant=f"{ledger.accountant.upper()} of {accounting.version()}",
        delta=ledger.delta,
        clip=_clip(privacy),
        epsilon=of(spent, float),
        noise_multiplier=of(spec.private.noise, float),
        rate=of(np.array([1.0 if m is None else m.rate for m in ledger.mechanisms]), float),
        compositions=of(rounds * ledger.steps, int),
        curve=curve,
        noise=_noise(ledger.correlation, cycle, len(history.refused)),
        shared_patients=several,
        shared_epsilon=ledger.shared(groups, rounds) if several else None,
        rows_per_patient=most,
        outside=_outside(spec),
    )
    return history, statement


def _clip(privacy: object) -> str:
    bound = getattr(privacy, "clip", None)
    text = repr(bound)
    if isinstance(bound, PerHospital):
        text = f"{np.min(bound.values):g} to {np.max(bound.values):g} in different hospitals"
    elif isinstance(bound, Schedule):
        text = "by a schedule over rounds"
    if isinstance(privacy, PatientDP):
        return text + (", the whole gradient of a row" if privacy.layers == "flat" else ", split over arrays")
    return text + ("" if getattr(privacy, "adaptive", None) is None else " at first, then adaptive")


def _noise(correlation: Correlation | None, cycle: int, rounds: int) -> str:
    if correlation is None or not rounds:
        return "independent in every step"
    return (
        f"{correlation}; at the same epsilon the sums of updates over {rounds} rounds have "
        f"{correlation.relative_error(cycle, rounds):.3g} of the mean squared error of independent noise"
    )


def _outside(spec: Spec) -> tuple[str, ...]:
    more = ("the models of hospitals themselves, which stay there",) if spec.algorithm.personal else ()
    return (*ALWAYS_OUTSIDE, *more)
