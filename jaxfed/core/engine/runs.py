"""The program that trains: it advances whole runs in slots by several rounds and evaluates them in between.

A slot holds a run. The devices are divided into ``Plan.configs`` sets, and every set has ``together`` slots:
one on a CPU, where a run then costs as much as alone, or many under ``vmap`` on a GPU. The number of rounds
of a slot, the rounds after which it is evaluated and whether it starts a new run are traced for each slot. So
the same program can start the next run in a slot, skip a diverged run, or leave the slot unused. A single run
is one slot.

A run has diverged if in some round hospitals took part and no upload could be used, or the server's new state
was refused, or the training loss of an upload that was used is not finite. If its command says so, a run
stops in that round.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.engine.evaluate import Measure, evaluate_on_device
from jaxfed.core.engine.recipe import Plans, RoundInfo
from jaxfed.core.engine.rounds import round_on_device, start_on_device
from jaxfed.core.engine.slots import RUNS, Data, RunInput, Slot, better, choose, none_yet, specs_of
from jaxfed.core.types import Metrics, State


class SlotCommand(NamedTuple):
    """The command of a slot for a call; ``[W]`` and ``[W, M]`` for W slots and M segments.

    Attributes:
        fresh: bool, start a new run.
        stop: bool, stop if the run diverges.
        rounds: int32, rounds of each segment.
        evaluate: bool, evaluate after the segment.
    """

    fresh: Any
    stop: Any
    rounds: Any
    evaluate: Any


class Results(NamedTuple):
    """The results of a call besides the slots.

    Attributes:
        single: ``name: [W, M, C, splits]`` per evaluated hospital after each segment; NaN after segments
            without evaluation.
        pooled: ``name: [W, M, splits]`` over all rows.
        rounds: ``[W, L, ...]`` the first L rounds of the call; None for L = 0.
    """

    single: Metrics
    pooled: Metrics
    rounds: RoundInfo | None


@partial(
    jax.jit,
    static_argnames=("plans", "evaluation_plans", "together", "measure", "splits", "log", "criterion"),
    donate_argnames=("slots",),
)
def advance(
    inputs: RunInput, slots: Slot, commands: SlotCommand, data: Data, **statics: Any
) -> tuple[Slot, Results]:
    """:func:`advanced` as a compiled program, with results as bits, for :func:`on_host`.

    jax's NaN checks (``jax_debug_nans``) look at the outputs of programs, and the metrics of a hospital
    without rows are NaN by design.
    """
    slots, results = advanced(inputs, slots, commands, data, **statics)
    return slots, jax.tree.map(_bits, results)


def on_host(results: Results) -> Any:
    """:class:`Results` of :func:`advance` as NumPy arrays of numbers."""
    return jax.tree.map(_numbers, jax.device_get(results))


def _bits(leaf: Array) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    leaf = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    return jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}")


def _numbers(leaf: np.ndarray) -> np.ndarray:
    """Unsigned integers are bits; a program has no other unsigned results."""
    return leaf.view(f"f{leaf.dtype.itemsize}") if leaf.dtype.kind == "u" else leaf


def advanced(
    inputs: RunInput,
    slots: Slot,
    commands: SlotCommand,
    data: Data,
    *,
    plans: Plans,
    evaluation_plans: Plans,
    together: int,
    measure: Measure,
    splits: int,
    log: int,
    criterion: tuple[str, int] | None = None,
) -> tuple[Slot, Results]:
    """Advance every slot through its segments.

    Args:
        inputs: the inputs of the run in each slot; a call with changed numbers does not compile again.
        slots: the runs.
        commands: the command of each slot.
        data: the data sets.
        plans, evaluation_plans: static; the layout of the training rows and of the evaluated rows, by group.
        together: static; slots of each set of devices, W = ``plan.configs * together``.
        measure: static; metrics of segments of a flat store.
        splits: static; number of splits in ``data.evaluation``.
        log: static; L, the number of rounds of a call for which ``Results.rounds`` has room.
        criterion: static; the metric and the number of the split by whose pooled value, the less the better,
            ``Slot.best`` is chosen; None if slots have none.
    """

    def run(given: RunInput, slot: Slot, command: SlotCommand, data: Data) -> tuple[Slot, Results]:
        recipe = given.recipe
        train, held = choose(data, given.data)

        def start() -> State:
            return _typed(start_on_device(recipe, plans, train, given.seed), slot.state)

        state = jax.lax.cond(command.fresh, start, lambda: slot.state)
        best = jax.lax.cond(command.fresh, lambda: none_yet(slot.best, state), lambda: slot.best)
        begun = Slot(state, jnp.where(command.fresh, 0, slot.diverged), best)

        @jax.jit  # so that asking for shapes and calling it is one trace
        def step(state: State) -> tuple[State, RoundInfo]:
            return round_on_device(recipe, plans, train, state)

        @jax.jit
        def evaluate(state: State) -> tuple[Metrics, Metrics]:
            return evaluate_on_device(
                recipe, train, held, state, plans=evaluation_plans, measure=measure, splits=splits
            )

        def skip(state: State) -> tuple[Metrics, Metrics]:
            shapes = jax.eval_shape(evaluate, state)
            return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)

        def segment(carry: tuple, command: SlotCommand) -> tuple[tuple, tuple[Metrics, Metrics]]:
            slot, info, done = carry
            best = slot.best
            slot, info, done = _train(
                step, slot._replace(best=None), info, done, command.rounds, command.stop
            )
            evaluated = command.evaluate & ~(command.stop & (slot.diverged > 0))
            measured = jax.lax.cond(evaluated, evaluate, skip, slot.state)
            if criterion is not None:
                metric, split = criterion
                best = better(best, slot.state, measured[1][metric][split])
            return (slot._replace(best=best), info, done), measured

        info = None
        if log:
            shapes = jax.eval_shape(step, state)[1]
            info = jax.tree.map(lambda leaf: jnp.zeros((log, *leaf.shape), leaf.dtype), shapes)
        segments = len(command.rounds)
        each = command._replace(
            fresh=jnp.zeros(segments, bool), stop=jnp.broadcast_to(command.stop, (segments,))
        )
        carry, (single, pooled) = jax.lax.scan(segment, (begun, info, jnp.zeros((), jnp.int32)), each)
        return carry[0], Results(single, pooled, carry[1])

    def on_device(inputs: RunInput, slots: Slot, commands: SlotCommand, data: Data) -> tuple[Slot, Results]:
        if together > 1:
            return jax.vmap(run, in_axes=(0, 0, 0, None))(inputs, slots, commands, data)
        given, slot, command = jax.tree.map(lambda leaf: leaf[0], (inputs, slots, commands))
        return jax.tree.map(lambda leaf: leaf[None], run(given, slot, command, data))

    specs = specs_of(slots)
    return jax.shard_map(
        on_device,
        mesh=plans[0].mesh,
        in_specs=(RUNS, specs, RUNS, data.specs),
        out_specs=(specs, RUNS),
        check_vma=False,
    )(inputs, slots, commands, data)


def _train(
    step: Any, slot: Slot, info: Any, done: Array, count: Array, stop: Array
) -> tuple[Slot, Any, Array]:
    """Train ``count`` rounds, or fewer if the run diverges and has to stop.

    ``done`` is the number of rounds that this call has already trained.
    """

    def proceed(carry: tuple) -> Array:
        return (carry[0] < count) & ~(stop & (carry[1].diverged > 0))

    def body(carry: tuple) -> tuple:
        r, slot, info = carry
        state, seen = step(slot.state)
        first = (slot.diverged == 0) & _diverges(seen)
        if info is not None:
            info = jax.tree.map(lambda rows, row: rows.at[done + r].set(row, mode="drop"), info, seen)
        return r + 1, Slot(state, jnp.where(first, state.round, slot.diverged)), info

    r, slot, info = jax.lax.while_loop(proceed, body, (jnp.zeros((), jnp.int32), slot, info))
    return slot, info, done + r


def _typed(state: State, like: State) -> State:
    """A state with the dtypes of a slot, which are those of the state from which its run started."""
    return jax.tree.map(
        lambda leaf, other: leaf if leaf.dtype == other.dtype else leaf.astype(other.dtype), state, like
    )


def _diverges(info: RoundInfo) -> Array:
    """Whether a run diverges in this round."""
    used = info.present & ~info.rejected
    loss = info.clients.get("loss")
    spoiled = jnp.zeros((), bool) if loss is None else (used & ~jnp.isfinite(loss)).any()
    return info.refused | (info.present.any() & ~used.any()) | spoiled
