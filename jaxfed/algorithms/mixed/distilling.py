"""What FedMD and DS-FL have in common: hospitals agree on predictions for public rows, and learn them."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.mixed.public import as_public, learn, missing, predictions
from jaxfed.core.group_algorithm import GroupAlgorithm, Parts
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class Consensus(NamedTuple):
    """What hospitals agree on.

    Attributes:
        targets: ``[M, ...]`` for the public rows of the last round.
        rounds: int32, how often they did; 0 for targets that mean nothing yet.
        words: a key's data; which rows are those of a round is public.
    """

    targets: Array
    rounds: Array
    words: Array

    def key(self, rounds: Array) -> Array:
        """The key that draws the public rows."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.words), rounds)


@pytree
@dataclasses.dataclass(frozen=True)
class Distilling(GroupAlgorithm):
    """Hospitals send what they predict for public rows, and learn the consensus of all. Abstract: which.

    Attributes:
        public: the public rows: a data set (its labels are not used) or a tree of arrays ``[M, ...]``.
        rows: static; public rows drawn for each round; None for all.
        epochs: over the public rows, towards the consensus.
        batch_size: static; public rows per step.
        optimizer: for the public rows; None for the hospitals' own.
        weighting: static; ``"uniform"`` or ``"samples"`` (n_k) in the consensus.
    """

    public: Any = None
    rows: int | None = dataclasses.field(default=None, metadata={"static": True})
    epochs: Number = 1
    batch_size: int | None = dataclasses.field(default=256, metadata={"static": True})
    optimizer: Optimizer | None = None
    weighting: Literal["uniform", "samples"] = dataclasses.field(default="uniform", metadata={"static": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", as_public(self.public))

    @staticmethod
    def say(outputs: Array) -> Array:
        """What a hospital sends of its model's outputs."""
        return outputs

    @staticmethod
    @abc.abstractmethod
    def distance(outputs: Array, targets: Array) -> Array:
        """The loss of each public row, ``[B]``."""

    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> Consensus:
        """Nothing is agreed on."""
        drawn = Consensus(jnp.zeros(()), jnp.zeros((), jnp.int32), jax.random.key_data(key))
        said = jax.eval_shape(lambda: self._said(local, drawn, variables))
        return drawn._replace(targets=jnp.zeros(said.shape, said.dtype))

    def init(self, local: LocalTraining, variables: Variables, key: Array, clients: int) -> tuple[Any, Any]:
        """Every hospital has a model of its own."""
        return (), variables

    def decode(
        self, local: LocalTraining, server: Parts, client: Variables, shard: Shard, key: Array
    ) -> Variables:
        """Learn the consensus of the last round, once there is one."""
        agreed: Consensus = server.common
        training = dataclasses.replace(
            local,
            problem=dataclasses.replace(local.problem, l2=None, loss=self.distance),
            optimizer=self.optimizer or local.optimizer,
            epochs=jnp.where((agreed.rounds > 0) & (shard.size > 0), self.epochs, 0),
            steps=None,
            batch_size=self.batch_size and min(self.batch_size, len(agreed.targets)),
        )
        x = self.public.sample(agreed.key(agreed.rounds - 1), self.rows)
        return learn(training, client, x, agreed.targets, key, shard)

    def encode(
        self, local: LocalTraining, server: Parts, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Train on its own rows; upload predictions for the public rows of this round."""
        trained = local.train(client, shard, key)
        return Upload(self._said(local, server.common, trained.variables)), trained.variables, trained.metrics

    def aggregate(self, common: Consensus, update: Array, cohort: Cohort) -> Consensus:
        """The mean is the consensus."""
        return common._replace(targets=update, rounds=common.rounds + 1)

    def variables(self, server: Parts, client: Variables) -> Variables:
        """The hospital's own model."""
        return client

    def extra_rows(self) -> int:
        """The public rows of a round."""
        epochs = self.epochs if isinstance(self.epochs, (int, float)) else 1
        return int(epochs * (self.rows or len(self.public)))

    def problems(self, groups: Any, variables: Any, x: PyTree) -> list[str]:
        """Whether there are public rows, and what is learnt from them makes sense."""
        found = missing(type(self).__name__, self.public, self.rows, x)
        found += checks.count("epochs", self.epochs, 0)
        if self.batch_size is not None:
            found += checks.count("batch_size", self.batch_size)
        return found

    def _said(self, local: LocalTraining, agreed: Consensus, variables: Variables) -> Array:
        x = self.public.sample(agreed.key(agreed.rounds), self.rows)
        return self.say(predictions(local, variables, x))
