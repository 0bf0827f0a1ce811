"""How long a round takes with DP-SGD of each patient, beside the same round without.

    python benchmarks/privacy.py

W2: 100 ragged hospitals, 64 features, MLP 64-128-1, batch 64, 5 epochs, all CPU cores. Calls of the same
number of rounds alternate between the arms; the ratio is that of medians. Bytes are those of the temporaries
of the compiled step, for microbatches of several sizes.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import jaxfed  # noqa: E402
from jaxfed.core.dataset import Dataset  # noqa: E402
from jaxfed.core.types import Shard  # noqa: E402
from jaxfed.privacy import PatientDP  # noqa: E402
from jaxfed.runtime.provenance import provenance  # noqa: E402
from jaxfed.training.stretch import SEGMENTS, Stretch  # noqa: E402

RESULT = Path(__file__).parent / "results" / "privacy.json"
ROUNDS, REPEATS, MICROBATCHES = 2, 9, (8, 32, 128)


def hospitals() -> Dataset:
    """W2's rows: lognormal sizes, clip(exp(N(5, 1.5^2)), 8, 20000)."""
    size = np.clip(np.exp(np.random.default_rng(0).normal(5, 1.5, 100)), 8, 20000).astype(np.int64)
    rng, rows = np.random.default_rng(1), int(size.sum())
    x = rng.normal(size=(rows, 64)).astype(np.float32)
    return Dataset(
        x=x,
        y=(x[:, 0] + rng.normal(size=rows) > 0).astype(np.int32),
        size=size,
        split=np.zeros(rows, np.int8),
        hospitals=tuple(f"hospital {c}" for c in range(100)),
        task="binary",
        classes=("0", "1"),
    )


def main() -> None:
    """Measure, print and save."""
    warnings.simplefilter("ignore")
    data = hospitals()
    plain = jaxfed.Simulation(
        data,
        model=jaxfed.models.mlp(64, 128),
        batch_size=64,
        epochs=5,
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.05),
        splits=("train",),
    )
    private = plain.replace(privacy=PatientDP(clip=1.0, noise_multiplier=1.0))
    arms = {"plain": _runner(plain), "private": _runner(private)}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(REPEATS):
        for name, run in arms.items():
            seconds[name].append(run())
    median = {name: statistics.median(times) for name, times in seconds.items()}
    record = {
        "provenance": provenance(),
        "seconds_per_round": {name: value / ROUNDS for name, value in median.items()},
        "every": seconds,
        "ratio": median["private"] / median["plain"],
        "least_ratio": min(seconds["private"]) / min(seconds["plain"]),
        "temporary_bytes_of_training": {str(m): _bytes(private, m) for m in MICROBATCHES},
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(
        json.dumps({name: record[name] for name in ("seconds_per_round", "ratio", "least_ratio")}, indent=1)
    )
    print(record["temporary_bytes_of_training"])


def _runner(sim: Any) -> Any:
    """A function that trains some rounds and gives the seconds."""
    trainer = sim.trainer
    given, slot = trainer.input(0), trainer.slot(0)
    rounds = np.zeros(SEGMENTS, np.int32)
    rounds[0] = ROUNDS
    stretch = Stretch(rounds, np.zeros(SEGMENTS, bool), [])
    state = [trainer.advance(given, slot, stretch, fresh=True)[0]]

    def run() -> float:
        jax.block_until_ready(state[0])
        began = time.perf_counter()
        state[0] = trainer.advance(given, state[0], stretch, fresh=False)[0]
        jax.block_until_ready(state[0])
        return time.perf_counter() - began

    return run


def _bytes(sim: Any, microbatch: int) -> int:
    """The bytes of temporaries of one hospital's compiled training."""
    local = sim.replace(**{"privacy.microbatch": microbatch}).recipe.locals[0]
    x = jax.ShapeDtypeStruct((10_000, 64), np.float32)
    y = jax.ShapeDtypeStruct((10_000,), np.int32)
    variables = jax.eval_shape(
        local.problem.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64), np.float32)
    )

    def train(variables: Any, x: Any, y: Any, size: Any, key: Any) -> Any:
        return local.train(variables, Shard(x, y, 0 * size, size, None, 0), key).variables

    size, key = jax.ShapeDtypeStruct((), np.int32), jax.eval_shape(lambda: jax.random.key(0))
    compiled = jax.jit(train).lower(variables, x, y, size, key).compile()
    return int(compiled.memory_analysis().temp_size_in_bytes)


if __name__ == "__main__":
    main()
