"""What a federation of three models costs, beside the same hospitals as three federations of one.

    python benchmarks/mixed.py

60 synthetic hospitals (preset "strong") on all CPU cores: a third has logistic regression, a third an MLP of
32, a third one of 128-128; for FedProto MLPs of 32, 64-32 and 128-32, because features must be as many. Two
local epochs of SGD, batches of 32. Samples are the hospitals' own rows times epochs, and for FedMD, DS-FL and
FedDF also those with the public rows (500) that hospitals and server train on. Medians of 5 after a warm-up,
in turns.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import jaxfed  # noqa: E402
from jaxfed.algorithms import FedAvg, mixed  # noqa: E402
from jaxfed.models import logistic, mlp  # noqa: E402
from jaxfed.runtime.provenance import provenance  # noqa: E402
from jaxfed.training.stretch import single_segment  # noqa: E402

RESULT = Path(__file__).parent / "results" / "mixed.json"
HOSPITALS, ROUNDS, REPEATS, EPOCHS, PUBLIC, STEPS = 60, 5, 5, 2, 500, 20
KINDS = {
    "three kinds": {"clinic": logistic(), "district": mlp(32), "university": mlp(128, 128)},
    "one width of features": {"clinic": mlp(32), "district": mlp(64, 32), "university": mlp(128, 32)},
}


def main() -> None:
    """Measure, print and save."""
    every = jaxfed.data.synthetic_ehr(HOSPITALS + 5, preset="strong", seed=0)
    data = every.select(every.hospitals[:HOSPITALS])
    public = jaxfed.data.unlabelled(every.select(every.hospitals[HOSPITALS:]), PUBLIC, split=None)
    methods = {
        "every group by itself": ("three kinds", mixed.ByGroup(FedAvg())),
        "FedMD": ("three kinds", mixed.FedMD(public)),
        "DSFL": ("three kinds", mixed.DSFL(public)),
        "FedDF": ("three kinds", mixed.FedDF(public, steps=STEPS)),
        "FML": ("three kinds", mixed.FML(mlp(16))),
        "FedProto": ("one width of features", mixed.FedProto()),
    }
    alone = {kind: [_runner(sim) for sim in _apart(data, kind)] for kind in KINDS}
    together = {name: _runner(_simulation(data, *method)) for name, method in methods.items()}
    seconds: dict[str, list[float]] = {name: [] for name in (*alone, *together)}
    for _ in range(REPEATS):
        for kind, runners in alone.items():
            seconds[kind].append(sum(run() for run in runners))
        for name, run in together.items():
            seconds[name].append(run())
    medians = {name: statistics.median(times) / ROUNDS for name, times in seconds.items()}
    own = int(data.counts[:, 0].sum()) * EPOCHS
    rows = [
        _row(name, kind, algorithm, own, medians[name], medians[kind])
        for name, (kind, algorithm) in methods.items()
    ]
    record = {
        "hospitals": HOSPITALS,
        "rows": rows,
        "separate": {kind: own / medians[kind] for kind in KINDS},
        "provenance": {**provenance(), "devices": len(jax.devices())},
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


def _row(name: str, kind: str, algorithm: Any, own: int, seconds: float, apart: float) -> dict[str, Any]:
    groups = len(KINDS[kind])
    server = STEPS * min(algorithm.batch_size, PUBLIC) * groups if name == "FedDF" else 0
    extra = HOSPITALS * algorithm.extra_rows() + server
    return {
        "method": name,
        "models": kind,
        "samples per second": own / seconds,
        "with public rows": (own + extra) / seconds,
        "share": apart / seconds,
        "share with public rows": apart / seconds * (own + extra) / own,
    }


def _apart(data: jaxfed.Dataset, kind: str) -> list[jaxfed.Simulation]:
    """A federation of one model for each group."""
    of = np.array(_groups(kind))
    return [
        _common(data.select(np.array(data.hospitals)[of == name].tolist()), model=model, algorithm=FedAvg())
        for name, model in KINDS[kind].items()
    ]


def _simulation(data: jaxfed.Dataset, kind: str, algorithm: Any) -> jaxfed.Simulation:
    return _common(data, models=KINDS[kind], groups=_groups(kind), algorithm=algorithm)


def _common(data: jaxfed.Dataset, **settings: Any) -> jaxfed.Simulation:
    step = jaxfed.optimizer(optax.sgd, learning_rate=0.05)
    return jaxfed.Simulation(data, client_optimizer=step, epochs=EPOCHS, batch_size=32, **settings)


def _groups(kind: str) -> list[str]:
    """Hospitals take turns, so that every group has small and large ones."""
    return [list(KINDS[kind])[i % len(KINDS[kind])] for i in range(HOSPITALS)]


def _runner(sim: jaxfed.Simulation) -> Any:
    """Seconds of some rounds, compiled and warm."""
    trainer = sim.trainer
    given, slot = trainer.input(0), trainer.slot(0)
    command = single_segment(ROUNDS, trainer.segments)
    slot, _ = trainer.advance(given, slot, command, fresh=True)

    def run() -> float:
        nonlocal slot
        jax.block_until_ready(slot)
        began = time.perf_counter()
        slot, _ = trainer.advance(given, slot, command, fresh=False)
        jax.block_until_ready(slot)
        return time.perf_counter() - began

    return run


if __name__ == "__main__":
    main()
