"""What a server receives of a hospital in the first round."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxfed.core import hyperparameters, keys
from jaxfed.core.aggregation import Rule, Sender
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.engine.client import MAIN, client_round
from jaxfed.core.engine.recipe import ClientState, Recipe
from jaxfed.core.engine.road import zeros_like
from jaxfed.core.errors import InvalidInput
from jaxfed.core.group_algorithm import Parts
from jaxfed.core.problem import Problem
from jaxfed.core.types import PyTree, Shard, Upload, Variables, Weighted, labels
from jaxfed.core.uploads import Uploads
from jaxfed.spec.spec import ALL, Spec


def initial_variables(spec: Spec, seed: int) -> Variables:
    """The model with which a run with this seed starts."""
    key = keys.purpose(keys.run_key(seed), keys.INIT)
    row = jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), spec.hospitals.x)
    return _init(spec.local_trainings[ALL].problem, key, row)


@jax.jit
def _init(problem: Problem, key: Array, row: Any) -> Variables:
    return problem.init(key, row)


def training_rows(data: Dataset, hospital: str) -> tuple[Any, Any]:
    """``x [n, ...]`` and ``y [n]`` of a hospital's training rows, with weights where rows have some."""
    inside = (data.owner == data.hospitals.index(hospital)) & (data.split == TRAIN)
    return jax.tree.map(lambda leaf: leaf[inside], (data.x, data.target))


def of_mean_one(y: Any, size: Array | int) -> Any:
    """Labels, whose weights of the first ``size`` rows have the mean 1, as a hospital's have in training."""
    if not isinstance(y, Weighted):
        return y
    total = jnp.where(jnp.arange(len(y.weight)) < size, y.weight, 0).sum()
    return Weighted(y.y, y.weight * jnp.where(total > 0, size / jnp.where(total > 0, total, 1), 0))


def received(spec: Spec, variables: Variables, x: Any, y: Any, hospital: int, seed: int) -> PyTree:
    """What the server sees of a hospital that has these rows, as a step downhill (parameters).

    If the aggregator hides single uploads (:class:`jaxfed.privacy.SecureSum`), that is the aggregate with all
    other hospitals, which have their training rows.

    Args:
        spec: the specification.
        variables: the global model.
        x, y: the hospital's rows, some of :func:`training_rows`.
        hospital: its number.
        seed: of the run.

    Raises:
        InvalidInput: the algorithm sends no difference of models and no gradient.
    """
    recipe, data = input_of(spec), spec.hospitals
    rule, ids = recipe.chain.rule, keys.client_ids(data.hospitals)
    sizes = data.counts[:, TRAIN].copy()
    sizes[hospital] = len(labels(y))
    longest = int(sizes.max())  # all have as many rows, so that one program serves all

    def upload(c: int) -> Upload:
        rows = (x, y) if c == hospital else training_rows(data, data.hospitals[c])
        filled = jax.tree.map(lambda leaf: jnp.asarray(_filled(leaf, longest)), rows)
        return upload_of(recipe, variables, *filled, jnp.asarray(sizes[c]), c, ids[c], seed)

    if not (rule.hides and isinstance(rule, Rule)):
        return step_of(spec, upload(hospital).update)
    uploads = [upload(c) for c in range(len(data))]
    unravel = ravel_pytree(uploads[0].update)[1]
    matrix, extras = (
        jnp.stack([ravel_pytree(getattr(one, part))[0] for one in uploads]) for part in ("update", "aux")
    )
    weights = _weights(recipe, variables, jnp.asarray(sizes))
    if isinstance(y, Weighted) and spec.factors is not spec.weights:  # a hospital counts by its rows' weights
        sums = np.asarray(weights, np.float64)
        sums[hospital] *= y.weight.mean()
        weights = jnp.asarray(np.round(sums, 3), weights.dtype)  # whole where the rows' weights are
    matrix = jnp.where(weights[:, None] > 0, matrix, 0)
    key = keys.at_round(keys.run_key(seed), keys.ROAD, jnp.zeros((), jnp.int32))
    aggregate = rule.reduce(Uploads(matrix, extras.astype(matrix.dtype), weights), (), key)[0]
    return step_of(spec, unravel(aggregate.update))


def step_of(spec: Spec, update: PyTree) -> PyTree:
    """The parameters' part of an update."""
    parts = jax.tree.leaves(update, is_leaf=lambda leaf: isinstance(leaf, Variables))
    for part in parts:
        if isinstance(part, Variables):
            return part.params
    raise InvalidInput(
        f"algorithm={type(spec.algorithm).__name__}: its uploads have no step of the model; give FedSGD() or "
        "FedAvg()"
    )


@jax.jit
def upload_of(
    recipe: Recipe,
    variables: Variables,
    x: Any,
    y: Any,
    size: Array,
    hospital: Array | int,
    client_id: Any,
    seed: Array | int,
) -> Upload:
    """One hospital's upload in round 0 after the transforms; it has the first ``size`` of these rows.

    It has the numbers of ``hospital``, such as its step size, and the random draws that belong to
    ``client_id``, see :func:`jaxfed.core.keys.client_ids`.
    """
    algorithm, local = hyperparameters.at_hospital((recipe.algorithm, recipe.locals[0]), hospital)
    run_key = keys.run_key(seed)
    server, client = _begin(algorithm, local, variables, x, run_key)
    zero = jnp.zeros((), jnp.int32)
    key = keys.client_key(keys.at_round(run_key, keys.CLIENT, zero), client_id)
    sends = jax.random.fold_in(keys.at_round(run_key, keys.TRANSFORM, zero), MAIN)
    shard = Shard(x, of_mean_one(y, size), zero, size.astype(jnp.int32), None, hospital)
    client = jax.tree.map(jnp.asarray, client)
    plain = jax.eval_shape(lambda: algorithm.encode(local, server, client, shard, key)[0])
    parts = hyperparameters.at_hospital(recipe.chain.transforms, hospital)
    states = tuple(part.init(zeros_like(plain)) for part in parts)
    sender = Sender(keys.client_key(sends, client_id), zero, jnp.ones(()))
    state = ClientState(client, (states,))
    both = (key, keys.purpose(key, keys.DECODE))
    return client_round(recipe, local, server, state, shard, sender, both, MAIN).received.group


def _begin(algorithm: Any, local: Any, variables: Variables, x: Any, key: Array) -> tuple[Parts, PyTree]:
    server, client = algorithm.init(local, variables, keys.purpose(key, keys.ALGORITHM), 1)
    row = jax.tree.map(lambda leaf: leaf[:1], x)
    return Parts(algorithm.begin(local, variables, row, keys.purpose(key, keys.INIT)), server), client


def _weights(recipe: Recipe, variables: Variables, sizes: Array) -> Array:
    algorithm, local = hyperparameters.at_hospital((recipe.algorithm, recipe.locals[0]), 0)
    server, _ = algorithm.init(local, variables, keys.run_key(0), len(sizes))
    weights = algorithm.weights(Parts((), server), sizes).group
    factors = 1 if recipe.weights is None else hyperparameters.at_hospital(recipe.weights, ...)
    return jnp.where(sizes > 0, weights * factors, 0).astype(jnp.result_type(float))


def input_of(spec: Spec) -> Recipe:
    """The recipe of the first round with numbers for all hospitals, as :func:`upload_of` takes it."""
    recipe = hyperparameters.padded(spec.recipe, len(spec.hospitals))
    return hyperparameters.at_round(recipe, jnp.zeros((), jnp.int32))


def _filled(leaf: np.ndarray, rows: int) -> np.ndarray:
    """The array with rows of zeros at its end."""
    return np.concatenate([leaf, np.zeros((rows - len(leaf), *leaf.shape[1:]), leaf.dtype)])
