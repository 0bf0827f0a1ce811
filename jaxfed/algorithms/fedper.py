"""Federated learning with personal layers.

    w = (shared, head_k);  every hospital trains both, the server averages the shared part only

Arivazhagan, Aggarwal, Singh, Choudhary 2019, "Federated learning with personalization layers",
arXiv:1912.00818. With no head it is FedAvg, with everything in the head local training.

A poor choice where hospitals seldom take part: their heads are then old.
"""

from __future__ import annotations

import dataclasses

from jaxfed.algorithms.partial import Partial, missing, named
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Variables


@pytree
@dataclasses.dataclass(frozen=True)
class FedPer(Partial):
    """Personal heads on a shared body.

    Attributes:
        head: static; names of the model's modules that stay in the hospital.
    """

    head: str | tuple[str, ...] = dataclasses.field(default=("head",), metadata={"static": True})

    def mine(self, variables: Variables) -> Variables:
        """The head, with its batch statistics."""
        return named(variables, self.head)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the model has such parts."""
        return missing(variables, self.head)
