"""Seconds of a run, by what they were spent on."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator


@dataclasses.dataclass
class Timings:
    """Seconds spent compiling, and training ``rounds`` rounds with the evaluations between them."""

    compile_seconds: float = 0.0
    training_seconds: float = 0.0
    rounds: int = 0

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """What happens inside does no rounds: its time is that of compiling."""
        began = time.perf_counter()
        yield
        self.compile_seconds += time.perf_counter() - began

    def training(self, rounds: int, seconds: float) -> None:
        """Note some rounds."""
        self.rounds += rounds
        self.training_seconds += seconds

    def numbers(self) -> dict[str, float]:
        """All that ``Timings(**numbers)`` needs to go on in another process."""
        return dataclasses.asdict(self)

    def report(self) -> dict[str, float]:
        """Seconds compiling, and per round with its evaluations, apart."""
        return {
            "compile_seconds": self.compile_seconds,
            "seconds_per_round": self.training_seconds / max(self.rounds, 1),
        }
