"""A report of how a run would use devices, blocks and memory."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxfed.core.layout import memory
from jaxfed.training.placed import work_of
from jaxfed.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Planned:
    """The layout of hospitals on devices.

    Attributes:
        devices: number of devices.
        kind: their kind, as jax names it.
        block: hospitals that run side by side on a device; with different models, the largest of ``blocks``.
        how: whether the block was ``"given"`` or ``"judged"`` from shapes.
        form: the form of the model's operations, as in :class:`jaxfed.Simulation`.
        form_how: whether the form was ``"given"`` or ``"judged"`` from the platform.
        blocks: ``{group: block}`` if hospitals have different models.
        slots: places for hospitals on each device.
        balance: work of the average device over that of the busiest; 1 is perfect.
        rows, own: bytes on each device: the training rows, and everything else that a round needs.
        limit: bytes that each device may use.
    """

    devices: int
    kind: str
    block: int
    how: str
    form: str
    form_how: str
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
            f"memory    {memory.format_bytes(self.rows)} of rows and {memory.format_bytes(self.own)} "
            f"for a round, of {memory.format_bytes(self.limit)} that each device may hold",
        ]
        return "\n".join(lines)

    __repr__ = __str__


def planned(trainer: Trainer) -> Planned:
    """The report for a trainer."""
    spec, placed = trainer.spec, trainer.placed
    loads = np.zeros(trainer.plan.devices_per_run)
    for placement, work in zip(placed.placements[0], work_of(spec), strict=True):
        np.add.at(loads, placement.position // placement.plan.slots, work)
    needed = trainer.needed_memory(trainer.input(0), trainer.slot(0))
    several = spec.models is not None
    return Planned(
        devices=trainer.plan.devices_per_run,
        kind=trainer.plan.devices[0].device_kind,
        block=trainer.plan.block,
        how="judged" if spec.block is None else "given",
        form=spec.chosen_form,
        form_how="judged" if spec.form is None else "given",
        blocks={name: p.block for name, p in zip(trainer.names, placed.plans, strict=True) if several},
        slots=sum(plan.slots for plan in placed.plans),
        balance=float(loads.mean() / loads.max()),
        rows=needed.rows,
        own=needed.own,
        limit=memory.limit(trainer.plan),
    )
