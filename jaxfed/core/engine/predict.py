"""The program that predicts: outputs for the evaluated rows of the models that hospitals deploy."""

from __future__ import annotations

from functools import partial

import jax
from jax import Array
from jax.sharding import PartitionSpec

from jaxfed.core.engine.evaluate import outputs_on_device
from jaxfed.core.engine.recipe import Plans
from jaxfed.core.engine.slots import RUNS, STATE, Data, RunInput, choose
from jaxfed.core.layout.plan import DEVICES
from jaxfed.core.types import State


@partial(jax.jit, static_argnames=("plans", "splits"))
def outputs(
    inputs: RunInput, state: State, data: Data, *, plans: Plans, splits: int
) -> list[tuple[Array, Array]]:
    """Outputs ``[D * N, ...]`` for each group, and ``[D * N]`` whether metrics contain the row.

    Args:
        inputs: those of a single run, with an axis of length 1 over slots.
        state: its state, with that axis too.
        data: its data set.
        plans: static; the layout of ``data.evaluation``, of each group.
        splits: static; number of splits in ``data.evaluation``.
    """

    def on_device(inputs: RunInput, state: State, data: Data) -> list[tuple[Array, Array]]:
        given, state = jax.tree.map(lambda leaf: leaf[0], (inputs, state))
        train, held = choose(data, given.data)
        return outputs_on_device(given.recipe, train, held, state, plans=plans, splits=splits)

    return jax.shard_map(
        on_device,
        mesh=plans[0].mesh,
        in_specs=(RUNS, STATE, data.specs),
        out_specs=PartitionSpec(DEVICES),
        check_vma=False,
    )(inputs, state, data)
