"""The loop of a sweep: configurations pass through the slots of one program, group after group.

A slot whose run is done or dead gets the next configuration in the next call, so that no device waits for
another's. Between two calls, :class:`Progress` is all there is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core.engine import runs as slots
from jaxfed.core.types import State
from jaxfed.runtime.timings import Clock
from jaxfed.sweep.programs import Group
from jaxfed.sweep.record import Record

LEGS = 8  # evaluations of a slot in one call, at most
SECONDS = 0.5  # of a call: a live bar, and an interrupt that is heard soon


@dataclasses.dataclass(eq=False)
class Progress:
    """A sweep on its way: arrays and numbers, nothing else.

    Attributes:
        record: what was seen.
        racing: ``[K]`` bool, still in the race.
        rung: number of the rung.
        group: number of the group whose configurations are in the slots.
        holding: ``[W]`` number of the configuration in each slot, -1 for none.
        slots: their runs; None before the group's first call in this rung.
        parked: states of runs that wait for the next rung, by number of the configuration.
    """

    record: Record
    racing: np.ndarray
    rung: int = 0
    group: int = 0
    holding: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    slots: slots.Slot | None = None
    parked: dict[int, State] = dataclasses.field(default_factory=dict)


class Lane:
    """One group on its way to a number of rounds.

    Args:
        group: the configurations of one program.
        progress: of the whole sweep; changed in place.
        chosen: numbers of the configurations that go on.
        until: rounds that they are to have done.
        park: whether their states are needed later.
        clock: where seconds are noted.
    """

    def __init__(
        self, group: Group, progress: Progress, chosen: Iterable[int], until: int, park: bool, clock: Clock
    ) -> None:
        self.group, self.progress, self.until, self.park, self.clock = group, progress, until, park, clock
        if progress.slots is None:
            progress.holding, progress.slots = np.full(group.width, -1), group.empty()
        held = progress.holding.tolist()
        self.todo = [k for k in chosen if k not in held and not self._finished(k)]
        self.pace = 0.0  # work of a call
        self.calls = 0
        self.inputs: slots.Configuration | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.todo and bool((self.progress.holding < 0).all())

    def call(self) -> None:
        """One call of the program."""
        progress, record = self.progress, self.progress.record
        fresh = self._fill()
        orders, marks = self.orders(fresh)
        began = time.perf_counter()
        progress.slots, single, pooled = self._advance(orders)
        died, rounds = np.asarray(progress.slots.died), np.asarray(progress.slots.state.round)
        self._keep_pace(orders, time.perf_counter() - began)
        for w, k in enumerate(progress.holding.tolist()):
            if k < 0:
                continue
            record.done[k], record.died[k] = rounds[w], died[w]
            for leg, mark in enumerate(marks[w]):
                if not died[w] or record.marks[mark] < died[w]:
                    seen = jax.tree.map(lambda leaf: leaf[w, leg], (single, pooled))  # noqa: B023
                    record.measured(k, mark, *self.group.by_hospital(k, *seen))
            if self._finished(k):
                progress.holding[w] = -1
                if self.park and not died[w]:
                    progress.parked[k] = jax.tree.map(lambda leaf: leaf[w], progress.slots.state)  # noqa: B023

    def _advance(self, orders: slots.Order) -> tuple[slots.Slot, Any, Any]:
        layout, spec = self.group.layout, self.group.spec
        assert self.inputs is not None
        new, single, pooled = slots.advance(
            self.inputs,
            self.progress.slots,
            self.group.put(orders),
            layout.data,
            plan=layout.plan,
            held_plan=layout.held_plan,
            together=self.group.together,
            measure=spec.measure,
            splits=len(spec.splits),
        )
        return new, *jax.tree.map(np.asarray, (single, pooled))

    def _finished(self, k: int) -> bool:
        record = self.progress.record
        return bool(record.died[k]) or bool(record.done[k] >= self.until)

    def _fill(self) -> np.ndarray:
        """Put configurations into free slots; ``[W]`` which of them start anew."""
        progress, group = self.progress, self.group
        fresh = np.zeros(group.width, bool)
        free = np.flatnonzero(progress.holding < 0)[: len(self.todo)]
        for w in free:
            progress.holding[w] = k = self.todo.pop(0)
            fresh[w] = k not in progress.parked
            if not fresh[w]:
                self._unpark(w, progress.parked.pop(k))
        if len(free) or self.inputs is None:
            here = progress.holding.tolist()
            some = max(here)  # an empty slot has the numbers of a full one, and does nothing
            self.inputs = group.configurations([k if k >= 0 else some for k in here])
        return fresh

    def _unpark(self, w: int, state: State) -> None:
        """A run goes on where it stopped."""
        before = self.progress.slots
        assert before is not None
        parked = slots.Slot(state, jnp.zeros((), jnp.int32))
        self.progress.slots = jax.tree.map(
            lambda leaf, new: jax.device_put(leaf.at[w].set(new), leaf.sharding), before, parked
        )

    def orders(self, fresh: np.ndarray) -> tuple[slots.Order, list[list[int]]]:
        """What each slot does, and the evaluation after each of its legs."""
        record, here = self.progress.record, self.progress.holding.tolist()
        legs = min(LEGS, len(record.marks))
        rounds, look = np.zeros((len(here), legs), np.int32), np.zeros((len(here), legs), bool)
        marks: list[list[int]] = [[] for _ in here]
        for w, k in enumerate(here):
            if k < 0:
                continue
            done = int(record.done[k])  # -1 before the first evaluation, which is that of round 0
            mark = int(np.searchsorted(record.marks, done, side="right"))
            done, left = max(done, 0), max(1, int(self.pace / self.group.work(k)))
            for leg in range(legs):
                if mark + leg == len(record.marks) or record.marks[mark + leg] > self.until:
                    break
                rounds[w, leg] = min(int(record.marks[mark + leg]) - done, left)
                done, left = done + int(rounds[w, leg]), left - int(rounds[w, leg])
                look[w, leg] = done == record.marks[mark + leg]
                if not look[w, leg]:
                    break
                marks[w].append(mark + leg)
        return slots.Order(fresh, rounds, look), marks

    def _keep_pace(self, orders: slots.Order, seconds: float) -> None:
        """As much work in the next call as takes some time; the first one compiled."""
        here, rounds = self.progress.holding.tolist(), orders.rounds.sum(1)
        work = max([n * self.group.work(k) for n, k in zip(rounds, here, strict=True) if k >= 0])
        if self.calls or self.progress.rung:
            self.clock.training(int(rounds.sum()), seconds)
        else:
            self.clock.compiling_seconds += seconds
        if self.calls and work:
            self.pace = min(work * SECONDS / max(seconds, 1e-9), 8 * max(work, self.pace))
        self.calls += 1
