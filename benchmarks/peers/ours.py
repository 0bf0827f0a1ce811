"""jaxfed, as its README says: a Simulation, FedAvg, one jax device per core.

A benchmark's runs are short, and stand for long ones: for tables, and on a GPU, block and form are measured.
For images on a CPU the block is judged from shapes: measuring takes a minute, and finds the same.
"""

from __future__ import annotations

import shutil
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
import optax
from workloads.arrays import GATES, Federation
from workloads.models import Layer

import jaxfed
from peers.protocol import Peer, serve


class Plain(nn.Module):
    """The layers as a plain flax model."""

    layers: tuple[Layer, ...]

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Outputs of rows ``[B, ...]``."""
        for i, (kind, *numbers) in enumerate(self.layers):
            if kind == "dense":
                x = nn.Dense(numbers[0], name=f"layer_{i}")(x)
            elif kind == "conv":
                x = nn.Conv(numbers[0], (numbers[1],) * 2, padding="VALID", name=f"layer_{i}")(x)
            elif kind == "pool":
                x = nn.max_pool(x, (numbers[0],) * 2, (numbers[0],) * 2)
            else:
                x = nn.relu(x) if kind == "relu" else x.reshape(len(x), -1)
        return x


def as_params(layers: tuple[Layer, ...], leaves: list[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The flat list as flax parameters."""
    named = [f"layer_{i}" for i, (kind, *_) in enumerate(layers) if kind in ("dense", "conv")]
    pairs = zip(leaves[::2], leaves[1::2], strict=True)
    return {name: {"kernel": k, "bias": b} for name, (k, b) in zip(named, pairs, strict=True)}


def as_leaves(params: Any) -> list[np.ndarray]:
    """The transpose of :func:`as_params`."""
    names = sorted(params, key=lambda name: int(name.removeprefix("layer_")))
    return [np.asarray(params[name][leaf]) for name in names for leaf in ("kernel", "bias")]


class Ours(Peer):
    """A Simulation; the plan chooses devices and blocks."""

    whole: ClassVar[bool] = True

    def __init__(self, federation: Federation, long: bool = False, **settings: Any) -> None:
        super().__init__(federation)
        names = tuple(f"hospital {c}" for c in range(len(federation.size)))
        hospitals = jaxfed.Dataset(
            x=federation.x,
            y=np.asarray(federation.y),
            size=np.asarray(federation.size),
            split=np.zeros(len(federation.y), np.int8),
            hospitals=names,
            task="binary" if federation.classes == 2 else "multiclass",
            classes=tuple(map(str, range(federation.classes))),
        )
        cohort = federation.cohorts.shape[1]
        everyone = cohort == len(names)
        self.simulation = jaxfed.Simulation(
            hospitals,
            model=Plain(federation.layers),
            client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=federation.rate),
            epochs=federation.epochs,
            batch_size=federation.batch,
            participation=jaxfed.Everyone() if everyone else jaxfed.FixedCohort(cohort),
            **settings,
        )
        if long:
            self.simulation = self.simulation.tuned()
        self.plan = self.simulation.plan()
        self.how = "measured" if long else self.plan.how
        self.run: jaxfed.Run | None = None

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """The gate's hospitals are too few for a measured block."""
        quick = len(federation.inputs) == 1 or jax.default_backend() != "cpu"
        return [{"long": quick and federation.folder.name not in GATES}]

    def rounds(self, cohorts: list[np.ndarray]) -> list[float]:
        """It draws its own cohorts, as many; ``drawn`` is who took part."""
        count = len(cohorts)
        where: dict[str, Any] = {"resume": self.run}
        if self.run is None:
            params = as_params(self.federation.layers, self.federation.initial())
            where = {"initial": jaxfed.Variables(params, {})}
        first = self.run is None
        self.run = self.simulation.run(count, eval_every=count, progress=False, **where)
        if first:
            self.compile_seconds = self.run.provenance["compile_seconds"]
        present = self.run.history.training["present"][-count:]
        self.drawn = [np.flatnonzero(row) for row in present]
        return [self.run.provenance["seconds_per_round"]] * count

    def parameters(self) -> list[np.ndarray]:
        """Of the global model."""
        assert self.run is not None
        return as_leaves(self.run.variables.params)

    def notes(self) -> dict[str, Any]:
        """The plan, and the memory of a GPU."""
        memory = jax.devices()[0].memory_stats() or {}
        plan = {name: getattr(self.plan, name) for name in ("devices", "block", "form")}
        return {**plan, "how": self.how, "device_peak_bytes": memory.get("peak_bytes_in_use")}


class OneVmap(Ours):
    """All hospitals in one vmap, each as long as the largest: what the blocks of a plan save."""

    @classmethod
    def settings(cls, federation: Federation) -> list[dict[str, Any]]:
        """One device and one block."""
        return [{"devices": 1, "block": len(federation.size)}]


def main(peer: type[Peer]) -> None:
    """One jax device per core where there is no GPU."""
    if not shutil.which("nvidia-smi"):
        jaxfed.use_cpu_devices()
    serve(peer)


if __name__ == "__main__":
    main(Ours)
