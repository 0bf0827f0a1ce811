"""Adaptive optimisers on the server: FedAdagrad, FedAdam and FedYogi.

    every hospital k:  y_k <- local training from x;   D = sum_k w_k (y_k - x) / sum_k w_k
    server:            m <- beta1 m + (1 - beta1) D
                       v <- v + D^2                              (Adagrad)
                       v <- beta2 v + (1 - beta2) D^2            (Adam)
                       v <- v - (1 - beta2) D^2 sign(v - D^2)    (Yogi)
                       x <- x + eta m / (sqrt(v) + tau)

Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan 2021, "Adaptive federated optimization",
arXiv:2003.00295, Algorithm 2. As there, m and v are not corrected for their bias, and v starts at tau^2.
That is not ``optax.adam``, which corrects both and starts at 0; for that one, or any other optimiser of
optax, use ``FedAvg(server_optimizer=jaxfed.optimizer(optax.adam, learning_rate=0.01))``. The algorithm
averages uniformly and the paper's experiments with n_k; both are here. The paper tunes eta and has no
default; these are starting points.

A poor choice where rounds are few or eta is not tuned: a coordinate moves by about eta in a round,
whatever the hospitals found.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Stepping, Weighting
from jaxfed.core import tree
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.optimizer import Optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Variables

SECOND_MOMENTS: dict[str, Any] = {
    "adagrad": lambda v, square, beta2: v + square,
    "adam": lambda v, square, beta2: beta2 * v + (1 - beta2) * square,
    "yogi": lambda v, square, beta2: v - (1 - beta2) * square * jnp.sign(v - square),
}


class Moments(NamedTuple):
    """m and v."""

    first: PyTree
    second: PyTree


def adaptive(
    rule: str, learning_rate: Number, beta1: Number, beta2: Number, tau: Number, initial: Number | None = None
) -> optax.GradientTransformation:
    """Algorithm 2 as an optax transformation; ``initial`` is v before the first round, None for tau^2."""

    def init(params: PyTree) -> Moments:
        v = tau**2 if initial is None else initial
        second = jax.tree.map(lambda leaf: jnp.full_like(leaf, v), params)
        return Moments(tree.zeros_like(params), second)

    def update(grads: PyTree, state: Moments, params: PyTree | None = None) -> tuple[PyTree, Moments]:
        first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.first, grads)
        second = jax.tree.map(lambda v, g: SECOND_MOMENTS[rule](v, jnp.square(g), beta2), state.second, grads)
        step = jax.tree.map(lambda m, v: -learning_rate * m / (jnp.sqrt(v) + tau), first, second)
        return step, Moments(first, second)

    return optax.GradientTransformation(init, update)


class Adaptive(Stepping):
    """What the three share; abstract."""

    rule: ClassVar[str]
    learning_rate: float
    beta1: float
    tau: float
    initial: float | None

    @property
    def server_optimizer(self) -> Optimizer:
        """The rule with its numbers."""
        numbers = {
            "learning_rate": self.learning_rate,
            "beta1": self.beta1,
            "beta2": getattr(self, "beta2", 0.0),
            "tau": self.tau,
        }
        if self.initial is not None:
            numbers["initial"] = self.initial
        return Optimizer(numbers, adaptive, (("rule", self.rule),))

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Numbers out of range."""
        return [
            *checks.shared("learning_rate", self.learning_rate, above=True),
            *checks.shared("beta1", self.beta1, 0, 1),
            *checks.shared("beta2", getattr(self, "beta2", 0.0), 0, 1),
            *checks.shared("tau", self.tau, above=True),
            *([] if self.initial is None else checks.shared("initial", self.initial)),
        ]


@pytree
@dataclasses.dataclass(frozen=True)
class FedAdagrad(Adaptive):
    """Adagrad on the server.

    Attributes:
        learning_rate: eta.
        beta1: of the first moment; 0 in the paper's experiments.
        tau: how little a coordinate may have moved to be treated as new; the paper tries 1e-5 to 0.1.
        initial: v before the first round; None for tau^2.
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``.
    """

    rule: ClassVar[str] = "adagrad"
    learning_rate: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3
    initial: float | None = None
    weighting: Weighting = dataclasses.field(default="samples", metadata={"static": True})


@pytree
@dataclasses.dataclass(frozen=True)
class FedAdam(Adaptive):
    """Adam on the server, without bias correction.

    Attributes:
        learning_rate: eta.
        beta1, beta2: of the first and the second moment.
        tau: as in :class:`FedAdagrad`.
        initial: v before the first round; None for tau^2.
        weighting: static; ``"samples"`` (n_k) or ``"uniform"``.
    """

    rule: ClassVar[str] = "adam"
    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    initial: float | None = None
    weighting: Weighting = dataclasses.field(default="samples", metadata={"static": True})


@pytree
@dataclasses.dataclass(frozen=True)
class FedYogi(Adaptive):
    """Yogi on the server; its attributes are those of :class:`FedAdam`."""

    rule: ClassVar[str] = "yogi"
    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    initial: float | None = None
    weighting: Weighting = dataclasses.field(default="samples", metadata={"static": True})
