"""Dynamic regularisation: the hospitals' own optima are moved until they agree.

    every hospital k:  y_k <- local training on F_k(y) - <h_k, y> + alpha/2 ||y - x||^2 from x
                       h_k <- h_k - alpha (y_k - x)
    server:            h <- h - (alpha / N) sum_k (y_k - x);   x <- (1/m) sum_k y_k - h / alpha

Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama 2021, "Federated learning based on dynamic
regularization", arXiv:2111.04263. m hospitals take part, N have rows; all h start at 0. Where y_k solves
its problem, h_k is grad F_k(y_k), and x goes to a stationary point of the mean of all F_k. Departures: the
authors' code divides alpha by n_k / mean(n) and also reports the model (1/m) sum_k y_k; here alpha is
one number and the model is x.

A poor choice with few local steps, far from a solution (h_k is then no gradient); with a small alpha and
hospitals that seldom take part (h / alpha grows); and where hospitals cannot keep anything between rounds.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxfed.algorithms import checks
from jaxfed.algorithms.server import Weighting
from jaxfed.core import tree
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class DynServer(NamedTuple):
    """The global model, and h, shaped like the parameters."""

    variables: Variables
    h: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class FedDyn(Algorithm):
    """Dynamic regularisation; every hospital keeps h_k, shaped like the parameters.

    Attributes:
        alpha: strength of the regularisation; the paper tries 0.001, 0.01 and 0.1.
        weighting: static; ``"uniform"``, as the sums of the paper are.
    """

    alpha: float = 0.01
    weighting: Weighting = dataclasses.field(default="uniform", metadata={"static": True})

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[DynServer, PyTree]:
        """All h are 0."""
        zeros = tree.zeros_like(variables.params)
        return DynServer(variables, zeros), zeros

    def client_update(
        self, local: LocalTraining, server: DynServer, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """Upload y_k - x."""
        x = server.variables.params

        def dynamic(grads: PyTree, params: PyTree, gradient: Any) -> PyTree:
            return jax.tree.map(lambda g, h, y, x: g - h + self.alpha * (y - x), grads, client, params, x)

        trained = local.train(server.variables, shard, key, dynamic)
        delta = tree.subtract(trained.variables, server.variables)
        return Upload(delta), tree.axpy(-self.alpha, delta.params, client), trained.metrics

    def server_update(self, server: DynServer, update: Variables, cohort: Cohort) -> DynServer:
        """The mean model, moved by h / alpha."""
        (x, stats), delta = server.variables, update
        h = tree.axpy(-self.alpha * cohort.share, delta.params, server.h)
        x = jax.tree.map(lambda x, d, h: x + d - h / self.alpha, x, delta.params, h)
        return DynServer(Variables(x, tree.add(stats, delta.stats)), h)

    def variables(self, server: DynServer, client: PyTree) -> Variables:
        """The global model."""
        return server.variables

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """An alpha that divides by zero, weights that are not uniform."""
        found = checks.shared("alpha", self.alpha, above=True)
        return found + checks.uniform("FedDyn", self.weighting)
