"""Evaluation of every hospital's model on its held-out rows, with metrics of each hospital, under jit.

A shared model is applied to all rows of the flat store, without a client axis; personal models run hospital
by hospital in the blocks of the plan. Metrics are reductions over segments of the flat store.

A hospital without training rows that would deploy parameters of its own has only their initial values, so
its rows count as padding: its metrics are NaN, and no mean or pooled metric contains its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import hyperparameters, keys
from jaxfed.core.engine.exchange import side_by_side
from jaxfed.core.engine.recipe import ClientState, Plans, Recipe
from jaxfed.core.group_algorithm import Parts
from jaxfed.core.layout.plan import DEVICES, Plan
from jaxfed.core.layout.store import EvaluationData, TrainingData
from jaxfed.core.local import LocalTraining
from jaxfed.core.nn.jaxprs import depends
from jaxfed.core.types import Metrics, PyTree, Shard, State, Variables

# (outputs [N, ...], losses [N], y [N, ...], segment [N], segments) -> name: [segments]
Measure = Callable[[Array, Array, Array, Array, int], Metrics]


def evaluate_on_device(
    recipe: Recipe,
    data: tuple[TrainingData, ...],
    evaluation: tuple[EvaluationData, ...],
    state: State,
    *,
    plans: Plans,
    measure: Measure,
    splits: int,
) -> tuple[Metrics, Metrics]:
    """Metrics of each hospital and of all rows together, inside a ``shard_map`` with the axis ``DEVICES``.

    Args:
        recipe: gives the model and determines what each hospital deploys.
        data: the training rows, for algorithms that adapt the model before it is used.
        evaluation: the rows to predict, laid out like ``data`` if models are personal.
        state: after a round.
        plans: static; the layout of ``evaluation``, of each group.
        measure: static; metrics of segments of a flat store.
        splits: static; number of splits in ``evaluation``.

    Returns:
        ``name: [C, splits]`` per evaluated hospital, and ``name: [splits]`` over all rows; the same on every
        device.
    """
    recipe, data = hyperparameters.after_rounds(recipe, state.round), recipe.training(data)
    single: Metrics = {}
    rows = []
    for g, (plan, local, held) in enumerate(zip(plans, recipe.locals, evaluation, strict=True)):
        predicted = _outputs(recipe, g, plan, local, data[g], held, state)
        segments = plan.slots * splits
        segment = _counted(recipe, g, plan, data[g], held, state, splits)
        # the loss of the task, even if training has another one
        losses = local.problem.task.losses_within(predicted, held.rows.y, segment, segments)
        values = measure(predicted, losses, held.rows.y, segment, segments)
        for name, value in values.items():
            scattered = jnp.zeros((plan.clients, splits), value.dtype)
            scattered = scattered.at[held.hospital].set(value.reshape(plan.slots, splits), mode="drop")
            single[name] = single.get(name, 0) + scattered
        split = jnp.where(segment < segments, segment % splits, splits)
        rows.append((predicted, losses, held.rows.y, split))
    together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)
    outputs, losses, y, split = jax.lax.all_gather(together, DEVICES, tiled=True)
    return jax.lax.psum(single, DEVICES), measure(outputs, losses, y, split, splits)


def outputs_on_device(
    recipe: Recipe,
    data: tuple[TrainingData, ...],
    evaluation: tuple[EvaluationData, ...],
    state: State,
    *,
    plans: Plans,
    splits: int,
) -> list[tuple[Array, Array]]:
    """For each group, ``[N, ...]`` outputs for a device's rows, and ``[N]`` whether metrics contain the row.

    The arguments are those of :func:`evaluate_on_device`.
    """
    recipe, data = hyperparameters.after_rounds(recipe, state.round), recipe.training(data)
    return [
        (
            _outputs(recipe, g, plan, local, data[g], held, state),
            _counted(recipe, g, plan, data[g], held, state, splits) < plan.slots * splits,
        )
        for g, (plan, local, held) in enumerate(zip(plans, recipe.locals, evaluation, strict=True))
    ]


def _counted(
    recipe: Recipe, g: int, plan: Plan, data: TrainingData, held: EvaluationData, state: State, splits: int
) -> Array:
    """``[N]`` the segment of each row, ``plan.slots * splits`` for rows that no metric contains."""
    if not (recipe.algorithm.personal and _deploys_its_own(recipe, g, state)):
        return held.segment
    places = jax.lax.axis_index(DEVICES) * plan.slots + held.segment // splits
    trained = data.train.size.at[places].get(mode="clip") > 0
    return jnp.where(trained, held.segment, plan.slots * splits)


def _deploys_its_own(recipe: Recipe, g: int, state: State) -> bool:
    """Whether a hospital's model contains parameters that the hospital keeps, not only a choice of some."""
    server = Parts(state.server.common, state.server.group[g])
    client = jax.tree.map(lambda leaf: leaf[0], state.clients[g].algorithm)
    algorithm = hyperparameters.at_hospital(recipe.algorithm, 0)
    jaxpr = jax.make_jaxpr(lambda client: jax.tree.leaves(algorithm.variables(server, client)))(client).jaxpr
    own = [v for v in jaxpr.invars if jnp.issubdtype(v.aval.dtype, jnp.inexact)]
    return depends(jaxpr, own)


def _outputs(
    recipe: Recipe,
    g: int,
    plan: Plan,
    local: LocalTraining,
    data: TrainingData,
    held: EvaluationData,
    state: State,
) -> Array:
    """``[N, ...]``: outputs of the models that a group's hospitals deploy, for the group's rows."""
    server = Parts(state.server.common, state.server.group[g])
    if recipe.algorithm.personal:
        return _personal(recipe, plan, local, data, held, server, state.clients[g], state)
    client: ClientState = jax.tree.map(lambda leaf: leaf[0], state.clients[g])
    return _flat(local, held, recipe.algorithm.variables(server, client.algorithm))


def _flat(local: LocalTraining, held: EvaluationData, variables: Variables) -> Array:
    """Apply a model to all rows in chunks; the last chunk overlaps the previous one."""
    x, total = held.rows.x, len(held.rows.y)
    # chunks have fewer rows if a row is large, because a model's activations grow with the row
    numbers = sum(leaf[0].size for leaf in jax.tree.leaves(x))
    chunk = min(total, max(16, min(4096, 2**16 // max(numbers, 1))))
    predict = partial(local.problem.predict, variables)
    shape = jax.eval_shape(predict, jax.tree.map(lambda leaf: leaf[:chunk], x))

    def body(c: Array, outputs: Array) -> Array:
        first = jnp.minimum(c * chunk, total - chunk)
        rows = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, chunk), x)
        return jax.lax.dynamic_update_slice_in_dim(outputs, predict(rows), first, 0)

    empty = jnp.zeros((total, *shape.shape[1:]), shape.dtype)
    return jax.lax.fori_loop(0, -(-total // chunk), body, empty)


def _personal(
    recipe: Recipe,
    plan: Plan,
    local: LocalTraining,
    data: TrainingData,
    held: EvaluationData,
    server: Parts,
    clients: PyTree,
    state: State,
) -> Array:
    """Apply each hospital's model to its rows, in the blocks of the plan."""
    first = jax.lax.axis_index(DEVICES) * plan.slots
    round_key = keys.at_round(state.key, keys.ADAPT, state.round)
    problem, rows = local.problem, held.rows
    total, chunk = len(rows.y), min(problem.chunk, len(rows.y))

    def deployed(place: Array, client: ClientState, block: str | None) -> Variables:
        number = jnp.minimum(data.hospital[place], plan.clients - 1)
        algorithm, training = hyperparameters.at_hospital((recipe.algorithm, local), number)
        variables = algorithm.variables(server, client.algorithm)
        if not algorithm.adapts:
            return variables
        train = data.train
        shard = Shard(train.x, train.y, train.start[place], train.size[place], block, number)
        return algorithm.adapt(
            training, variables, shard, keys.client_key(round_key, data.client_ids[number])
        )

    def block(j: Array, outputs: Array) -> Array:
        slots = j * plan.block + jnp.arange(plan.block)
        start, size = rows.start[slots][:, None], rows.size[slots][:, None]
        states = jax.tree.map(lambda leaf: leaf[slots], clients)
        models = side_by_side(deployed, plan, first + slots, states)

        def part(c: Array, outputs: Array) -> Array:
            index = c * chunk + jnp.arange(chunk)
            place = jnp.where(index < size, start + index, total)
            x = jax.tree.map(lambda leaf: leaf.at[place].get(mode="clip"), rows.x)
            return outputs.at[place].set(jax.vmap(problem.predict)(models, x), mode="drop")

        return jax.lax.fori_loop(0, -(-size.max() // chunk), part, outputs)

    client = jax.tree.map(lambda leaf: leaf[0], clients)
    x = jax.tree.map(lambda leaf: leaf[:chunk], rows.x)
    zero = jnp.zeros((), jnp.int32)
    shape = jax.eval_shape(lambda client: problem.predict(deployed(zero, client, None), x), client)
    empty = jnp.zeros((total, *shape.shape[1:]), shape.dtype)
    return jax.lax.fori_loop(0, plan.slots // plan.block, block, empty)
