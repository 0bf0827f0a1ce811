"""Every hospital's model on its held-out rows, and metrics of each hospital, under jit.

A shared model passes over the flat store once, without a client axis; personal models run hospital by
hospital in the blocks of the plan. Metrics are reductions over segments of the flat store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import hyperparameters as values
from jaxfed.core import keys
from jaxfed.core.engine.exchange import shard, side_by_side
from jaxfed.core.engine.rounds import COPIED, SHARDED, STATE, Recipe
from jaxfed.core.layout.plan import DEVICES, Federation, HeldOut, Plan
from jaxfed.core.local import LocalTraining
from jaxfed.core.task import Task
from jaxfed.core.types import Metrics, PyTree, State, Variables

# (outputs [N, ...], losses [N], y [N, ...], segment [N], segments) -> name: [segments]
Measure = Callable[[Array, Array, Array, Array, int], Metrics]


@partial(jax.jit, static_argnames=("plan", "measure", "splits"))
def evaluate(
    recipe: Recipe,
    plan: Plan,
    federation: Federation,
    held: HeldOut,
    state: State,
    *,
    measure: Measure,
    splits: int,
) -> tuple[Metrics, Metrics]:
    """Metrics of each hospital and of all rows together.

    Args:
        recipe: gives the model and says what each hospital would deploy.
        plan: static; the layout of ``held``.
        federation: the training rows, for algorithms that adapt the model before it is used.
        held: the rows to predict, laid out like ``federation`` where models are personal.
        state: not donated.
        measure: static; metrics of segments of a flat store.
        splits: static; number of splits in ``held``.

    Returns:
        ``name: [D * S, splits]`` per hospital, and ``name: [splits]`` over all rows.
    """

    return jax.shard_map(
        lambda *arguments: evaluate_on_device(*arguments, plan=plan, measure=measure, splits=splits),
        mesh=plan.mesh,
        in_specs=(COPIED, COPIED, SHARDED, STATE),
        out_specs=(SHARDED, COPIED),
        check_vma=False,
    )(recipe, federation, held, state)


def evaluate_on_device(
    recipe: Recipe,
    federation: Federation,
    held: HeldOut,
    state: State,
    *,
    plan: Plan,
    measure: Measure,
    splits: int,
) -> tuple[Metrics, Metrics]:
    """As :func:`evaluate`, inside a ``shard_map`` with the axis ``DEVICES``; per hospital ``[S, splits]``."""
    recipe = values.at_round(recipe, state.round)
    said = outputs(recipe, plan, federation, held, state)
    (single,), pooled = measured((said,), (plan,), (held,), recipe.local.problem.task, measure, splits)
    return single, pooled


def measured(
    said: tuple[Array, ...],
    plans: tuple[Plan, ...],
    helds: tuple[HeldOut, ...],
    task: Task,
    measure: Measure,
    splits: int,
) -> tuple[tuple[Metrics, ...], Metrics]:
    """Metrics ``[S, splits]`` of this device's hospitals, group by group, and ``[splits]`` of all rows."""
    single, rows = [], []
    for outputs, plan, held in zip(said, plans, helds, strict=True):
        segments = plan.slots * splits
        inside = held.segment < segments
        losses = task.losses(outputs, held.rows.y, inside)  # also where training has another
        found = measure(outputs, losses, held.rows.y, held.segment, segments)
        single.append({name: value.reshape(plan.slots, splits) for name, value in found.items()})
        split = jnp.where(inside, held.segment % splits, splits)
        rows.append((outputs, losses, held.rows.y, split))
    together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)
    outputs, losses, y, split = jax.lax.all_gather(together, DEVICES, tiled=True)
    return tuple(single), measure(outputs, losses, y, split, splits)


class Deployed(Protocol):
    """What says which model a hospital uses: a recipe, or that of one group."""

    @property
    def algorithm(self) -> Any: ...  # noqa: D102

    @property
    def local(self) -> LocalTraining: ...  # noqa: D102


def outputs(recipe: Deployed, plan: Plan, federation: Federation, held: HeldOut, state: State) -> Array:
    """``[N, ...]``: what the model that each hospital would deploy says of its rows."""
    if recipe.algorithm.personal:
        return _personal(recipe, plan, federation, held, state)
    one = jax.tree.map(lambda leaf: leaf[0], state.clients)
    return _flat(recipe, held, recipe.algorithm.variables(state.server, one))


def _flat(recipe: Deployed, held: HeldOut, variables: Variables) -> Array:
    """One model over all rows, some at a time; the last chunk overlaps the one before."""
    x, total = held.rows.x, len(held.rows.y)
    # thousands of rows of a table, tens of images: what a model makes of a row grows with it
    numbers = sum(leaf[0].size for leaf in jax.tree.leaves(x))
    chunk = min(total, max(16, min(4096, 2**16 // max(numbers, 1))))
    predict = partial(recipe.local.problem.predict, variables)
    one = jax.eval_shape(predict, jax.tree.map(lambda leaf: leaf[:chunk], x))

    def body(c: Array, outputs: Array) -> Array:
        first = jnp.minimum(c * chunk, total - chunk)
        rows = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, chunk), x)
        return jax.lax.dynamic_update_slice_in_dim(outputs, predict(rows), first, 0)

    empty = jnp.zeros((total, *one.shape[1:]), one.dtype)
    return jax.lax.fori_loop(0, -(-total // chunk), body, empty)


def _personal(recipe: Deployed, plan: Plan, federation: Federation, held: HeldOut, state: State) -> Array:
    """Each hospital's own model over its own rows, in the blocks of the plan."""
    mine = jax.lax.axis_index(DEVICES) * plan.slots
    round_key = keys.at_round(state.key, keys.ADAPT, state.round)
    problem, rows = recipe.local.problem, held.rows
    total, chunk = len(rows.y), min(problem.chunk, len(rows.y))

    def own(place: Array, client: PyTree, block: str | None) -> Variables:
        algorithm, local = values.of_hospital((recipe.algorithm, recipe.local), place)
        variables = algorithm.variables(state.server, client)
        if not algorithm.adapts:
            return variables
        rows = shard(federation.train, place, jnp.ones((), bool), block)
        return algorithm.adapt(local, variables, rows, keys.of_client(round_key, federation.words[place]))

    def block(j: Array, outputs: Array) -> Array:
        slots = j * plan.block + jnp.arange(plan.block)
        start, size = rows.start[slots][:, None], rows.size[slots][:, None]
        clients = jax.tree.map(lambda leaf: leaf[slots], state.clients)
        models = side_by_side(own, mine + slots, clients, plan)

        def part(c: Array, outputs: Array) -> Array:
            index = c * chunk + jnp.arange(chunk)
            place = jnp.where(index < size, start + index, total)
            x = jax.tree.map(lambda leaf: leaf.at[place].get(mode="clip"), rows.x)
            return outputs.at[place].set(jax.vmap(problem.predict)(models, x), mode="drop")

        return jax.lax.fori_loop(0, -(-size.max() // chunk), part, outputs)

    client = jax.tree.map(lambda leaf: leaf[0], state.clients)
    x = jax.tree.map(lambda leaf: leaf[:chunk], rows.x)
    zero = jnp.zeros((), jnp.int32)
    one = jax.eval_shape(lambda client: problem.predict(own(zero, client, None), x), client)
    empty = jnp.zeros((total, *one.shape[1:]), one.dtype)
    return jax.lax.fori_loop(0, plan.slots // plan.block, block, empty)
