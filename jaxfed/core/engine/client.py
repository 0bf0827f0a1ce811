"""One hospital's part of an exchange, and the shapes of its results."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import hyperparameters
from jaxfed.core.aggregation import Sender
from jaxfed.core.engine.recipe import ClientState, Recipe
from jaxfed.core.engine.road import transform
from jaxfed.core.group_algorithm import NOTHING, GroupAlgorithm, Parts
from jaxfed.core.layout.store import TrainingData
from jaxfed.core.local import LocalTraining
from jaxfed.core.types import Metrics, PyTree, Shard, Upload

MAIN, FIRST = 0, 1  # the exchanges of a round, in the order of their states


class ClientResult(NamedTuple):
    """The result of a hospital's part of an exchange; ``received`` is what the server aggregates."""

    received: Parts
    each: PyTree
    state: ClientState
    metrics: Metrics


def client_round(
    recipe: Recipe,
    local: LocalTraining,
    server: Parts,
    client: ClientState,
    shard: Shard,
    sender: Sender,
    keys_of: tuple[Array, Array],
    which: int,
) -> ClientResult:
    """One hospital's part of an exchange: local training, the transforms, and ``receive`` of the server.

    ``keys_of`` are the hospital's keys for training and for decoding; ``which`` (static) is ``MAIN`` or
    ``FIRST``.
    """
    algorithm: GroupAlgorithm = hyperparameters.at_hospital(recipe.algorithm, shard.hospital)
    local = hyperparameters.at_hospital(local, shard.hospital)
    upload, state, metrics = _act(algorithm, local, server, client.algorithm, shard, keys_of, which)
    upload, new = transform(recipe.chain, upload, client.transforms[which], sender, shard.hospital)
    transforms = tuple(new if i == which else t for i, t in enumerate(client.transforms))
    sent = upload._replace(each=())
    received = Parts(NOTHING, sent) if which == FIRST else algorithm.receive(local, server, sent)
    return ClientResult(received, upload.each, ClientState(state, transforms), metrics)


def _act(
    algorithm: GroupAlgorithm,
    local: LocalTraining,
    server: Parts,
    client: PyTree,
    shard: Shard,
    keys_of: tuple[Array, Array],
    which: int,
) -> tuple[Upload, PyTree, Metrics]:
    """Run the algorithm in a hospital; the first exchange does not change the hospital's state."""
    if which == FIRST:
        return Upload(algorithm.ask(local, server, client, shard, keys_of[0])), client, {}
    client = algorithm.decode(local, server, client, shard, keys_of[1])
    return algorithm.encode(local, server, client, shard, keys_of[0])


def sent_shape(
    recipe: Recipe, local: LocalTraining, server: Parts, client: PyTree, data: TrainingData, which: int
) -> Upload:
    """The shape of the upload of a hospital with this state, before any transform."""

    def act(server: Parts, client: PyTree, train: Any) -> Upload:
        key, shard = jax.random.key(0), _no_rows(train)
        algorithm, training = hyperparameters.at_hospital((recipe.algorithm, local), 0)
        return _act(algorithm, training, server, client, shard, (key, key), which)[0]

    return jax.eval_shape(act, server, client, data.train)


def _no_rows(train: Any) -> Shard:
    zero = jnp.zeros((), jnp.int32)
    return Shard(train.x, train.y, zero, zero, None, zero)


def upload_shapes(
    recipe: Recipe, local: LocalTraining, server: Parts, clients: PyTree, data: TrainingData, which: int
) -> ClientResult:
    """Shapes of the result of a hospital's part of an exchange; ``clients`` are states ``[S, ...]``."""
    state = jax.tree.map(lambda leaf: leaf[0], clients)
    return _part.eval_shape(recipe, local, server, state, data.train, which=which)


@partial(jax.jit, static_argnames=("which",))  # compiled nowhere: jax remembers the trace
def _part(
    recipe: Recipe, local: LocalTraining, server: Parts, state: ClientState, train: Any, which: int
) -> ClientResult:
    key = jax.random.key(0)
    sender = Sender(key, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.result_type(float)))
    return client_round(recipe, local, server, state, _no_rows(train), sender, (key, key), which)
