"""What a run would do with devices, blocks and memory, to be looked at."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxfed.core.layout import memory
from jaxfed.core.nn.rewrite import Form
from jaxfed.training.federated import Federated
from jaxfed.training.grouped import Grouped


@dataclasses.dataclass(frozen=True)
class Planned:
    """How hospitals are laid on devices.

    Attributes:
        devices: how many, and ``kind`` of what.
        block: hospitals that run side by side on a device; where they have different models, the largest of
            ``blocks``.
        how: whether the block was ``"given"``, ``"judged"`` from shapes, ``"measured"`` for this call, or
            ``"remembered"`` from an earlier measurement.
        form: of the model's operations, as :class:`jaxfed.Simulation` has it.
        form_how: as ``how``; on a CPU, or without convolutions and pooling, it is not measured.
        seconds: ``{form: {block: seconds of a round}}`` of what was measured.
        blocks: ``{group: block}`` where hospitals have different models.
        slots: places for hospitals on each device.
        balance: work of the average device over that of the busiest; 1 is perfect.
        rows, own: bytes on each device: the training rows, and everything else a round needs.
        limit: bytes that each device may hold.
    """

    devices: int
    kind: str
    block: int
    how: str
    form: str
    form_how: str
    seconds: dict[Form, dict[int, float]]
    blocks: dict[str, int]
    slots: int
    balance: float
    rows: int
    own: int
    limit: int

    def __str__(self) -> str:
        lines = [
            f"devices   {self.devices} x {self.kind}, {self.slots} places for hospitals each, "
            f"work balanced to {self.balance:.0%}",
            *(
                [
                    f"block     {block} of {group!r} side by side ({self.how})"
                    for group, block in self.blocks.items()
                ]
                or [f"block     {self.block} hospitals side by side ({self.how})"]
            ),
            f"form      {self.form} operations ({self.form_how})",
            *(
                f"          {1e3 * time:.3g} ms a round with {form}, {block} side by side"
                for form, column in self.seconds.items()
                for block, time in sorted(column.items())
            ),
            f"memory    {memory.in_words(self.rows)} of rows and {memory.in_words(self.own)} for a round, "
            f"of {memory.in_words(self.limit)} that each device may hold",
        ]
        return "\n".join(lines)

    __repr__ = __str__


def planned(trainer: Federated | Grouped, rounds: int, eval_every: int) -> Planned:
    """The plan of a run of so many rounds; measures what that run would measure."""
    trainer = trainer.prepared(rounds, eval_every)
    blocks: dict[str, int] = {}
    if isinstance(trainer, Grouped):
        placements, works = trainer.placements, trainer.work
        train: Any = trainer.train
        blocks = {name: plan.block for name, plan in zip(trainer.names, trainer.plans, strict=True)}
    else:
        placements, works, train = (trainer.placement,), [trainer.work], trainer.federation.train
    layout, choice = placements[0].plan, trainer.choice
    loads = np.zeros(layout.shards)
    for placement, work in zip(placements, works, strict=True):
        np.add.at(loads, placement.position // placement.plan.slots, work)
    needed = memory.of_rounds(trainer.traced(trainer.start(0, None), eval_every), layout, train)
    return Planned(
        devices=trainer.devices,
        kind=layout.devices[0].device_kind,
        block=max(placement.plan.block for placement in placements),
        how=choice.how,
        form=choice.form,
        form_how=choice.form_how,
        seconds=choice.seconds,
        blocks=blocks,
        slots=sum(placement.plan.slots for placement in placements),
        balance=float(loads.mean() / loads.max()),
        rows=needed.rows,
        own=needed.own,
        limit=memory.limit(layout),
    )
