"""The loop of a run, for anything that trains in rounds: evaluations, progress, interruptions."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Protocol

import jax
import numpy as np
from tqdm import tqdm

from jaxfed import interrupt
from jaxfed.clock import Clock
from jaxfed.core.types import Variables
from jaxfed.history import Arrays, History
from jaxfed.provenance import provenance
from jaxfed.results import Run


class Trainer(Protocol):
    """What the loop drives.

    Its state is any tree of jax arrays; the loop never looks inside.
    """

    @property
    def name(self) -> str:
        """What the run is called."""
        ...

    @property
    def personal(self) -> bool:
        """Whether every hospital has its own model."""
        ...

    @property
    def devices(self) -> int:
        """How many jax devices it uses."""
        ...

    def describe(self) -> dict[str, Any]:
        """The configuration as plain text and numbers."""
        ...

    def history(self) -> History:
        """A history with nothing in it."""
        ...

    def start(self, seed: int, initial: Any) -> Any:
        """The state before the first round, from initial variables or, where None, drawn from ``seed``."""
        ...

    def advance(self, state: Any, rounds: int, capacity: int) -> tuple[Any, Any]:
        """The state ``rounds`` later (at most ``capacity``, which is static), and their log.

        Takes the old state for good: it is donated. Must give the same for 3 rounds and 4 as for 7.
        """
        ...

    def logged(self, log: Any, count: int) -> tuple[Arrays, np.ndarray]:
        """A log's first ``count`` rounds as :meth:`History.trained` takes them."""
        ...

    def measure(self, state: Any) -> tuple[Arrays, Arrays]:
        """An evaluation for :meth:`History.evaluation`: ``name: [C, S]`` and ``name: [S]``."""
        ...

    def variables(self, state: Any) -> Variables:
        """The model of a state, on the host."""
        ...


def train(
    trainer: Trainer,
    rounds: int,
    *,
    seed: int,
    eval_every: int,
    initial: Any = None,
    resume: Run | None = None,
    progress: bool = True,
) -> Run:
    """``rounds`` rounds, from the start or from where another run stopped; see :meth:`Simulation.run`."""
    if resume is not None:
        seed = resume.config["seed"]
    now = _begin(trainer, seed, eval_every, initial, resume)
    first, last, pace = now.done, now.done + rounds, 1
    bar = tqdm(total=rounds, desc=trainer.name, unit="round", disable=not progress)
    try:
        with bar:
            while now.done < last:
                boundary = min(last, (now.done // eval_every + 1) * eval_every)
                count = min(boundary - now.done, pace)
                # the old state is donated: it, the log and the count of rounds change together
                with interrupt.deferred():
                    seconds = now.advance(count, eval_every)
                    if now.done == boundary:
                        now.evaluate()
                if now.done == boundary:
                    bar.set_postfix_str(now.history.headline(), refresh=False)
                bar.update(count)
                # about four looks a second: a live bar, and an interrupt that is heard soon
                pace = max(1, int(count * 0.25 / max(seconds, 1e-9)))
    except KeyboardInterrupt:
        bar.write(f"interrupted after {now.done - first} of {rounds} rounds")
        if now.history.evaluated[-1] != now.done:
            now.evaluate()
    return Run(
        name=trainer.name,
        history=now.history,
        variables=trainer.variables(now.state),
        personal=trainer.personal,
        config={**trainer.describe(), "seed": seed, "rounds": now.done, "eval_every": eval_every},
        provenance={**provenance(), "devices": trainer.devices, **now.clock.report()},
        state=now.state,
    )


@dataclasses.dataclass
class _Progress:
    """A run on its way."""

    trainer: Trainer
    state: Any
    history: History
    clock: Clock

    @property
    def done(self) -> int:
        """Rounds that are done."""
        return len(self.history.kept)

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
        """Evaluate the model as it is."""
        found = self.clock.evaluating(lambda: self.trainer.measure(self.state))
        self.history = self.history.evaluation(self.done, *found)


def _begin(trainer: Trainer, seed: int, eval_every: int, initial: Any, resume: Run | None) -> _Progress:
    """Compiled, and evaluated once."""
    clock = Clock()
    if resume is None:
        history, state = trainer.history(), clock.compiling(trainer.start, seed, initial)
    else:
        history, state = resume.history, jax.tree.map(lambda leaf: leaf.copy(), resume.state)
    state, _ = clock.compiling(trainer.advance, state, 0, eval_every)
    now = _Progress(trainer, state, history, clock)
    if not len(history.evaluated):
        now.evaluate()
    return now
