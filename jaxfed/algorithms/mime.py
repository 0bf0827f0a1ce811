"""Mime and MimeLite: every local step is one of the centralised optimiser, whose state stays on the server.

    cohort (Mime):     c = sum_k w_k grad F_k(x) / sum_k w_k, in a first exchange
    every hospital k:  y_k <- y_k - eta U(g, s), K_k steps from x, with
                       g = g_k(y_k; b) - g_k(x; b) + c    (Mime; b is the same mini-batch)
                       g = g_k(y_k; b)                    (MimeLite)
    server:            x <- x + eta_g sum_k w_k (y_k - x) / sum_k w_k
                       s <- V(sum_k w_k grad F_k(x) / sum_k w_k, s), with x from before the round

Karimireddy, Jaggi, Kale, Mohri, Reddi, Stich, Suresh 2020, "Mime: Mimicking centralized stochastic
algorithms in federated learning", arXiv:2008.03606. ``base`` is U and V in one: an optax transformation
without a step size, whose update is U and whose new state is V. The default is the paper's momentum,
U = V = (1 - beta) g + beta s. The step size eta is that of the client optimiser, plain sgd. Departure for
other bases: optax lets the present gradient into all moments before it makes a step, so U of
``optax.scale_by_adam`` counts it in the second moment too, and corrects for bias.

A poor choice where local passes are dear: Mime takes two gradients per step, and both a pass over all of a
hospital's rows in each round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import optax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Averaging, Weighting, step
from jaxfed.core import tree
from jaxfed.core.local import Correct, LocalTraining
from jaxfed.core.optimizer import Optimizer, optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables

MOMENTUM = optimizer(optax.ema, decay=0.9, debias=False)


class MimeServer(NamedTuple):
    """The server with the base optimiser's state s, and c of the round."""

    variables: Variables
    optimizer: optax.OptState
    statistics: optax.OptState
    gradient: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class MimeLite(Averaging):
    """Mime without the correction for what a hospital's gradient is.

    Attributes:
        base: an optax transformation without a step size; ``optimizer(optax.identity)`` for sgd.
        weighting: static; ``"uniform"`` as in the paper, or ``"samples"`` (n_k).
    """

    weighting: Weighting = dataclasses.field(default="uniform", metadata={"static": True})
    base: Optimizer = MOMENTUM

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[MimeServer, tuple[()]]:
        """Fresh statistics."""
        base, client = super().init(variables, key, clients)
        statistics = self.base.build().init(variables.params)
        return MimeServer(
            base.variables, base.optimizer, statistics, tree.zeros_like(variables.params)
        ), client

    def client_update(
        self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x and grad F_k(x)."""
        trained = local.train(server.variables, shard, key, self._mimic(server))
        delta = tree.subtract(trained.variables, server.variables)
        gradient = local.problem.full_gradient(server.variables, shard, key).params
        return Upload(delta, gradient), client, trained.metrics

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> MimeServer:
        """A step, and the statistics after it."""
        return self._served(server, update, cohort.aux)

    def _served(self, server: Any, delta: Variables, gradient: PyTree) -> MimeServer:
        _, statistics = self.base.build().update(gradient, server.statistics, server.variables.params)
        return MimeServer(*step(self.server_optimizer, server, delta), statistics, gradient)

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Two optimisers, one on top of the other."""
        why = "makes its steps with `base`, and the client optimiser only scales them"
        return checks.plain_sgd(type(self).__name__, local, why=why)

    def _mimic(self, server: Any) -> Correct:
        base = self.base.build()

        def direction(grads: PyTree, params: PyTree, gradient: Callable[[PyTree], PyTree]) -> PyTree:
            return base.update(self._gradient(server, grads, gradient), server.statistics, params)[0]

        return direction

    def _gradient(self, server: Any, grads: PyTree, gradient: Callable[[PyTree], PyTree]) -> PyTree:
        return grads


@pytree
@dataclasses.dataclass(frozen=True)
class Mime(MimeLite):
    """Mime; its attributes are those of :class:`MimeLite`."""

    asks: ClassVar[bool] = True

    def ask(self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array) -> PyTree:
        """The gradient of F_k(x)."""
        return local.problem.full_gradient(server.variables, shard, key).params

    def answer(self, server: Any, update: PyTree) -> MimeServer:
        """The server with c."""
        return server._replace(gradient=update)

    def client_update(
        self, local: LocalTraining, server: Any, client: tuple[()], shard: Shard, key: Array
    ) -> tuple[Upload, tuple[()], Metrics]:
        """Upload y_k - x; the gradient was uploaded before."""
        trained = local.train(server.variables, shard, key, self._mimic(server))
        return Upload(tree.subtract(trained.variables, server.variables)), client, trained.metrics

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> MimeServer:
        """A step, and the statistics after it."""
        return self._served(server, update, server.gradient)

    def _gradient(self, server: Any, grads: PyTree, gradient: Callable[[PyTree], PyTree]) -> PyTree:
        before = gradient(server.variables.params)
        return jax.tree.map(lambda y, x, c: y - x + c, grads, before, server.gradient)
