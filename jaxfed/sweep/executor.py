"""Execution of a sweep: trials pass through the slots of a program, one program after another.

A slot whose run is done or has diverged gets the next trial in the next call, so that no slot waits for
another. Between two calls, :class:`Progress` holds the whole state of the sweep.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable

import jax
import numpy as np

from jaxfed.core import tree
from jaxfed.core.engine import runs, slots
from jaxfed.core.types import State
from jaxfed.runtime.timings import Timings
from jaxfed.sweep.programs import Program
from jaxfed.sweep.record import Record
from jaxfed.training.stretch import Pace, stretch


@dataclasses.dataclass(eq=False)
class Progress:
    """A sweep in progress, as arrays and numbers.

    Attributes:
        record: the metrics so far.
        active: ``[K]`` bool, whether the trial is not eliminated.
        rung: number of the current rung.
        program: number of the program whose trials are in the slots.
        holding: ``[W]`` number of the trial in each slot, -1 for an empty slot.
        slots: the runs in the slots; None before the program's first call in this rung.
        suspended: states of runs that wait for the next rung, by number of the trial.
    """

    record: Record
    active: np.ndarray
    rung: int = 0
    program: int = 0
    holding: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    slots: slots.Slot | None = None
    suspended: dict[int, State] = dataclasses.field(default_factory=dict)


class ProgramRunner:
    """Trains the trials of one program until they have done a number of rounds.

    Args:
        program: the program with its trials.
        progress: the progress of the whole sweep; changed in place.
        chosen: numbers of the trials to train.
        until: rounds done at the end.
        suspend: whether the trials' states are needed later.
        timings: the times of the sweep, to which calls are added.
    """

    def __init__(
        self,
        program: Program,
        progress: Progress,
        chosen: Iterable[int],
        until: int,
        suspend: bool,
        timings: Timings,
    ) -> None:
        self.program, self.progress, self.until = program, progress, until
        self.suspend, self.timings, self.pace = suspend, timings, Pace()
        if progress.slots is None:
            progress.holding, progress.slots = np.full(program.width, -1), program.empty()
        held = progress.holding.tolist()
        self.todo = [k for k in chosen if k not in held and not self._finished(k)]
        self.inputs: slots.RunInput | None = None

    @property
    def finished(self) -> bool:
        """Whether all chosen trials are done."""
        return not self.todo and bool((self.progress.holding < 0).all())

    def call(self) -> None:
        """Call the program once and record its results."""
        progress, record = self.progress, self.progress.record
        fresh = self._fill()
        commands, marks = self.commands(fresh)
        assert self.inputs is not None
        assert progress.slots is not None
        began = time.perf_counter()
        progress.slots, results = self.program.advance(self.inputs, progress.slots, commands)
        diverged, rounds = jax.device_get((progress.slots.diverged, progress.slots.state.round))
        self._note(commands, time.perf_counter() - began)
        for w, k in enumerate(progress.holding.tolist()):
            if k < 0:
                continue
            record.done[k], record.diverged[k] = rounds[w], diverged[w]
            for segment, mark in enumerate(marks[w]):
                if not diverged[w] or mark < diverged[w]:
                    seen = jax.tree.map(lambda leaf: leaf[w, segment], (results.single, results.pooled))  # noqa: B023
                    number = int(np.searchsorted(record.marks, mark))
                    record.measured(k, number, *self.program.by_hospital(k, *seen))
            if self._finished(k):
                progress.holding[w] = -1
                if self.suspend and not diverged[w]:
                    progress.suspended[k] = tree.entry(progress.slots.state, w)

    def _finished(self, k: int) -> bool:
        record = self.progress.record
        return bool(record.diverged[k]) or bool(record.done[k] >= self.until)

    def _fill(self) -> np.ndarray:
        """Put trials into free slots; returns ``[W]`` whether each slot starts a new run."""
        progress, program = self.progress, self.program
        fresh = np.zeros(program.width, bool)
        free = np.flatnonzero(progress.holding < 0)[: len(self.todo)]
        for w in free:
            progress.holding[w] = k = self.todo.pop(0)
            fresh[w] = k not in progress.suspended
            if not fresh[w]:
                self._continue(w, progress.suspended.pop(k))
        if len(free) or self.inputs is None:
            holding = progress.holding.tolist()
            filler = max(holding)  # an empty slot has the inputs of some trial, and trains no rounds
            self.inputs = program.inputs([k if k >= 0 else filler for k in holding])
        return fresh

    def _continue(self, w: int, state: State) -> None:
        """Put the state of a suspended run back into a slot."""
        before = self.progress.slots
        assert before is not None
        suspended = slots.slot_of(state)
        self.progress.slots = jax.tree.map(
            lambda leaf, new: jax.device_put(leaf.at[w].set(new), leaf.sharding), before, suspended
        )

    def commands(self, fresh: np.ndarray) -> tuple[runs.SlotCommand, list[list[int]]]:
        """The command of each slot, and the rounds done at each of its evaluations."""
        record, holding = self.progress.record, self.progress.holding.tolist()
        segments = self.program.segments
        rounds, evaluate = (np.zeros((len(holding), segments), kind) for kind in (np.int32, bool))
        marks: list[list[int]] = [[] for _ in holding]
        for w, k in enumerate(holding):
            if k >= 0:
                budget = self.pace.budget(self.program.work(k))
                rounds[w], evaluate[w], marks[w] = stretch(
                    int(record.done[k]), record.marks, self.until, budget, segments
                )
        return runs.SlotCommand(fresh, np.ones(len(holding), bool), rounds, evaluate), marks

    def _note(self, commands: runs.SlotCommand, seconds: float) -> None:
        holding, rounds = self.progress.holding.tolist(), commands.rounds.sum(1)
        work = max([n * self.program.work(k) for n, k in zip(rounds, holding, strict=True) if k >= 0])
        if self.pace.note(work, seconds) or self.progress.rung:
            self.timings.training(int(rounds.sum()), seconds)
        else:
            self.timings.compile_seconds += seconds
