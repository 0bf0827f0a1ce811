"""Whole runs in slots: one program that takes some configurations some rounds further.

A slot holds one run. The devices are cut into ``Plan.configs`` groups, and every group has ``together``
slots: one on a CPU, where a run then costs what it costs alone, or many under ``vmap`` on a GPU. How many
rounds a slot goes, where it is evaluated and whether it starts anew is traced, slot by slot: so the same
program fills a slot with the next configuration, lets a dead one rest and leaves a slot empty.

A run is dead when in some round hospitals took part and no upload could be used, or the server's new state
was refused, or the training loss of an upload that was used is not finite. It stays as it is from then on.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from jaxfed.core.engine import rounds as engine
from jaxfed.core.engine.evaluate import Measure, evaluate_on_device
from jaxfed.core.engine.rounds import Log, Recipe, round_on_device, start_on_device
from jaxfed.core.layout.plan import CONFIGS, DEVICES, Federation, HeldOut, Plan
from jaxfed.core.types import Metrics, State

RUNS = PartitionSpec(CONFIGS)
RUNS_OF_PLACES = PartitionSpec(CONFIGS, DEVICES)
LOOKS_OF_PLACES = PartitionSpec(CONFIGS, None, DEVICES)
STACKED, COPIED = PartitionSpec(None, DEVICES), PartitionSpec()


class Configuration(NamedTuple):
    """What a run is a function of; ``[W, ...]`` for W slots.

    Attributes:
        recipe: what is done in a round, per-hospital numbers laid out.
        seed: integer.
        data: int32, the number of its data set.
    """

    recipe: Recipe
    seed: Array | int
    data: Array | int


class Slot(NamedTuple):
    """A run on its way; ``[W, ...]`` for W slots.

    Attributes:
        state: of the run.
        died: int32, rounds done when it died; 0 while it lives.
    """

    state: State
    died: Array


class Order(NamedTuple):
    """What a slot does in a call; ``[W]`` and ``[W, M]`` for W slots and M legs.

    Attributes:
        fresh: bool, start anew.
        rounds: int32, rounds of each leg.
        look: bool, evaluate after the leg.
    """

    fresh: Any
    rounds: Any
    look: Any


class Data(NamedTuple):
    """V data sets of equal shapes; every leaf has that axis in front.

    Attributes:
        federation: the training rows.
        held: the rows to evaluate on.
    """

    federation: Federation
    held: HeldOut


DATA = Data(federation=COPIED, held=STACKED)  # type: ignore[arg-type]
SLOT = Slot(State(RUNS, RUNS, RUNS, RUNS_OF_PLACES), RUNS)  # type: ignore[arg-type]


@partial(
    jax.jit,
    static_argnames=("plan", "held_plan", "together", "measure", "splits"),
    donate_argnames=("slots",),
)
def advance(
    configurations: Configuration,
    slots: Slot,
    orders: Order,
    data: Data,
    *,
    plan: Plan,
    held_plan: Plan,
    together: int,
    measure: Measure,
    splits: int,
) -> tuple[Slot, Metrics, Metrics]:
    """Take every slot through its legs.

    Args:
        configurations: what runs in each slot; changed numbers do not compile again.
        slots: donated.
        orders: what each slot does.
        data: the data sets.
        plan, held_plan: static; the layout of the training rows, and of those to evaluate on.
        together: static; slots of each group of devices, W = ``plan.configs * together``.
        measure: static; metrics of segments of a flat store.
        splits: static; number of splits in ``data.held``.

    Returns:
        The new slots; ``name: [W, M, D * S, splits]`` per hospital and ``name: [W, M, splits]`` over all
        rows after each leg, NaN where nobody looked or the run is dead.
    """

    def run(configuration: Configuration, slot: Slot, order: Order, data: Data) -> tuple:
        recipe = configuration.recipe
        federation, held = _choose(data, configuration.data)
        state = jax.lax.cond(
            order.fresh,
            lambda: start_on_device(recipe, plan, federation, configuration.seed),
            lambda: slot.state,
        )
        begun = Slot(state, jnp.where(order.fresh, 0, slot.died))

        def look(state: State) -> tuple[Metrics, Metrics]:
            return evaluate_on_device(
                recipe, federation, held, state, plan=held_plan, measure=measure, splits=splits
            )

        def nothing(state: State) -> tuple[Metrics, Metrics]:
            found = jax.eval_shape(look, state)
            return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), found)

        def leg(slot: Slot, order: tuple[Array, Array]) -> tuple[Slot, tuple[Metrics, Metrics]]:
            slot = _rounds(recipe, plan, federation, slot, order[0])
            return slot, jax.lax.cond(order[1] & (slot.died == 0), look, nothing, slot.state)

        return jax.lax.scan(leg, begun, (order.rounds, order.look))

    def on_device(configurations: Configuration, slots: Slot, orders: Order, data: Data) -> tuple:
        if together > 1:
            return jax.vmap(run, in_axes=(0, 0, 0, None))(configurations, slots, orders, data)
        configuration, slot, order = jax.tree.map(lambda leaf: leaf[0], (configurations, slots, orders))
        return jax.tree.map(lambda leaf: leaf[None], run(configuration, slot, order, data))

    slots, (single, pooled) = jax.shard_map(
        on_device,
        mesh=plan.mesh,
        in_specs=(RUNS, SLOT, RUNS, DATA),
        out_specs=(SLOT, (LOOKS_OF_PLACES, RUNS)),
        check_vma=False,
    )(configurations, slots, orders, data)
    return slots, single, pooled


def empty(configuration: Configuration, data: Data, *, plan: Plan, together: int) -> Slot:
    """Slots with nothing in them, for configurations shaped like this one."""
    federation = jax.eval_shape(lambda data: _choose(data, 0)[0], data)
    state = jax.eval_shape(
        partial(engine.start, plan=plan), configuration.recipe, federation=federation, seed=0
    )
    one = jax.eval_shape(lambda state: Slot(state, jnp.zeros((), jnp.int32)), state)
    slots = plan.configs * together

    def put(leaf: jax.ShapeDtypeStruct, spec: PartitionSpec) -> Array:
        shape = (slots, *leaf.shape)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            zeros = jnp.broadcast_to(jax.random.key(0), shape)
        else:
            zeros = jnp.zeros(shape, leaf.dtype)
        return jax.device_put(zeros, NamedSharding(plan.mesh, spec))

    specs = jax.tree.broadcast(SLOT, one, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec))
    return jax.tree.map(put, one, specs)


def _rounds(recipe: Recipe, plan: Plan, federation: Federation, slot: Slot, rounds: Array) -> Slot:
    """So many rounds, or until it dies."""

    def goes_on(carry: tuple[Array, Slot]) -> Array:
        return (carry[0] < rounds) & (carry[1].died == 0)

    def body(carry: tuple[Array, Slot]) -> tuple[Array, Slot]:
        state, log = round_on_device(recipe, plan, federation, carry[1].state)
        return carry[0] + 1, Slot(state, jnp.where(_dead(log), state.round, 0))

    return jax.lax.while_loop(goes_on, body, (jnp.zeros((), jnp.int32), slot))[1]


def _dead(log: Log) -> Array:
    """Whether a run ends with this round; the same on all its devices."""
    used = log.present & ~log.rejected
    spoiled = used & ~jnp.isfinite(log.clients["loss"]) if "loss" in log.clients else jnp.zeros_like(used)
    some = [jnp.any(leaf).astype(jnp.int32) for leaf in (log.present, used, spoiled)]
    present, usable, broken = jax.lax.psum(some, DEVICES)
    return log.kept | ((present > 0) & (usable == 0)) | (broken > 0)


def _choose(data: Data, number: Array | int) -> Data:
    """One of the data sets, without their axis; the only one is not copied."""
    one = 0 if len(data.federation.sizes) == 1 else number
    return jax.tree.map(lambda leaf: leaf[one], data)
