"""The course of a sweep: rung after rung, group after group, call after call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from jaxfed.runtime import interrupt
from jaxfed.runtime.timings import Clock
from jaxfed.sweep.executor import Lane, Progress
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.programs import Group
from jaxfed.sweep.space import Axes
from jaxfed.sweep.trials import Trial


@dataclasses.dataclass(frozen=True, eq=False)
class Course:
    """What a sweep does, from any :class:`Progress` on.

    Attributes:
        axes: what is swept.
        trials: all of them.
        groups: the same, by program.
        rungs: rounds done at the end of each rung; only the last where there is no ``halving``.
        halving: who goes on after a rung.
        clock: seconds of all calls; those of rounds are for all devices together.
    """

    axes: Axes
    trials: list[Trial]
    groups: list[Group]
    rungs: list[int]
    halving: Halving | None = None
    clock: Clock = dataclasses.field(default_factory=Clock)

    def calls(self, now: Progress) -> Iterator[None]:
        """Go on to the end; yields after every call, when ``now`` is all that is needed to go on."""
        while now.rung < len(self.rungs):
            last = now.rung + 1 == len(self.rungs)
            while now.group < len(self.groups):
                group = self.groups[now.group]
                chosen = [k for k in group.members if now.racing[k]]
                lane = Lane(group, now, chosen, self.rungs[now.rung], not last, self.clock)
                while not lane.finished:
                    with interrupt.deferred():
                        lane.call()
                    yield
                now.group, now.slots = now.group + 1, None
                if last:
                    group.forget()
            if self.halving is not None and not last:
                now.racing = self.halving.survivors(
                    now.record, self.axes, self.trials, now.racing, self.rungs[now.rung]
                )
                now.parked = {k: state for k, state in now.parked.items() if now.racing[k]}
            now.group, now.rung = 0, now.rung + 1

    def settled(self, now: Progress) -> int:
        """Rounds that need not be done any more: done, or of a run that is dead or has lost."""
        out = (now.record.died > 0) | ~now.racing
        return int(np.where(out, self.rungs[-1], np.maximum(now.record.done, 0)).sum())
