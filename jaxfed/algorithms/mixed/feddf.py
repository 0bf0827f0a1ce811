"""FedDF: in every group models are averaged, and what all groups predict is distilled into each average.

    every hospital k of group g:  y_k <- local training from x_g
    server, for each group:       x_g <- sum_k w_k y_k / sum_k w_k,  w_k = n_k, over the group's hospitals
                                  x_g <- steps of Adam on KL( softmax(z(d)) || softmax(f(x_g; d)) ),
                                         z(d) = 1/m sum_k f(y_k; d) over all hospitals,  public rows d

Lin, Kong, Stich, Jaggi 2020, "Ensemble distillation for robust model fusion in federated learning",
arXiv:2006.07242, Algorithm 3 (AvgLogits). Hospitals send models, and the server predicts with them: bytes up
are those of the parameters. Adam with step size 0.001 and cosine decay, and batches of 128, are the authors'.
In regression the divergence is the squared error. With one group and no steps it is FedAvg.

Departures: a fixed number of steps; the authors take up to 10,000 and stop early on labelled validation rows
of the server. A group of which nobody takes part learns from the others.

A poor choice where the public rows are few or unlike the hospitals' own, or where the server must be cheap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.mixed.public import as_public, learn, missing, predictions
from jaxfed.core import tree
from jaxfed.core.group_algorithm import MixedAlgorithm, Parts
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer, optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


def annealed_adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Adam whose step size falls to 0 along a cosine."""
    return optax.adam(optax.cosine_decay_schedule(learning_rate, max(steps, 1)))


@pytree
@dataclasses.dataclass(frozen=True)
class FedDF(MixedAlgorithm):
    """Average in groups, distil between them.

    Attributes:
        public: the public rows: a data set (its labels are not used) or a tree of arrays ``[M, ...]``.
        steps: static; of distillation in a round, for each group.
        batch_size: static; public rows per step.
        optimizer: of the distillation; None for Adam with step size 0.001 and cosine decay.
    """

    personal: ClassVar[bool] = False

    public: Any = None
    steps: int = dataclasses.field(default=200, metadata={"static": True})
    batch_size: int = dataclasses.field(default=128, metadata={"static": True})
    optimizer: Optimizer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", as_public(self.public))

    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> Array:
        """Nobody has predicted anything."""
        said = jax.eval_shape(lambda: predictions(local, variables, self.public.x))
        return jnp.zeros(said.shape, said.dtype)

    def init(
        self, local: LocalTraining, variables: Variables, key: Array, places: int
    ) -> tuple[Variables, tuple[()]]:
        """The server has a model for each group; hospitals keep nothing."""
        return variables, ()

    def encode(
        self, local: LocalTraining, server: Parts, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x_g."""
        trained = local.train(server.own, shard, key)
        return Upload(tree.subtract(trained.variables, server.own)), client, trained.metrics

    def receive(self, local: LocalTraining, server: Parts, upload: Variables) -> Parts:
        """What the uploaded model predicts, and the model."""
        return Parts(predictions(local, tree.add(server.own, upload), self.public.x), upload)

    def settle(
        self, local: LocalTraining, server: Parts, update: Variables, cohort: Cohort, key: Array
    ) -> Variables:
        """The mean of the models, then distillation."""
        model = jax.tree.map(lambda x, delta: (x + delta).astype(x.dtype), server.own, update)
        if not self.steps:
            return model
        training = dataclasses.replace(
            local,
            problem=dataclasses.replace(local.problem, l2=None, loss=local.problem.task.soft),
            optimizer=self.optimizer or optimizer(annealed_adam, learning_rate=1e-3, steps=self.steps),
            epochs=None,
            steps=self.steps,
            batch_size=min(self.batch_size, len(self.public)),
        )
        return learn(training, model, self.public.x, server.common, key, None)

    def weights(self, server: Parts, sizes: Array) -> Parts:
        """1 for predictions, n_k for models."""
        return Parts(jnp.ones_like(sizes), sizes)

    def variables(self, server: Parts, client: tuple[()]) -> Variables:
        """The group's model."""
        return server.own

    def problems(self, groups: Mapping[str, LocalTraining], variables: Any, x: PyTree) -> list[str]:
        """Whether there are public rows, and the numbers of the distillation make sense."""
        found = missing(type(self).__name__, self.public, None, x)
        return found + checks.count("steps", self.steps, 0) + checks.count("batch_size", self.batch_size)
