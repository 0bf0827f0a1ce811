"""Seconds of a run, by what they were spent on."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax


@dataclasses.dataclass
class Clock:
    """Seconds spent compiling, training and evaluating; rounds ``trained``, evaluations that took seconds.

    The first evaluation of every process compiles and counts as that.
    """

    compiling_seconds: float = 0.0
    training_seconds: float = 0.0
    evaluating_seconds: float = 0.0
    trained: int = 0
    evaluated: int = 0
    warm: bool = dataclasses.field(default=False, init=False)

    def compiling(self, function: Any, *arguments: Any) -> Any:
        """A call that does no rounds: its time is that of compiling."""
        began = time.perf_counter()
        result = jax.block_until_ready(function(*arguments))
        self.compiling_seconds += time.perf_counter() - began
        return result

    def evaluating(self, function: Any) -> Any:
        """An evaluation; the first one compiles."""
        began = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - began
        if self.warm:
            self.evaluating_seconds += seconds
            self.evaluated += 1
        else:
            self.compiling_seconds += seconds
        self.warm = True
        return result

    def numbers(self) -> dict[str, float]:
        """All that ``Clock(**numbers)`` needs to go on in another process."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}

    def training(self, count: int, seconds: float) -> None:
        """Note some rounds."""
        self.trained += count
        self.training_seconds += seconds

    def report(self) -> dict[str, float]:
        """Seconds compiling, per round and per evaluation, apart."""
        return {
            "compile_seconds": self.compiling_seconds,
            "seconds_per_round": self.training_seconds / max(self.trained, 1),
            "seconds_per_evaluation": self.evaluating_seconds / max(self.evaluated, 1),
        }
