"""What privacy makes of a simulation: private trainings or a private road, and the ledger of costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems
from jaxfed.core.group_algorithm import ByGroup, GroupAlgorithm
from jaxfed.core.local import LocalTraining
from jaxfed.core.participation import Participation
from jaxfed.privacy import HospitalDP, PatientDP
from jaxfed.spec.hospital_privacy import privacy_of_hospitals
from jaxfed.spec.patient_privacy import privacy_of_patients
from jaxfed.spec.private_parts import Private

Privacy = PatientDP | HospitalDP


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
    make = privacy_of_patients if isinstance(privacy, PatientDP) else privacy_of_hospitals
    return make(privacy, data, algorithm, trainings, group, participation)
