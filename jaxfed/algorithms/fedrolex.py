"""FedRolex: slices that roll over the model, so that every unit is trained by everybody in turn.

    round t, hospital k:  x_k <- units t, ..., t + ceil(r_k d) - 1 (modulo d) of every hidden layer of x
    the rest:             as HeteroFL

Alam, Liu, Yan, Zhang 2022, "FedRolex: model-heterogeneous federated learning with rolling sub-model
extraction", arXiv:2212.01548; uniform weights, scaler and masked loss as in the authors' code, which rolls
the other way. A turn takes as many rounds as the widest layer has units. In a turn a slice holds every unit,
and every weight between a unit and the input or output. All layers roll at the same pace: a weight between
two hidden units is held when both are in their windows, which for some pairs may be never (two layers of
equal width, units further apart than the window is wide). A round in which nobody takes part moves nothing.

Departure: a hospital deploys the window that it trained last, where the paper tests the whole model.

A poor choice for short runs and for small rates: a hospital's own units are new in every turn.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxfed.algorithms.heterofl import HeteroFL, Labels
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Variables


class RollingServer(NamedTuple):
    """The server with the first unit of the next window."""

    variables: Variables
    optimizer: optax.OptState
    window: Array


@pytree
@dataclasses.dataclass(frozen=True)
class FedRolex(HeteroFL):
    """Rolling slices; see :class:`HeteroFL` for the rest."""

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[RollingServer, Labels]:
        """The first window starts at unit 0."""
        server, client = super().init(variables, key, clients)
        return RollingServer(server.variables, server.optimizer, jnp.zeros((), jnp.int32)), client

    def server_update(self, server: Any, update: Variables, cohort: Cohort) -> RollingServer:
        """A step of the server, and of the window."""
        stepped = super().server_update(server, update, cohort)
        return RollingServer(stepped.variables, stepped.optimizer, server.window + 1)

    def sent_window(self, server: Any) -> Array:
        """It moves by one unit in every round."""
        return server.window

    def deployed_window(self, server: Any) -> Array:
        """That of the last round."""
        return jnp.maximum(server.window - 1, 0)
