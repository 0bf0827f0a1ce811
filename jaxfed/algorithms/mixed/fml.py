"""Federated mutual learning: a private model of any kind, and a small one that travels.

    every hospital k:  v_k private, u <- the meme; on the same mini-batches
                       v_k:  alpha loss(v_k) + (1 - alpha) KL( p(u) || p(v_k) )
                       u:    beta loss(u)    + (1 - beta)  KL( p(v_k) || p(u) )
    server:            the meme <- 1/m sum_k u_k

Shen, Zhang, Jia, Zhang, Huang, Zhou, Kuang, Wu, Wu 2020, "Federated mutual learning", arXiv:2006.16765. Each
model's predictions are constants in the other's loss. Uniform weights are those of the authors' code, whose
loss + KL is alpha = beta = 1/2 with twice the step size. beta = 1 is FedAvg of the meme, alpha = 1 local
training of the private model; that is the one which hospitals use.

Departures: both models share one optimiser state that starts anew in every round. In regression the
divergence is the squared difference of the predictions.

A poor choice where the meme is too small to say anything that the private models do not know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.core import tree
from jaxfed.core.group_algorithm import GroupAlgorithm, Parts
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.base import FlaxModel
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


@pytree
@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutual(Problem):
    """Two models that learn from the rows and from each other; variables have ``private`` and ``meme``.

    Attributes:
        meme: static; the model that travels.
        alpha, beta: weights of the private model's and of the meme's own loss.
    """

    meme: FlaxModel = dataclasses.field(metadata={"static": True})
    alpha: Number
    beta: Number

    def row_losses(self, variables: Variables, batch: Batch) -> tuple[Array, PyTree]:
        """The sum of both losses of each row: the gradient of each model is that of its own."""
        outputs, stats = {}, {}
        for name, model in (("private", self.model), ("meme", self.meme)):
            own = Variables(variables.params[name], variables.stats[name])
            outputs[name], stats[name] = model.apply(own, batch.x, train=True, key=batch.key, mask=batch.mask)
        total = jnp.zeros(())
        for name, other, share in (("private", "meme", self.alpha), ("meme", "private", self.beta)):
            told = jax.lax.stop_gradient(outputs[other])
            own_loss = self.losses(outputs[name], batch.y, batch.mask)
            total = total + share * own_loss + (1 - share) * self.task.divergence(outputs[name], told)
        return total, stats


@pytree
@dataclasses.dataclass(frozen=True)
class FML(GroupAlgorithm):
    """A private model and a meme that learn from each other.

    Attributes:
        model: static; the meme: a flax model, of which ``outputs=None`` becomes what the data need.
        alpha: weight of the private model's own loss, from 0 to 1.
        beta: weight of the meme's.
        weighting: static; ``"uniform"`` or ``"samples"`` (n_k) in the mean of the memes.
    """

    model: Any = dataclasses.field(default=None, metadata={"static": True})
    alpha: Number = 0.5
    beta: Number = 0.5
    weighting: Literal["uniform", "samples"] = dataclasses.field(default="uniform", metadata={"static": True})

    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> Variables:
        """A fresh meme."""
        meme = self._meme(local, variables, x)
        return dataclasses.replace(local.problem, model=meme).init(key, x)

    def init(self, local: LocalTraining, variables: Variables, key: Array, clients: int) -> tuple[Any, Any]:
        """Every hospital has a private model."""
        return (), variables

    def encode(
        self, local: LocalTraining, server: Parts, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Train both; upload the meme's change, keep the private model. The loss is the sum of both."""
        meme = self._meme(local, client, shard.x)
        problem = local.problem.extended(Mutual, meme=meme, alpha=self.alpha, beta=self.beta)
        both = zip(client, server.common, strict=True)
        start = Variables(*({"private": own, "meme": shared} for own, shared in both))
        trained = dataclasses.replace(local, problem=problem).train(start, shard, key)
        private, moved = (
            Variables(*(part[name] for part in trained.variables)) for name in ("private", "meme")
        )
        return Upload(tree.subtract(moved, server.common)), private, trained.metrics

    def aggregate(self, common: Variables, update: Variables, cohort: Cohort) -> Variables:
        """The mean of the memes."""
        return tree.add(common, update)

    def variables(self, server: Parts, client: Variables) -> Variables:
        """The private model."""
        return client

    def problems(
        self, groups: Mapping[str, LocalTraining], variables: Mapping[str, Variables], x: PyTree
    ) -> list[str]:
        """Whether there is a meme that fits, and the shares are shares."""
        found = checks.number("alpha", self.alpha, 0, 1) + checks.number("beta", self.beta, 0, 1)
        try:
            name, local = next(iter(groups.items()))
            if self.model is None:
                raise TypeError("the meme is missing; give a small one, model=jaxfed.models.mlp(16)")
            shared = dataclasses.replace(local.problem, model=self._meme(local, variables[name], x))
            said = jax.eval_shape(
                lambda: shared.predict(shared.init(jax.random.key(0), _zeros(x)), _zeros(x))
            )
            own = jax.eval_shape(local.problem.predict, variables[name], x)
            if said.shape != own.shape:
                found.append(
                    f"model: the meme's output has shape {said.shape[1:]}, that of group {name!r} "
                    f"{own.shape[1:]}; give it the same width, or outputs=None"
                )
        except Exception as error:  # whatever a user's model raises
            found.append(f"model={self.model!r}: {type(error).__name__}: {error}")
        return found

    def _meme(self, local: LocalTraining, variables: Variables, x: PyTree) -> FlaxModel:
        """The meme, as wide as the private models."""
        model = self.model
        if isinstance(model, nn.Module) and getattr(model, "outputs", 0) is None:
            rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), x)
            model = model.clone(outputs=jax.eval_shape(local.problem.predict, variables, rows).shape[-1])
        return as_model(model)


def _zeros(x: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x)
