"""What algorithms that average have in common: an optax optimiser on the pseudo-gradient.

(Reddi et al. 2021, "Adaptive federated optimization", arXiv:2003.00295, Algorithm 1.) The negative mean
difference is what a gradient is elsewhere; with ``sgd`` and step size 1 the new model is the mean of the
hospitals' models. Batch statistics are averaged and never optimised.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import optax
from jax import Array

from jaxfed.core import tree
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer, optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables

Weighting = Literal["samples", "uniform"]
MEAN = optimizer(optax.sgd, learning_rate=1.0)


class Server(NamedTuple):
    """The global model and the state of the server's optimiser."""

    variables: Variables
    optimizer: optax.OptState


def begin(optimizer: Optimizer, variables: Variables) -> Server:
    """The server before the first round."""
    return Server(variables, optimizer.build().init(variables.params))


def step(optimizer: Optimizer, server: Any, delta: Variables) -> Server:
    """Move along ``delta``; ``server`` has what a :class:`Server` has, and may have more."""
    params, stats = server.variables
    updates, state = optimizer.build().update(tree.scale(-1.0, delta.params), server.optimizer, params)
    return Server(Variables(optax.apply_updates(params, updates), tree.add(stats, delta.stats)), state)


class Stepping(Algorithm):
    """Hospitals train from the global model and upload the difference; the server steps along its mean.

    Abstract: where the server's optimiser comes from is left open.
    """

    @property
    @abc.abstractmethod
    def server_optimizer(self) -> Optimizer:
        """The optimiser on the pseudo-gradient."""

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Any, PyTree]:
        """The server starts with ``variables``; hospitals keep nothing."""
        return begin(self.server_optimizer, variables), ()

    def client_update(
        self, local: LocalTraining, server: Any, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """Upload y_k - x."""
        trained = local.train(server.variables, shard, key)
        return Upload(tree.subtract(trained.variables, server.variables)), client, trained.metrics

    def server_update(self, server: Any, update: Any, cohort: Cohort) -> Any:
        """A step of the server's optimiser."""
        return step(self.server_optimizer, server, update)

    def variables(self, server: Any, client: PyTree) -> Variables:
        """The global model."""
        return server.variables


@pytree
@dataclasses.dataclass(frozen=True)
class Averaging(Stepping):
    """Hospitals train from the global model and upload the difference; the server steps along its mean.

    Attributes:
        server_optimizer: any optax optimiser on the pseudo-gradient; sgd with step size 1 is the mean.
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``.
    """

    server_optimizer: Optimizer = MEAN
    weighting: Weighting = dataclasses.field(default="samples", metadata={"static": True})


class Personal(Averaging):
    """As :class:`Averaging`, and every hospital keeps a model of its own and deploys that.

    Abstract: what a hospital does is left open.
    """

    personal: ClassVar[bool] = True

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Server, Variables]:
        """All models are ``variables``."""
        return begin(self.server_optimizer, variables), variables

    def variables(self, server: Any, client: Variables) -> Variables:
        """The hospital's own model."""
        return client
