"""FedProto: hospitals share a prototype of each class, the mean of its features, and no model.

    every hospital k:  y_k <- local training on loss + lambda mean_d (f(y_k; x) - C(y))^2 for each row (x, y)
                       C_k(j) = mean of f(y_k; x) over its rows of class j
    server:            C(j) <- sum_k w_kj C_k(j) / sum_k w_kj over the hospitals with rows of class j

f are the features that go into a model's last layer. Tan, Long, Liu, Zhou, Lu, Jiang, Zhang 2022 (AAAI),
"FedProto: federated prototype learning across heterogeneous clients", arXiv:2105.00243.

Which weights: the paper prints w_kj = n_kj / N_j with a further division by the number of hospitals, so that
the prototypes would shrink with it; the authors' code takes the plain mean, w_kj = 1, which is the default
here. ``weighting="samples"`` is w_kj = n_kj, the paper's weights without that division. That every row is
pulled to its class's prototype (in the paper the means are) is the authors' code as well. A class that
nobody of the round has keeps its prototype, one that nobody ever had pulls nowhere.

The model that is used is the hospital's own, with its last layer, and not the nearest prototype.

Departures: features are those of evaluation mode (no dropout, running batch statistics), as in MOON; and
prototypes are means over all rows by the trained model, where the authors' code collects features during the
last epoch.

A poor choice for shallow models: features that are the rows themselves cannot move.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.core.group_algorithm import NOTHING, GroupAlgorithm, Parts
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables, Weighted, labels


class Prototypes(NamedTuple):
    """One for each of J classes: ``mean [J, d]``, and ``weight [J]``, 0 for a class without any."""

    mean: Array
    weight: Array


@pytree
@dataclasses.dataclass(frozen=True, kw_only=True)
class Near(Problem):
    """A problem with the distance to the class's prototype added to every row's loss.

    Attributes:
        prototypes: of all hospitals.
        lam: weight of the distance.
    """

    prototypes: Prototypes
    lam: Number

    def row_losses(self, variables: Variables, batch: Batch) -> tuple[Array, PyTree]:
        """Loss + lambda mean_d (f - C)^2 of each row."""
        losses, stats = super().row_losses(variables, batch)
        features = self.features(variables, batch.x).reshape(len(losses), -1)
        of = _one_hot(batch.y, self.prototypes, features.dtype)
        known = of @ (self.prototypes.weight > 0).astype(features.dtype)
        distance = jnp.square(features - of @ self.prototypes.mean.astype(features.dtype)).mean(-1)
        return losses + self.lam * jnp.where(known > 0, distance, 0), stats


def _one_hot(y: Array | Weighted, prototypes: Prototypes, dtype: Any) -> Array:
    return jax.nn.one_hot(labels(y), len(prototypes.weight), dtype=dtype)


@pytree
@dataclasses.dataclass(frozen=True)
class FedProto(GroupAlgorithm):
    """Prototypes of classes.

    Every model needs a method ``features(x)``, and all of them as many features.

    Attributes:
        lam: lambda, the pull towards the prototypes; 0 is local training.
        weighting: static; ``"uniform"`` or ``"samples"`` (n_kj) in the mean over the hospitals with a class.
    """

    lam: Number = 1.0
    why_averaged: ClassVar[str] = "a hospital without rows of a class sends zeros for it"
    weighting: Literal["uniform", "samples"] = dataclasses.field(default="uniform", metadata={"static": True})

    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> Prototypes:
        """No class has a prototype."""
        outputs = jax.eval_shape(local.problem.predict, variables, x)
        classes = 2 if local.problem.task.two_classes else outputs.shape[-1]
        dtype = jnp.result_type(float)
        return Prototypes(jnp.zeros((classes, _width(local, variables, x)), dtype), jnp.zeros(classes, dtype))

    def init(self, local: LocalTraining, variables: Variables, key: Array, clients: int) -> tuple[Any, Any]:
        """Every hospital has a model of its own."""
        return (), variables

    def encode(
        self, local: LocalTraining, server: Parts, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Train near the prototypes; upload its own, with n_kj or (uniform weights) whether it has any."""
        near = local.problem.extended(Near, prototypes=server.common, lam=self.lam)
        trained = dataclasses.replace(local, problem=near).train(client, shard, key)
        own = prototypes(local.problem, trained.variables, shard, server.common)
        if self.weighting == "uniform":
            own = own._replace(weight=(own.weight > 0).astype(own.weight.dtype))
        return Upload(own), trained.variables, trained.metrics

    def receive(self, local: LocalTraining, server: Parts, upload: Upload) -> Parts:
        """Sums, of which the server takes the quotient."""
        mean, weight = upload.update
        return Parts(Upload(mean * weight[:, None], weight), NOTHING)

    def aggregate(self, common: Prototypes, update: Array, cohort: Cohort) -> Prototypes:
        """The mean of each class over the hospitals that have it."""
        weight = cohort.aux
        present = weight > 0
        mean = update / jnp.where(present, weight, 1)[:, None]
        return Prototypes(
            jnp.where(present[:, None], mean, common.mean), jnp.where(present, weight, common.weight)
        )

    def weights(self, server: Parts, sizes: Array) -> Parts:
        """The uploads bring their own."""
        ones = jnp.ones_like(sizes)
        return Parts(ones, ones)

    def variables(self, server: Parts, client: Variables) -> Variables:
        """The hospital's own model."""
        return client

    def problems(
        self, groups: Mapping[str, LocalTraining], variables: Mapping[str, Variables], x: PyTree
    ) -> list[str]:
        """No classes, no features, or not as many in every group."""
        found = checks.number("lam", self.lam)
        numbers = [local.problem.task for local in groups.values() if not local.problem.task.has_classes]
        if numbers:
            return [*found, f"{numbers[0]} has no classes to have prototypes of; give FedMD, FedDF or FML"]
        without = [name for name, local in groups.items() if not local.problem.model.has_features]
        if without:
            return [
                *found,
                f"models {', '.join(map(repr, without))} have no method `features(x)`; write one that gives "
                "what goes into the last layer (jaxfed's own models have it)",
            ]
        widths = {name: _width(local, variables[name], x) for name, local in groups.items()}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name!r} {width}" for name, width in widths.items())
            found.append(
                f"models: groups have different numbers of features, {listed}; give them last hidden layers "
                "of one width"
            )
        return found


def prototypes(problem: Problem, variables: Variables, shard: Shard, like: Prototypes) -> Prototypes:
    """The mean features of each class over all of a hospital's rows, and how many rows it has."""

    def add(total: Prototypes, x: PyTree, y: Array, mask: Array, c: Array) -> Prototypes:
        features = problem.features(variables, x).reshape(len(mask), -1).astype(total.mean.dtype)
        classes = jnp.where(mask[:, None], _one_hot(y, like, features.dtype), 0)
        # where, not a product: a padded row may hold anything
        features = jnp.where(mask[:, None], features, 0)
        return Prototypes(total.mean + classes.T @ features, total.weight + classes.sum(0))

    total = shard.fold(problem.chunk, add, jax.tree.map(jnp.zeros_like, like))
    return total._replace(mean=total.mean / jnp.maximum(total.weight, 1)[:, None])


def _width(local: LocalTraining, variables: Variables, x: PyTree) -> int:
    """How many features a model has."""
    shape = jax.eval_shape(local.problem.features, variables, x).shape
    width = 1
    for size in shape[1:]:
        width *= size
    return width
