"""A run in progress, with its conversion to and from a checkpoint."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxfed.core.engine import runs, slots
from jaxfed.records.recorder import Recorder
from jaxfed.results.run import Run
from jaxfed.results.selected import Selected
from jaxfed.runtime.provenance import compare_versions, provenance
from jaxfed.runtime.timings import Timings
from jaxfed.storage.checkpoint import Checkpoint
from jaxfed.storage.leaves import flatten, restore
from jaxfed.training.stretch import Pace, Stretch, single_segment, stretch
from jaxfed.training.trainer import Trainer


@dataclasses.dataclass
class Progress:
    """A run in progress.

    Attributes:
        trainer: the trainer of the run.
        given: the inputs that determine the run.
        slot: the run after the rounds done so far; the next call donates it.
        fresh: whether the next call starts the run.
        earlier: the best model of the run that this run continues; None if it continues none, or one without
            a finite validation loss.
        recorder, timings: metrics and times of all rounds done so far.
    """

    trainer: Trainer
    given: slots.RunInput
    slot: slots.Slot
    fresh: bool
    recorder: Recorder
    timings: Timings
    earlier: Selected | None = None
    _pace: Pace = dataclasses.field(default_factory=Pace)

    @classmethod
    def begin(cls, trainer: Trainer, seed: int, initial: Any) -> Progress:
        """A run before its first round."""
        timings = Timings()
        with timings.compiling():
            given, slot = trainer.input(seed), trainer.slot(seed, initial)
        return cls(trainer, given, slot, initial is None, Recorder(trainer.history()), timings)

    @classmethod
    def after(cls, trainer: Trainer, run: Run) -> Progress:
        """Continue a run of this session from its end; its state is copied, so the run stays usable."""
        assert run.state is not None, "validated by check_run"
        state = jax.tree.map(lambda leaf: leaf.copy(), run.state)
        # with the sharding that the program gives them, so that jax does not compile the program again
        put = partial(jax.device_put, device=NamedSharding(trainer.plan.mesh, slots.RUNS))
        slot, earlier = slots.Slot(state, put(jnp.zeros(1, jnp.int32))), None
        if trainer.criterion is not None:
            metric, split = trainer.criterion
            losses = run.history.pooled[metric][:, split]
            loss = np.min(losses, initial=np.inf, where=np.isfinite(losses))
            earlier = run.best if np.isfinite(loss) else None
            clients = state.clients if trainer.spec.algorithm.personal else ()
            server, clients = jax.tree.map(lambda leaf: leaf.copy(), (state.server, clients))
            none = put(jnp.asarray([loss], jnp.result_type(float))), put(jnp.full(1, -1, jnp.int32))
            slot = slot._replace(best=slots.Best(*none, server, clients))
        given = trainer.input(run.config["seed"])
        return cls(trainer, given, slot, False, Recorder(run.history), Timings(), earlier)

    @classmethod
    def restored(cls, trainer: Trainer, checkpoint: Checkpoint, seed: int, initial: Any) -> Progress:
        """Continue from a checkpoint.

        Raises:
            CheckpointError: its state does not fit this trainer.
        """
        compare_versions(checkpoint.versions)
        timings = Timings(**checkpoint.notes["timings"])
        with timings.compiling():
            given, slot = trainer.input(seed), trainer.slot(seed, initial)
        slot = restore(slot, checkpoint.arrays, checkpoint.keys, "slot")
        seen = {
            name.removeprefix("history/"): values
            for name, values in checkpoint.arrays.items()
            if name.startswith("history/")
        }
        return cls(trainer, given, slot, False, Recorder(trainer.history().filled(seen)), timings)

    @property
    def done(self) -> int:
        """The number of rounds done."""
        return self.recorder.rounds

    @property
    def evaluated(self) -> bool:
        """Whether the present model was evaluated."""
        return self.done == self.recorder.last_evaluated

    def compile(self) -> None:
        """Compile the program and record the time separately; a fresh run is started and evaluated."""
        with self.timings.compiling():
            self.trainer.check_memory(self.given, self.slot)
            first = 0 if self.recorder.last_evaluated < 0 else None
            self._call(single_segment(0, self.trainer.segments, first))
        self._pace.note(0, 0)

    def advance(self, marks: np.ndarray, until: int) -> None:
        """Train for a fraction of a second, at most until round ``until``, and evaluate at ``marks``."""
        began, before = time.perf_counter(), self.done
        budget = min(self.trainer.log, self._pace.budget(1))
        self._call(stretch(before, marks, until, budget, self.trainer.segments))
        seconds, count = time.perf_counter() - began, self.done - before
        self._pace.note(count, seconds)
        self.timings.training(count, seconds)

    def evaluate(self) -> None:
        """Evaluate the present model, unless that was done already."""
        if not self.evaluated:
            self._call(single_segment(0, self.trainer.segments, self.done))

    def _call(self, command: Stretch) -> None:
        self.slot, results = self.trainer.advance(self.given, self.slot, command, fresh=self.fresh)
        self.fresh = False
        results = runs.on_host(results)
        count, hospitals = int(command.rounds.sum()), len(self.trainer.spec.evaluation_hospitals)
        if count:
            self.recorder.trained(*self.trainer.rounds_seen(results.rounds, count))
        for segment, mark in enumerate(command.marks):
            single = {name: values[0, segment, :hospitals] for name, values in results.single.items()}
            pooled = {name: values[0, segment] for name, values in results.pooled.items()}
            self.recorder.evaluation(mark, single, pooled)

    def checkpoint(self, config: Mapping[str, Any]) -> Checkpoint:
        """The whole run as a checkpoint, with arrays on the host."""
        arrays, keys = flatten(self.slot, "slot")
        seen = {f"history/{name}": values for name, values in self.recorder.history.arrays().items()}
        notes = {"layout": self.trainer.layout(), "timings": self.timings.numbers()}
        return Checkpoint(config, self.done, {**arrays, **seen}, keys, notes, provenance())
