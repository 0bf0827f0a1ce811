"""The recipe of a round, the clients' state, and the metrics of a round for the observer."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from jax import Array
from jax.sharding import PartitionSpec

from jaxfed.core import hyperparameters
from jaxfed.core.aggregation import Chain
from jaxfed.core.group_algorithm import GroupAlgorithm
from jaxfed.core.hyperparameters import Number
from jaxfed.core.layout.plan import DEVICES, Plan
from jaxfed.core.layout.store import TrainingData
from jaxfed.core.local import LocalTraining
from jaxfed.core.participation import Participation
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, State

Plans = tuple[Plan, ...]  # of each group of models

SHARDED, COPIED = PartitionSpec(DEVICES), PartitionSpec()
STATE = State(COPIED, COPIED, COPIED, SHARDED, COPIED, COPIED)  # type: ignore[arg-type]


@pytree
@dataclasses.dataclass(frozen=True)
class Recipe:
    """All parts of a round. A pytree: its numbers are leaves, everything else is static.

    Attributes:
        algorithm: for G groups of hospitals with different models; G = 1 if all have the same model.
        locals: the local training of each group.
        chain: the parts that process uploads.
        participation: draws the hospitals that take part.
        weights: factors of the hospitals' weights that the algorithm gives; None for 1.
        included: marks of the hospitals that train, above 0; to the engine the others have no training rows,
            and are evaluated all the same. None for all.
        diagnose: static; whether the observer gets norms and directions of the uploads.
    """

    algorithm: GroupAlgorithm
    locals: tuple[LocalTraining, ...]
    chain: Chain
    participation: Participation
    weights: Number | None = None
    included: Number | None = None
    diagnose: bool = dataclasses.field(default=False, metadata={"static": True})

    def training(self, data: tuple[TrainingData, ...]) -> tuple[TrainingData, ...]:
        """The data in which hospitals that are not included have no training rows."""
        marks = hyperparameters.at_hospital(self.included, ...)
        return tuple(rows.only(marks) for rows in data)


class ClientState(NamedTuple):
    """The state of a hospital between rounds.

    Attributes:
        algorithm: the state of the algorithm.
        transforms: the states of the transforms, for each exchange of a round.
    """

    algorithm: PyTree
    transforms: tuple[tuple[PyTree, ...], ...]


class RoundInfo(NamedTuple):
    """The metrics of a round for the observer; C hospitals in the order of the data set.

    Attributes:
        clients: metrics ``[C]`` of training and of the rule; NaN for absent hospitals.
        present: ``[C]`` bool, the hospital took part.
        rejected: ``[C]`` bool, the hospital took part, but its upload was not finite and was not used.
        refused: bool, the server's new state was not finite, so it remained as it was.
    """

    clients: Metrics
    present: Array
    rejected: Array
    refused: Array
