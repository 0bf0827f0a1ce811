"""Federated averaging with momentum on the server.

    every hospital k:  y_k <- local training from x
    server:            v <- beta v + sum_k w_k (y_k - x) / sum_k w_k;   x <- x + eta_g v

Hsu, Qi, Brown 2019, "Measuring the effects of non-identical data distribution for federated visual
classification", arXiv:1909.06335. The momentum is heavy-ball, not Nesterov's. Any other optimiser of
optax goes into ``FedAvg(server_optimizer=...)``.

A poor choice where rounds are few: the step grows to eta_g / (1 - beta) only after some 1 / (1 - beta)
rounds, and then overshoots where the hospitals' steps are already long.
"""

from __future__ import annotations

import dataclasses

import optax

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Stepping, Weighting
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Variables


@pytree
@dataclasses.dataclass(frozen=True)
class FedAvgM(Stepping):
    """Federated averaging with server momentum.

    Attributes:
        beta: momentum; the authors try 0, 0.7, 0.9, 0.97, 0.99 and 0.997.
        learning_rate: the server's step size eta_g.
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``.
    """

    beta: float = 0.9
    learning_rate: float = 1.0
    weighting: Weighting = dataclasses.field(default="samples", metadata={"static": True})

    @property
    def server_optimizer(self) -> Optimizer:
        """Heavy-ball sgd."""
        return Optimizer({"learning_rate": self.learning_rate, "momentum": self.beta}, optax.sgd)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Numbers out of range."""
        return [
            *checks.shared("beta", self.beta, 0, 1),
            *checks.shared("learning_rate", self.learning_rate, above=True),
        ]
