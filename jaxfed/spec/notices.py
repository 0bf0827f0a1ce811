"""Warnings about a specification that can be run but deserves a second look."""

from __future__ import annotations

from jaxfed.core.dataset import SPLITS, TRAIN
from jaxfed.core.errors import warn
from jaxfed.core.optimizer import Optimizer
from jaxfed.privacy import BandMF, HospitalDP
from jaxfed.privacy.hospital import FEW
from jaxfed.spec.spec import Spec


def warn_restarts(spec: Spec) -> None:
    """Warn of a schedule of optax in the hospitals' optimiser, whose state is new in every round."""
    optimizer = spec.client_optimizer
    if isinstance(optimizer, Optimizer) and callable(dict(optimizer.options).get("learning_rate")):
        warn(
            "client_optimizer: this learning_rate counts the steps of a round and starts anew in each round; "
            "learning_rate=jaxfed.schedule(...) counts rounds"
        )


def warn_few(spec: Spec) -> None:
    """Warn of privacy of whole hospitals where these are few."""
    hospitals = int((spec.hospitals.counts[:, TRAIN] > 0).sum())
    if isinstance(spec.privacy, HospitalDP) and hospitals < FEW:
        warn(
            f"HospitalDP with {hospitals} hospitals: noise that hides a whole hospital among so few hides "
            "what they have learnt as well; PatientDP protects each patient"
        )


def warn_uncorrelated(spec: Spec) -> None:
    """Warn of correlated noise that is no better than independent noise."""
    if not isinstance(spec.privacy, HospitalDP) or spec.private is None:
        return
    given, correlation, cycle = spec.privacy.correlation, spec.private.ledger.correlation, spec.private.cycle
    if given is None or correlation is None or given == BandMF(bands=1):
        return
    rounds = int(spec.privacy.rounds or 100)
    error = correlation.relative_error(cycle, rounds)
    if error > 0.999:
        turns = "every round" if cycle == 1 else f"one of {cycle} rounds"
        warn(
            f"correlation={given!r}: where a hospital takes part in {turns}, sums of updates over "
            f"{rounds} rounds have {error:.3g} of the mean squared error of independent noise at the same "
            "epsilon; leave correlation out, or give Cyclic(size) with fewer hospitals in a round"
        )


def warn_untested(spec: Spec) -> None:
    """Warn of hospitals without rows of a split that is evaluated."""
    evaluated = spec.evaluation_hospitals
    hospitals, counts = evaluated.hospitals, evaluated.counts
    for name in spec.splits:
        none = [h for h, n in zip(hospitals, counts[:, SPLITS.index(name)], strict=True) if not n]
        if none and len(none) < len(counts):
            warn(
                f"{len(none)} hospitals have no {name} rows and no {name} metrics: {', '.join(none[:5])}"
                + (" ..." if len(none) > 5 else "")
            )
