"""The peer's side: requests come as lines of JSON on stdin, answers go to stdout, everything else to stderr.

A peer is a class with ``Peer(federation, **settings)``, ``rounds(cohorts) -> seconds of each round`` and
``parameters()``. ``gate`` trains the gate's federation; ``prepare`` compiles, tries the peer's settings on a
few hospitals, keeps the fastest and takes as many hospitals as fit the time; ``time`` is one repeat.
"""

from __future__ import annotations

import abc
import json
import os
import resource
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from workloads import arrays, models
from workloads.arrays import Federation


class Peer(abc.ABC):
    """What a peer defines.

    Attributes:
        whole: takes part with every hospital, whatever the time.
        rows: trains only so many rows of each hospital; None for all.
        at_once: cannot be asked for one repeat after the other.
        ragged: takes short last batches as they are; the others are held to whole batches.
    """

    whole: ClassVar[bool] = False
    rows: ClassVar[int | None] = None
    at_once: ClassVar[bool] = False
    ragged: ClassVar[bool] = True

    def __init__(self, federation: Federation, **settings: Any) -> None:
        self.federation = federation

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """What to choose from."""
        return [{}]

    @abc.abstractmethod
    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """Train a round with each cohort; the seconds of each."""

    @abc.abstractmethod
    def parameters(self) -> list[np.ndarray]:
        """In the order and layout of :mod:`workloads.models`."""

    @classmethod
    def hospitals(cls, federation: Federation) -> int | None:
        """How many take part, where there is no pilot."""
        return None

    @staticmethod
    def affordable(federation: Federation, samples: int, flop: float) -> int:
        """Hospitals with so many samples in a round, fewer where a sample costs much."""
        wanted = min(samples, flop / models.flop(federation.layers, federation.inputs))
        each = federation.samples(federation.cohorts[0]) / federation.cohorts.shape[1]
        return max(2, int(wanted / each))

    @classmethod
    def pilot(cls, federation: Federation) -> int:
        """Hospitals to try the settings on."""
        return 2 if len(federation.inputs) == 3 else 8

    def notes(self) -> dict[str, Any]:
        """What to put on record."""
        return {}


def serve(peer: type[Peer], others: Sequence[IO[str]] = (), leads: bool = True) -> None:
    """Answer the driver until it closes the pipe.

    ``others`` are processes of the same peer, which hear the same; ``leads`` is False in those.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between
    session = Session(peer, leads)
    for line in sys.stdin:
        for other in others:
            print(line, end="", file=other, flush=True)
        request = json.loads(line)
        try:
            answer = getattr(session, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        answers.write(json.dumps({"peak_bytes": peak_bytes(), **answer}) + "\n")
        answers.flush()


class Session:
    """A peer and one workload."""

    def __init__(self, peer: type[Peer], leads: bool = True) -> None:
        self.peer, self.leads = peer, leads
        self.asked = 0

    def gate(self, folder: str, out: str) -> dict[str, Any]:
        """Train the gate's federation and leave the parameters in ``out``."""
        kind = "ragged" if self.peer.ragged else "whole"
        federation = arrays.read(Path(folder) / kind)
        trainer = self.peer(federation, **self.peer.settings(federation)[0])
        trainer.rounds([np.arange(len(federation.size))] * arrays.GATE_ROUNDS)
        if self.leads:
            np.savez(out, *trainer.parameters())
        return {"kind": kind}

    def prepare(self, folder: str, seconds: float, rounds: int) -> dict[str, Any]:
        """Compile, choose settings and the number of hospitals for repeats of about ``seconds``."""
        self.federation = arrays.read(Path(folder))
        if self.peer.rows:
            self.federation = self.federation.shortened(self.peer.rows)
        first = np.array(self.federation.cohorts[0])
        count = self.peer.hospitals(self.federation)
        if count is not None:
            return self._without_pilot(first, count)
        few = first if self.peer.whole else self.federation.fewer(first, self.peer.pilot(self.federation))
        self.count = rounds if self.peer.whole else 1
        best: tuple[float, dict[str, Any], float, Peer] | None = None
        for settings in self.peer.settings(self.federation):
            trainer = self.peer(self.federation, **settings)
            cold, warm = (sum(trainer.rounds([few] * self.count)) for _ in range(2))
            if best is None or warm < best[0]:
                best = warm, settings, cold - warm, trainer
        assert best is not None
        warm, settings, compiling, self.trainer = best
        fits = max(int(seconds / warm * len(few)), min(len(few), 2))
        self.hospitals = len(first) if self.peer.whole else min(len(first), fits)
        return {
            "settings": settings,
            "compile_seconds": getattr(self.trainer, "compile_seconds", max(compiling, 0.0)),
            "hospitals": self.hospitals,
            "rows": self.peer.rows,
            "at_once": self.peer.at_once,
            "notes": self.trainer.notes(),
        }

    def _without_pilot(self, first: np.ndarray, count: int) -> dict[str, Any]:
        settings = self.peer.settings(self.federation)[0]
        self.trainer = self.peer(self.federation, **settings)
        self.hospitals, self.count = min(len(first), count), 1
        notes = {}
        if not self.peer.at_once:
            self.trainer.rounds([self.federation.fewer(first, self.hospitals)])
            notes = self.trainer.notes()
        return {
            "settings": settings,
            "hospitals": self.hospitals,
            "rows": None,
            "at_once": self.peer.at_once,
            "notes": notes,
        }

    def time(self, repeats: int) -> dict[str, Any]:
        """One repeat, or all of them where the peer cannot be stopped between them."""
        drawn = [np.array(self.federation.cohorts[(self.asked + r) % arrays.COHORTS]) for r in range(repeats)]
        self.asked += repeats
        cohorts = [self.federation.fewer(cohort, self.hospitals) for cohort in drawn]
        seconds = self.trainer.rounds([cohort for cohort in cohorts for _ in range(self.count)])
        cohorts = getattr(self.trainer, "drawn", None) or cohorts * self.count
        done = {
            "samples": [self.federation.samples(cohort) for cohort in cohorts],
            "steps": [self.federation.steps(cohort) for cohort in cohorts],
            "clients": [len(cohort) for cohort in cohorts],
        }
        if self.peer.at_once:
            return {"seconds": seconds, **done, **self.trainer.notes()}
        return {"seconds": [sum(seconds)], **{name: [sum(values)] for name, values in done.items()}}


def peak_bytes() -> int:
    """Largest resident memory so far, of this process and its children."""
    try:
        return sum(_high_water(process) for process in _family(os.getpid()))
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _high_water(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def _family(process: int) -> list[int]:
    found = [process]
    for task in Path(f"/proc/{process}/task").iterdir():
        children = (task / "children").read_text().split()
        found += [member for child in children for member in _family(int(child))]
    return found
