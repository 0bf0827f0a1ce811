"""What is done in a round, and what the observer sees of it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from jax import Array
from jax.sharding import PartitionSpec

from jaxfed.core.aggregation import Chain
from jaxfed.core.group_algorithm import GroupAlgorithm
from jaxfed.core.hyperparameters import Number
from jaxfed.core.layout.plan import DEVICES, Plan
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
    """What is done in a round. A pytree: its numbers are leaves, everything else is static.

    Attributes:
        algorithm: of G groups of hospitals with different models; G = 1 where all have the same.
        locals: the training of each group.
        chain: the road of an upload.
        participation: who takes part.
        weights: multiplies what the algorithm says that a hospital weighs; None for 1.
    """

    algorithm: GroupAlgorithm
    locals: tuple[LocalTraining, ...]
    chain: Chain
    participation: Participation
    weights: Number | None = None


class ClientState(NamedTuple):
    """What is kept in a hospital between rounds.

    Attributes:
        algorithm: by the algorithm.
        transforms: by the transforms of each exchange of a round.
    """

    algorithm: PyTree
    transforms: tuple[tuple[PyTree, ...], ...]


class RoundInfo(NamedTuple):
    """What the observer sees of a round; C hospitals in the order of the data set.

    Attributes:
        clients: metrics ``[C]`` of training and of the rule; NaN where the hospital was absent.
        present: ``[C]`` bool, took part.
        rejected: ``[C]`` bool, took part, but its upload was not finite and was not used.
        refused: bool, the server's new state was not finite, so it remained as it was.
    """

    clients: Metrics
    present: Array
    rejected: Array
    refused: Array
