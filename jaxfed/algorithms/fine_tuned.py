"""Federated averaging, and every hospital fine-tunes the global model before it uses it.

    training:          FedAvg
    before use:        v_k <- local training from x on the hospital's own training rows

The plainest personalisation: Yu, Bagdasaryan, Shmatikov 2020, "Salvaging federated learning by local
adaptation", arXiv:2002.04758; Wang, Mathews, Kiddon, Eichner, Beaufays, Ramage 2019, "Federated evaluation
of on-device personalization", arXiv:1910.10252. Nothing is kept between rounds: every evaluation
fine-tunes anew from the global model, with the numbers of the last round that was trained where they are
schedules. After a step size that falls to almost 0 that moves nothing, and a run warns: give ``optimizer``.

A poor choice for small hospitals and many epochs, which overfit; evaluations cost a training.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Shard, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class FineTuned(Averaging):
    """FedAvg with fine-tuning before use.

    Attributes:
        epochs: of fine-tuning; where neither this nor ``steps`` is given, as many as in a round.
        steps: of fine-tuning, instead of epochs.
        optimizer: of fine-tuning; None for the hospitals' optimiser.
    """

    epochs: Number | None = None
    steps: Number | None = None
    optimizer: Optimizer | None = None
    personal: ClassVar[bool] = True
    adapts: ClassVar[bool] = True

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """Local training from the global model."""
        if self.epochs is not None or self.steps is not None:
            local = dataclasses.replace(local, epochs=self.epochs, steps=self.steps)
        if self.optimizer is not None:
            local = dataclasses.replace(local, optimizer=self.optimizer)
        return local.train(variables, shard, key).variables

    def adapting_rate(self, local: LocalTraining) -> tuple[Number, str] | None:
        """The step size of fine-tuning."""
        return checks.rate_of(self.optimizer or local.optimizer, "FineTuned", "optimizer")

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the length of fine-tuning is clear."""
        found = []
        if self.epochs is not None and self.steps is not None:
            found.append(f"epochs={self.epochs!r} and steps={self.steps!r}: give one of them")
        for name, value in (("epochs", self.epochs), ("steps", self.steps)):
            found += [] if value is None else checks.count(name, value, 0)
        return found
