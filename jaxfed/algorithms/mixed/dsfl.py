"""DS-FL: hospitals agree on probabilities of public rows, sharpened, and each learns them as soft labels.

    every hospital k:  distil:   y_k <- training on the cross-entropy of p(y_k; d) with t(d), public rows d
                       update:   y_k <- local training on its own rows
                       predict:  p(y_k; d) for public rows d of the next round
    server:            t(d) = softmax( 1/m sum_k p(y_k; d) / T )           (entropy reduction, ERA)

Itahara, Nishio, Koda, Morikura, Yamamoto 2020, "Distillation-based semi-supervised federated learning for
communication-efficient collaborative training with non-IID private data", arXiv:2008.06180. Their T is 0.1.
With one logit the classes are 1 - p and p, and t = sigmoid((2 p - 1) / T).

Departures: a round begins with distil and not with update (the sequence is the same), so that the model is
used after it has seen its own rows; and there is no model on the server that learns from t as well.

A poor choice where most hospitals are wrong on the public rows: sharpening makes them wrong and sure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.mixed.distilling import Consensus, Distilling
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class DSFL(Distilling):
    """Agree on sharpened probabilities of public rows, and learn them by cross-entropy.

    Attributes:
        temperature: T of the sharpening; None for the plain mean (the paper's SA).
    """

    temperature: Number | None = 0.1

    @staticmethod
    def say(outputs: Array) -> Array:
        """Probabilities."""
        return jax.nn.softmax(outputs) if outputs.shape[-1] > 1 else jax.nn.sigmoid(outputs)

    @staticmethod
    def distance(outputs: Array, targets: Array) -> Array:
        """Cross-entropy with soft labels."""
        if outputs.shape[-1] > 1:
            return optax.softmax_cross_entropy(outputs, targets)
        return optax.sigmoid_binary_cross_entropy(outputs, targets)[:, 0]

    def aggregate(self, common: Consensus, update: Array, cohort: Cohort) -> Consensus:
        """The mean, sharpened."""
        agreed = super().aggregate(common, update, cohort)
        return (
            agreed if self.temperature is None else agreed._replace(targets=sharpen(update, self.temperature))
        )

    def problems(self, groups: Mapping[str, LocalTraining], variables: Any, x: PyTree) -> list[str]:
        """Whether there are classes, and public rows."""
        found = super().problems(groups, variables, x)
        without = [local.problem.task for local in groups.values() if not local.problem.task.has_classes]
        if without:
            found.append(f"{without[0]} has no probabilities to agree on; give FedMD or FedDF")
        if self.temperature is not None:
            found += checks.shared("temperature", self.temperature, above=True)
        return found


def sharpen(mean: Array, temperature: Number) -> Array:
    """Entropy reduction of mean probabilities ``[M, K]``, or ``[M, 1]`` of the second of two classes."""
    if mean.shape[-1] > 1:
        return jax.nn.softmax(mean / temperature)
    return jax.nn.sigmoid((2 * mean - 1) / temperature)
