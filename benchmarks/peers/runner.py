"""The driver's side of a peer on one workload: the gate, compiling, repeats, the row on record."""

from __future__ import annotations

import dataclasses
import time
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from workloads import arrays, oracle

from peers import process
from peers.process import PEERS, Process, Unavailable


@dataclasses.dataclass(frozen=True)
class How:
    """What all peers have in common.

    Attributes:
        scratch: folder for arrays and logs.
        venvs: where the peers' environments are, or are made.
        repeats: of which the median counts.
        seconds: of a repeat.
    """

    scratch: Path
    venvs: Path
    repeats: int
    seconds: float


class Runner:
    """A peer on one workload; where it fails, the reason takes the place of its numbers."""

    def __init__(self, peer: str, name: str, folder: Path, how: How) -> None:
        self.peer, self.folder, self.how = peer, folder, how
        self.failed: str | None = None
        self.process: Process | None = None
        self.answer: dict[str, Any] | None = None
        self.row: dict[str, Any] = {"seconds": [], "samples": [], "steps": [], "clients": []}
        module, environment = PEERS[peer]
        try:
            python = process.interpreter(environment, how.venvs)
            self.process = Process(module, python, how.scratch / "logs" / f"{name}-{peer}.log")
        except Unavailable as error:
            self.failed = str(error)

    def gate(self) -> None:
        """It trains the gate's federation."""
        out = str(self.folder / f"{self.peer}.npz")
        self.answer = self._ask(do="gate", folder=str(self.folder), out=out)

    def compare(self) -> dict[str, Any] | None:
        """How far that is from what NumPy makes of it, for the record."""
        if self.answer is None:
            return None
        with np.load(self.folder / f"{self.peer}.npz") as found:
            leaves = [found[key] for key in found.files]
        expected, initial = _expected(self.folder / self.answer["kind"])
        off = oracle.distance(leaves, expected, initial)
        if not off < oracle.TOLERANCE:
            self.failed = f"gate: {off:.2g} off NumPy's parameters"
        return {"kind": self.answer["kind"], "distance": off}

    def prepare(self, rounds: int) -> None:
        """Compiling and the choice of settings; ``rounds`` are those of a repeat."""
        began = time.perf_counter()
        request = {"folder": str(self.folder), "seconds": self.how.seconds, "rounds": rounds}
        self.row.update(self._ask(do="prepare", **request) or {})
        self.row["prepare_seconds"] = time.perf_counter() - began

    def time(self) -> None:
        """One repeat; slow peers take fewer."""
        spent = sum(self.row["seconds"])
        done = len(self.row["seconds"])
        patience = (80 if self.peer == "jaxfed" else 15) * self.how.seconds
        if (done >= 2 and spent > patience) or (self.row.get("at_once") and done):
            return
        answer = self._ask(do="time", repeats=self.how.repeats if self.row.get("at_once") else 1)
        for name in ("seconds", "samples", "steps", "clients"):
            self.row[name] += (answer or {}).get(name, [])
        self.row["peak_bytes"] = (answer or {}).get("peak_bytes")

    def close(self) -> dict[str, Any]:
        """What is put on record."""
        if self.process:
            self.process.close()
        if self.failed:
            return {"failed": self.failed, "gate": self.row.get("gate")}
        pairs = {
            name: median(n / s for n, s in zip(self.row[name], self.row["seconds"], strict=True))
            for name in ("samples", "steps")
        }
        return {
            **self.row,
            "samples_per_second": pairs["samples"],
            "client_steps_per_second": pairs["steps"],
        }

    def _ask(self, **request: Any) -> dict[str, Any] | None:
        if self.failed or self.process is None:
            return None
        try:
            return self.process.ask(**request)
        except Unavailable as error:
            self.failed = f"{request['do']}: {error}"
            return None


@lru_cache(maxsize=2)
def _expected(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """NumPy's parameters after the gate, and before."""
    federation = arrays.read(folder)
    return oracle.fedavg(federation, arrays.GATE_ROUNDS), federation.initial()
