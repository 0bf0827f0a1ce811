"""Fair federated averaging: the larger a hospital's loss, the more it counts.

    every hospital k:  F = F_k(x);   y_k <- local training from x;   D_k = L (y_k - x),   L = 1 / eta_l
                       h_k = q F^(q-1) ||D_k||^2 + L F^q
    server:            x <- x + sum_k F_k(x)^q D_k / sum_k h_k

Li, Sanjabi, Beirami, Smith 2020, "Fair resource allocation in federated learning", arXiv:1905.10497:
q-FedAvg for the objective sum_k F_k^(q+1) / (q+1). F_k is the loss over all of the hospital's training
rows before it trains, plus 1e-10 as in the authors' code. The sums are uniform; q = 0 is uniform FedAvg.
Departure: the paper draws hospitals with probability n_k / n, here that is up to the participation.

A poor choice with a large q where some hospital's loss cannot be made small: everyone then works for that
one. For the worst hospital alone see AFL.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Server, Weighting, step
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class QFedAvg(Averaging):
    """Fair federated averaging.

    Attributes:
        q: how much evenness counts; the paper tries 0, 0.001, 0.01, 0.1, 1, 2, 5 and 15.
        weighting: static; ``"uniform"``, as the sums of the paper are.
    """

    weighting: Weighting = dataclasses.field(default="uniform", metadata={"static": True})
    q: float = 1.0
    why_untransformed: ClassVar[str] = "h_k is made of the norm of the update as it was trained"
    why_averaged: ClassVar[str] = "its step is the ratio of two sums over the same hospitals"

    def client_update(
        self, local: LocalTraining, server: Server, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload F^q D_k and h_k."""
        loss = local.problem.full_loss(server.variables, shard) + 1e-10
        trained = local.train(server.variables, shard, key)
        delta = tree.subtract(trained.variables, server.variables)
        assert local.optimizer is not None, "validated by Simulation"
        L = 1 / local.optimizer.numbers["learning_rate"]
        power = loss**self.q
        squared = L**2 * tree.squared_norm(delta.params)
        h = self.q * power / loss * squared + L * power
        direction = tree.scale(power * L, delta.params)
        return Upload(Variables(direction, delta.stats), h), client, trained.metrics

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> Any:
        """A step along the ratio of the two means, which is that of the sums."""
        direction = tree.scale(1 / cohort.aux, update.params)
        return step(self.server_optimizer, server, Variables(direction, update.stats))

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """A q out of range, weights that are not uniform, no step size to take L from."""
        return [
            *checks.number("q", self.q),
            *checks.uniform("q-FedAvg", self.weighting),
            *checks.plain_sgd("q-FedAvg", local),
        ]
