"""Every group a federation of its own: what hospitals with one model can do without the others.

The baseline that shows what the exchange between groups is worth: ``ByGroup(FedAvg())`` averages in each
group, ``ByGroup(LocalOnly())`` nowhere. With one group it is the algorithm itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxfed.core.engine.rounds import accept
from jaxfed.core.group_algorithm import MixedAlgorithm, Parts
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Algorithm, Cohort, Metrics, PyTree, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class ByGroup(MixedAlgorithm):
    """An algorithm for one model, in every group by itself.

    Attributes:
        algorithm: any that has one exchange in a round.
    """

    algorithm: Algorithm

    @property
    def weighting(self) -> str:  # type: ignore[override]
        """The algorithm's."""
        return self.algorithm.weighting

    @property
    def personal(self) -> bool:  # type: ignore[override]
        """Whether models of a group differ."""
        return self.algorithm.personal

    @property
    def trains(self) -> bool:  # type: ignore[override]
        """Whether the algorithm takes local steps."""
        return self.algorithm.trains

    @property
    def adapts(self) -> bool:  # type: ignore[override]
        """Whether the algorithm does."""
        return self.algorithm.adapts

    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> tuple[()]:
        """Nothing is shared."""
        return ()

    def init(
        self, local: LocalTraining, variables: Variables, key: Array, places: int
    ) -> tuple[PyTree, PyTree]:
        """The algorithm's states."""
        return self.algorithm.init(variables, key, places)

    def encode(
        self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """The algorithm's part of a round."""
        return self.algorithm.client_update(local, server.own, client, shard, key)

    def receive(self, local: LocalTraining, server: Parts, upload: PyTree) -> Parts:
        """All of it belongs to the group."""
        return Parts((), upload)

    def settle(
        self, local: LocalTraining, server: Parts, update: PyTree, cohort: Cohort, key: Array
    ) -> PyTree:
        """The algorithm's server."""
        new = self.algorithm.server_update(server.own, update, cohort)
        return accept(new, server.own, cohort.present)[0]

    def variables(self, server: Parts, client: PyTree) -> Variables:
        """The model that the algorithm gives this hospital."""
        return self.algorithm.variables(server.own, client)

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """As the algorithm does."""
        return self.algorithm.adapt(local, variables, shard, key)

    def weights(self, server: Parts, sizes: Array) -> Parts:
        """The algorithm's, in the group."""
        return Parts(jnp.ones_like(sizes), self.algorithm.weights(server.own, sizes))

    def problems(
        self, groups: Mapping[str, LocalTraining], variables: Mapping[str, Variables], x: Any
    ) -> list[str]:
        """Whatever the algorithm finds in a group."""
        name = type(self.algorithm).__name__
        if self.algorithm.asks:
            return [f"{name} has two exchanges in a round, and groups have one; give another algorithm"]
        if type(self.algorithm).for_model is not Algorithm.for_model:
            return [f"{name} is made for one model, and groups have different ones; give another algorithm"]
        return [
            f"group {group!r}: {found}"
            for group, local in groups.items()
            for found in self.algorithm.problems(local, variables[group])
        ]
