"""A run on its way, and how a checkpoint holds it."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Mapping
from typing import Any

import jax

from jaxfed.records.history import History
from jaxfed.results.run import Run
from jaxfed.runtime.provenance import PACKAGES, provenance
from jaxfed.runtime.timings import Clock
from jaxfed.storage.checkpoint import Checkpoint
from jaxfed.storage.leaves import flatten, restore
from jaxfed.training.trainer import Trainer


@dataclasses.dataclass
class Progress:
    """A run on its way.

    Attributes:
        trainer: what trains.
        state: its state after the rounds that are done; donated by the next ones.
        history, clock: of all rounds that are done.
    """

    trainer: Trainer
    state: Any
    history: History
    clock: Clock

    @classmethod
    def begin(cls, trainer: Trainer, seed: int, initial: Any) -> Progress:
        """Before the first round."""
        clock = Clock()
        return cls(trainer, clock.compiling(trainer.start, seed, initial), trainer.history(), clock)

    @classmethod
    def after(cls, trainer: Trainer, run: Run) -> Progress:
        """Where a run of this session stopped; its state stays its own."""
        return cls(trainer, jax.tree.map(lambda leaf: leaf.copy(), run.state), run.history, Clock())

    @classmethod
    def restored(cls, trainer: Trainer, found: Checkpoint, seed: int, initial: Any) -> Progress:
        """Where a checkpoint was written.

        Raises:
            CheckpointError: its state is not one of this trainer.
        """
        compare_versions(found.versions)
        clock = Clock(**found.notes["clock"])
        state = clock.compiling(trainer.start, seed, initial)
        state = restore(state, found.arrays, found.keys, "state")
        seen = {name[len("history/") :]: v for name, v in found.arrays.items() if name.startswith("history/")}
        return cls(trainer, state, trainer.history().filled(seen), clock)

    @property
    def done(self) -> int:
        """Rounds that are done."""
        return len(self.history.kept)

    def compile(self, capacity: int) -> None:
        """Compile the rounds, and note the time for it apart."""
        self.clock.compiling(self.trainer.check, self.state, capacity)
        self.state, _ = self.clock.compiling(self.trainer.advance, self.state, 0, capacity)

    def advance(self, count: int, capacity: int) -> float:
        """Train for ``count`` rounds; returns their seconds."""
        began = time.perf_counter()
        self.state, log = self.trainer.advance(self.state, count, capacity)
        jax.block_until_ready(self.state)
        seconds = time.perf_counter() - began
        self.history = self.history.trained(*self.trainer.logged(log, count))
        self.clock.training(count, seconds)
        return seconds

    def evaluate(self) -> None:
        """Evaluate the model as it is, unless that was done."""
        if self.done not in self.history.evaluated[-1:]:
            found = self.clock.evaluating(lambda: self.trainer.measure(self.state))
            self.history = self.history.evaluation(self.done, *found)

    def checkpoint(self, config: Mapping[str, Any]) -> Checkpoint:
        """All of this."""
        arrays, keys = flatten(self.state, "state")
        seen = {f"history/{name}": values for name, values in self.history.arrays().items()}
        notes = {"layout": self.trainer.layout(), "clock": self.clock.numbers()}
        return Checkpoint(config, self.done, {**arrays, **seen}, keys, notes, provenance())


def compare_versions(there: Mapping[str, Any]) -> None:
    """Warn where a checkpoint was made with other versions or on another device."""
    here = provenance()
    differ = [
        f"{name} {there[name]} there, {here[name]} here"
        for name in (*PACKAGES, "python", "device")
        if there[name] != here[name]
    ]
    if differ:
        warnings.warn(
            f"the checkpoint was made with other versions ({'; '.join(differ)}): "
            "the run goes on, but its result may not be bit for bit that of an uninterrupted one",
            stacklevel=4,
        )
