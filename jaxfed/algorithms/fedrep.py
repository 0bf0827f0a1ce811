"""Shared representation, personal heads, trained one after the other.

    every hospital k:  head_k <- ``head_epochs`` of local training, the body as it was sent
                       body_k <- local training, the head as it is now
    server:            body <- mean of body_k

Collins, Hassani, Mokhtari, Shakkottai 2021, "Exploiting shared representations for personalized federated
learning", arXiv:2102.07078; 10 epochs for the head are those of the authors' code.

A head belongs to the body it was trained on. So before use every hospital trains its head once more on
the body of now (``refit``): the authors' last round, in which everyone trains, does this once at the end. Its
step size is that of the last round that was trained: a schedule that ends at almost 0 leaves the heads as
they are, and a run warns; ``refit_optimizer`` has a step size of its own.

A poor choice where hospitals are too small to train a head of their own.
"""

from __future__ import annotations

import dataclasses

import jax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.partial import Partial, freeze, missing, named, split
from jaxfed.algorithms.server import Server
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True)
class FedRep(Partial):
    """Head first, then body.

    Attributes:
        head: static; names of the model's modules that stay in the hospital.
        head_epochs: epochs of the head.
        body_epochs: epochs of the body; None for the epochs or steps of a round.
        refit: static; whether heads are trained once more before use. Evaluations then cost a training.
        refit_optimizer: of that training; None for the hospitals' optimiser, as in the last round.
    """

    head: str | tuple[str, ...] = dataclasses.field(default=("head",), metadata={"static": True})
    head_epochs: Number = 10
    body_epochs: Number | None = None
    refit: bool = dataclasses.field(default=True, metadata={"static": True})
    refit_optimizer: Optimizer | None = None

    @property
    def adapts(self) -> bool:  # type: ignore[override]
        """Whether heads are trained before use."""
        return self.refit

    def mine(self, variables: Variables) -> Variables:
        """The head, with its batch statistics."""
        return named(variables, self.head)

    def client_update(
        self, local: LocalTraining, server: Server, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Upload the body's change, keep the head."""
        first, second = jax.random.split(key)
        fitted = self._fit_head(local, self.variables(server, client), shard, first)
        body = local
        if self.body_epochs is not None:
            body = dataclasses.replace(local, epochs=self.body_epochs, steps=None)
        mine = self.mine(fitted)
        trained = freeze(body, mine.params).train(fitted, shard, second)
        own, shared = split(trained.variables, mine)
        return Upload(tree.subtract(shared, server.variables)), own, trained.metrics

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """The head once more, on the body of now."""
        if self.refit_optimizer is not None:
            local = dataclasses.replace(local, optimizer=self.refit_optimizer)
        return variables._replace(params=self._fit_head(local, variables, shard, key).params)

    def _fit_head(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        body = jax.tree.map(lambda mine: not mine, self.mine(variables).params)
        head = dataclasses.replace(local, epochs=self.head_epochs, steps=None)
        return freeze(head, body).train(variables, shard, key).variables

    def adapting_rate(self, local: LocalTraining) -> tuple[Number, str] | None:
        """The step size of the heads before use."""
        return checks.rate_of(self.refit_optimizer or local.optimizer, "FedRep", "refit_optimizer")

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Whether the model has a head, and a body beside it."""
        found = checks.count("head_epochs", self.head_epochs)
        if self.body_epochs is not None:
            found += checks.count("body_epochs", self.body_epochs)
        absent = missing(variables, self.head)
        mask = jax.tree.leaves(self.mine(variables).params)
        if not absent and not any(mask):
            absent = [f"head={self.head!r}: no head; name the last layers of the model, or use FedAvg"]
        elif all(mask):
            absent.append(f"head={self.head!r}: this is the whole model; leave a body, or use LocalOnly")
        return found + absent
