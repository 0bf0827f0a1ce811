"""What an algorithm costs: bytes that leave a hospital, bytes it is sent, bytes it keeps.

Read off the program and not off a paper: uploads and states by their shapes; what is sent down are those
parts of the server's state that the hospital's program uses. Of a slice of the model (HeteroFL) the
coordinates of the slice are counted, whose size depends on the hospital; which they are, both sides know.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core import hyperparameters as values
from jaxfed.core.engine.groups import GroupRecipe
from jaxfed.core.engine.rounds import Recipe
from jaxfed.core.group_algorithm import MixedAlgorithm, Parts
from jaxfed.core.local import LocalTraining
from jaxfed.core.types import Algorithm, Shard, Variables
from jaxfed.spec.spec import Spec


@dataclasses.dataclass(frozen=True)
class Costs:
    """Bytes per hospital and round; ``state`` is kept by the hospital between rounds.

    Attributes:
        upload: what leaves the hospital, both exchanges together.
        download: what it is sent.
        state: what it keeps.
        model: the model itself, for scale.
    """

    upload: int
    download: int
    state: int
    model: int


def costs_by_hospital(spec: Spec) -> list[Costs]:
    """The costs of each hospital of a specification, in the data set's order."""
    data = spec.hospitals
    if not isinstance(spec.algorithm, MixedAlgorithm):
        return costs_of_hospitals(spec.recipe, data.x, data.y, len(data))
    by_group = dict(zip(spec.local_trainings, costs_of_groups(spec.recipe, data.x, data.y), strict=True))
    return [by_group[name] for name in spec.group_of]


def costs_of_hospitals(recipe: Recipe, x: Any, y: Any, hospitals: int) -> list[Costs]:
    """The costs of each hospital, in the order of the recipe's per-hospital numbers."""
    one = costs(recipe, x, y, hospitals)
    variables = _variables(recipe, x)
    own = [values.of_hospital(recipe.algorithm, c) for c in range(hospitals)]
    return [_sliced(algorithm, variables, one) for algorithm in own]


def costs(recipe: Recipe, x: Any, y: Any, places: int = 2) -> Costs:
    """The costs of a recipe on rows shaped like ``x [n, ...]`` and ``y [n, ...]``; nothing is run.

    Of numbers that differ between hospitals the first one's count, see :func:`costs_of_hospitals`.
    """
    recipe = values.at_round(values.of_hospital(recipe, 0), jnp.zeros((), jnp.int32))
    algorithm, local = recipe.algorithm, recipe.local
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = _variables(recipe, x)
    x, y = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, _dtype(leaf)), rows) for rows in (x, y)
    )
    server, client = jax.eval_shape(lambda v, k: algorithm.init(v, k, places), variables, key)
    count = jax.ShapeDtypeStruct((), jnp.int32)

    def act(server: Any, client: Any, x: Any, y: Any, start: Any, size: Any, key: Any) -> Any:
        shard = Shard(x, y, start, size)
        asked = ()
        if algorithm.asks:
            asked = algorithm.ask(local, server, client, shard, key)
            server = algorithm.answer(server, asked)
        return asked, algorithm.client_update(local, server, client, shard, key)[0]

    sent, out = _sent(act, server, client, x, y, count, count, key)
    if algorithm.asks:
        sent += jax.tree.leaves(out[0])  # the answer travels down again
    found = Costs(upload=_bytes(out), download=_bytes(sent), state=_bytes(client), model=_bytes(variables))
    return _sliced(algorithm, variables, found)


def costs_of_groups(recipe: GroupRecipe, x: Any, y: Any) -> list[Costs]:
    """The costs of a hospital of each group, on rows shaped like ``x`` and ``y``; nothing is run."""
    recipe = values.at_round(values.of_hospital(recipe, 0), jnp.zeros((), jnp.int32))
    algorithm, key = recipe.algorithm, jax.eval_shape(lambda: jax.random.key(0))
    x, y = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, _dtype(leaf)), rows) for rows in (x, y)
    )
    count, found = jax.ShapeDtypeStruct((), jnp.int32), []
    for local in recipe.locals:

        def begin(x: Any, key: Any, local: LocalTraining = local) -> Any:
            variables = local.problem.init(key, x)
            own, client = algorithm.init(local, variables, key, 2)
            return variables, Parts(algorithm.begin(local, variables, x, key), own), client

        def act(
            server: Any, client: Any, x: Any, y: Any, start: Any, size: Any, key: Any, local: Any = local
        ) -> Any:
            shard = Shard(x, y, start, size)
            client = algorithm.decode(local, server, client, shard, key)
            return algorithm.encode(local, server, client, shard, key)[0]

        variables, server, client = jax.eval_shape(begin, x, key)
        sent, out = _sent(act, server, client, x, y, count, count, key)
        found.append(Costs(_bytes(out), _bytes(sent), _bytes(client), _bytes(variables)))
    return found


def _sent(act: Callable[..., Any], server: Any, *rest: Any) -> tuple[list[Any], Any]:
    """Those leaves of the server's state that ``act(server, ...)`` uses, and what it returns."""
    program, out = jax.make_jaxpr(act, return_shape=True)(server, *rest)
    used = {v for equation in program.eqns for v in equation.invars if not hasattr(v, "val")}
    used |= {v for v in program.jaxpr.outvars if not hasattr(v, "val")}
    leaves = jax.tree.leaves(server)
    return [leaf for leaf, v in zip(leaves, program.jaxpr.invars, strict=False) if v in used], out


def _sliced(algorithm: Algorithm, variables: Variables, whole: Costs) -> Costs:
    """The costs where only a part of the model travels."""
    algorithm = values.at_round(algorithm, jnp.zeros((), jnp.int32))
    mask = algorithm.travels(variables)
    if mask is None:
        return whole
    part = sum(int((np.asarray(leaf) != 0).sum()) * leaf.dtype.itemsize for leaf in jax.tree.leaves(mask))
    return dataclasses.replace(whole, upload=part, download=part)


def _variables(recipe: Recipe, x: Any) -> Variables:
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), _dtype(leaf)), x)
    return jax.eval_shape(recipe.local.problem.init, jax.eval_shape(lambda: jax.random.key(0)), one)


def _dtype(leaf: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
