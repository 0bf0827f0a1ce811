"""The driver of a sweep, which runs its rungs, in each rung the programs, and for each program its calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from jaxfed.runtime import interrupt
from jaxfed.runtime.timings import Timings
from jaxfed.sweep.executor import ProgramRunner, Progress
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.programs import Program
from jaxfed.sweep.space import Axes
from jaxfed.sweep.trials import Trial


@dataclasses.dataclass(frozen=True, eq=False)
class Driver:
    """Runs a sweep, from any :class:`Progress` to its end.

    Attributes:
        axes: the swept fields.
        trials: all trials.
        programs: the same trials, by program.
        rungs: rounds done at the end of each rung; without ``halving`` there is only one.
        halving: decides which trials continue after a rung.
        timings: seconds of all calls; those of rounds are for all devices together.
    """

    axes: Axes
    trials: list[Trial]
    programs: list[Program]
    rungs: list[int]
    halving: Halving | None = None
    timings: Timings = dataclasses.field(default_factory=Timings)

    def calls(self, now: Progress) -> Iterator[None]:
        """Run the sweep to its end; yields after every call, when ``now`` holds all that resuming needs."""
        while now.rung < len(self.rungs):
            last = now.rung + 1 == len(self.rungs)
            while now.program < len(self.programs):
                program = self.programs[now.program]
                chosen = [k for k in program.members if now.active[k]]
                runner = ProgramRunner(program, now, chosen, self.rungs[now.rung], not last, self.timings)
                while not runner.finished:
                    with interrupt.deferred():
                        runner.call()
                    yield
                now.program, now.slots = now.program + 1, None
                if last:
                    program.release()
            if self.halving is not None and not last:
                now.active = self.halving.survivors(
                    now.record, self.axes, self.trials, now.active, self.rungs[now.rung]
                )
                now.suspended = {k: state for k, state in now.suspended.items() if now.active[k]}
            now.program, now.rung = 0, now.rung + 1

    def settled(self, now: Progress) -> int:
        """Rounds already done, plus the remaining rounds of runs that diverged or were eliminated."""
        over = (now.record.diverged > 0) | ~now.active
        return int(np.where(over, self.rungs[-1], np.maximum(now.record.done, 0)).sum())
