"""Every hospital trains alone: the baseline that shows what joining a federation is worth.

    every hospital k:  v_k <- local training from v_k

Nothing leaves a hospital. All start from the same initial model, and a round is as long as a round of
the federated algorithm it is compared with.

A poor choice for small hospitals.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jax import Array

from jaxfed.core.algorithm import Algorithm
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class LocalOnly(Algorithm):
    """Local models without any exchange."""

    personal: ClassVar[bool] = True

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[tuple[()], Variables]:
        """Every hospital starts with ``variables``."""
        return (), variables

    def client_update(
        self, local: LocalTraining, server: tuple[()], client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Train on; upload nothing."""
        trained = local.train(client, shard, key)
        return Upload(()), trained.variables, trained.metrics

    def server_update(self, server: tuple[()], update: tuple[()], cohort: Cohort) -> tuple[()]:
        """There is no server."""
        return server

    def variables(self, server: tuple[()], client: Variables) -> Variables:
        """The hospital's own model."""
        return client
