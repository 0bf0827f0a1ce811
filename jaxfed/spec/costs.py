"""The costs of an algorithm: bytes that a hospital sends, receives and stores.

They are measured on the program, not quoted from a paper: uploads and states by their shapes; the download is
the part of the server's state that the client's program reads. If only a slice of the model is sent
(HeteroFL), the coordinates of the slice are counted, whose number depends on the hospital; their indices are
not counted, because both sides know them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core import hyperparameters
from jaxfed.core.engine.recipe import Recipe
from jaxfed.core.group_algorithm import GroupAlgorithm, Parts
from jaxfed.core.local import LocalTraining
from jaxfed.core.types import Shard, Upload, Variables
from jaxfed.spec.spec import Spec


@dataclasses.dataclass(frozen=True)
class Costs:
    """Bytes per hospital and round.

    Attributes:
        upload: bytes that the hospital sends, in both exchanges together.
        download: bytes that it receives.
        state: bytes that it stores between rounds.
        model: bytes of the model, for comparison.
    """

    upload: int
    download: int
    state: int
    model: int


def costs_by_hospital(spec: Spec) -> list[Costs]:
    """The costs of a round for each hospital, in the data set's order."""
    data, names = spec.hospitals, list(spec.local_trainings)
    by_group = costs_of_groups(spec.recipe, data.x, data.y, len(data))
    algorithm = hyperparameters.at_round(spec.recipe.algorithm, jnp.zeros((), jnp.int32))
    costs = []
    for c, name in enumerate(spec.group_of):
        g = names.index(name)
        variables = _variables(spec.recipe.locals[g], data.x)
        costs.append(_sliced(hyperparameters.at_hospital(algorithm, c), variables, by_group[g]))
    return costs


def costs_of_groups(recipe: Recipe, x: Any, y: Any, clients: int = 2) -> list[Costs]:
    """The costs of a hospital of each group, on rows shaped like ``x`` and ``y``; nothing is run.

    Numbers that differ between hospitals have the value of the first hospital; a slice of the model counts
    as the whole model.
    """
    recipe = _resolved(recipe)
    return [_costs(recipe, local, x, y, clients) for local in recipe.locals]


def seen_singly(recipe: Recipe, x: Any, y: Any) -> bool:
    """Whether the server sees a part of the uploads hospital by hospital; nothing is run."""
    recipe = _resolved(recipe)
    uploads = [_messages(recipe, local, x, y, 2).upload for local in recipe.locals]
    return bool(jax.tree.leaves([upload.each for upload in uploads]))


def _resolved(recipe: Recipe) -> Recipe:
    """The recipe with the numbers of the first round and the first hospital."""
    return hyperparameters.at_round(hyperparameters.at_hospital(recipe, 0), jnp.zeros((), jnp.int32))


class _Messages(NamedTuple):
    """The shapes of a hospital's part of a round.

    Attributes:
        variables: of the model.
        client: the state of the algorithm in the hospital.
        sent: leaves of the server's state that the hospital's program reads.
        asked: the update of the first exchange; ``()`` without one.
        upload: of the main exchange.
    """

    variables: Any
    client: Any
    sent: list[Any]
    asked: Any
    upload: Upload


def _messages(recipe: Recipe, local: LocalTraining, x: Any, y: Any, clients: int) -> _Messages:
    """The shapes for one hospital; numbers of ``recipe`` are those of a round and a hospital."""
    algorithm, key = recipe.algorithm, jax.eval_shape(lambda: jax.random.key(0))
    x, y = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, _dtype(leaf)), rows) for rows in (x, y)
    )
    count = jax.ShapeDtypeStruct((), jnp.int32)

    def begin(x: Any, key: Any) -> Any:
        variables = local.problem.init(key, jax.tree.map(lambda leaf: leaf[:1], x))
        state, client = algorithm.init(local, variables, key, clients)
        common = algorithm.begin(local, variables, jax.tree.map(lambda leaf: leaf[:1], x), key)
        return variables, Parts(common, state), client

    def act(server: Any, client: Any, x: Any, y: Any, start: Any, size: Any, key: Any) -> Any:
        shard = Shard(x, y, start, size)
        asked = ()
        if algorithm.asks:
            asked = algorithm.ask(local, server, client, shard, key)
            server = Parts(server.common, algorithm.answer(server, asked))
        client = algorithm.decode(local, server, client, shard, key)
        return asked, algorithm.encode(local, server, client, shard, key)[0]

    variables, server, client = jax.eval_shape(begin, x, key)
    sent, (asked, upload) = _sent(act, server, client, x, y, count, count, key)
    if algorithm.asks:
        sent += jax.tree.leaves(asked)  # the answer travels down again
    return _Messages(variables, client, sent, asked, upload)


def _costs(recipe: Recipe, local: LocalTraining, x: Any, y: Any, clients: int) -> Costs:
    seen = _messages(recipe, local, x, y, clients)
    stored = _bytes(seen.client)
    up = 0
    for exchange in [Upload(seen.asked), seen.upload] if recipe.algorithm.asks else [seen.upload]:
        travels = _bytes(exchange)
        for transform in recipe.chain.transforms:
            travels = transform.wire_bytes(exchange, travels)
            stored += _bytes(jax.eval_shape(transform.init, exchange))
        up += recipe.chain.rule.wire_bytes(exchange, travels)
    return Costs(upload=up, download=_bytes(seen.sent), state=stored, model=_bytes(seen.variables))


def _sent(act: Callable[..., Any], server: Any, *rest: Any) -> tuple[list[Any], Any]:
    """The leaves of the server's state that ``act(server, ...)`` uses, and the shapes that it returns."""
    program, out = jax.make_jaxpr(act, return_shape=True)(server, *rest)
    used = {v for equation in program.eqns for v in equation.invars if not hasattr(v, "val")}
    used |= {v for v in program.jaxpr.outvars if not hasattr(v, "val")}
    leaves = jax.tree.leaves(server)
    return [leaf for leaf, v in zip(leaves, program.jaxpr.invars, strict=False) if v in used], out


def _sliced(algorithm: GroupAlgorithm, variables: Variables, whole: Costs) -> Costs:
    """The costs if the algorithm sends only a part of the model, else ``whole``."""
    mask = algorithm.travels(variables)
    if mask is None:
        return whole
    part = sum(int((np.asarray(leaf) != 0).sum()) * leaf.dtype.itemsize for leaf in jax.tree.leaves(mask))
    return dataclasses.replace(whole, upload=part, download=part)


def _variables(local: LocalTraining, x: Any) -> Variables:
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), _dtype(leaf)), x)
    return jax.eval_shape(local.problem.init, jax.eval_shape(lambda: jax.random.key(0)), row)


def _dtype(leaf: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
