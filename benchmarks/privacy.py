"""How long a round takes with DP-SGD of each patient, beside the same round without, and beside Opacus.

    python benchmarks/privacy.py

W2: 100 ragged hospitals, 64 features, MLP 64-64-128-1, batch 64, 5 epochs, all CPU cores. Calls of the same
number of rounds alternate between the arms; ratios are those of medians. Opacus trains one hospital after
another in an environment that is made beside it, with one thread or all, whichever is faster; before it is
timed, clipped steps on all rows must lead both to the same model. Bytes are those of the temporaries of the
compiled step, for microbatches of several sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from peers import process

jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import jaxfed  # noqa: E402
from jaxfed.core.dataset import Dataset  # noqa: E402
from jaxfed.core.types import Shard  # noqa: E402
from jaxfed.privacy import PatientDP  # noqa: E402
from jaxfed.runtime.provenance import provenance  # noqa: E402
from jaxfed.training.stretch import single_segment  # noqa: E402

RESULT = Path(__file__).parent / "results" / "privacy.json"
ROUNDS, REPEATS, MICROBATCHES = 2, 15, (8, 40, 128)
LEAVES = [(layer, name) for layer in ("hidden_0", "hidden_1", "head") for name in ("kernel", "bias")]
TIMED = {"hospitals": 100, "batch": 64, "epochs": 5, "clip": 1.0, "noise": 1.0, "learning_rate": 0.05}
GATE = {"hospitals": 8, "batch": 20_000, "epochs": 3, "clip": 0.2, "noise": 0.0, "learning_rate": 0.5}
APART = 1e-4  # what the two models of the gate may differ by, relative to how far they moved


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venvs", type=Path, default=Path("~/.cache/jaxfed/peers"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    data = hospitals()
    plain = _simulation(data, **TIMED)
    private = plain.replace(privacy=PatientDP(clip=TIMED["clip"], noise_multiplier=TIMED["noise"]))
    with tempfile.TemporaryDirectory() as scratch:
        opacus = Opacus(Path(scratch), given.venvs.expanduser(), plain)
        arms = {"plain": _runner(plain), "private": _runner(private), "opacus": opacus.round}
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(REPEATS):
            for name, run in arms.items():
                seconds[name].append(run())
    median = {name: statistics.median(times) for name, times in seconds.items()}
    record = {
        "provenance": provenance(),
        "opacus": {"version": opacus.version, "threads": opacus.threads, "apart": opacus.apart},
        "seconds_per_round": median,
        "every": seconds,
        "ratio": median["private"] / median["plain"],
        "least_ratio": min(seconds["private"]) / min(seconds["plain"]),
        "ratio_of_opacus": median["opacus"] / median["private"],
        "temporary_bytes_of_training": {str(m): _bytes(private, m) for m in MICROBATCHES},
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "every"}, indent=1))


def _simulation(
    data: Dataset, hospitals: int, batch: int, epochs: int, learning_rate: float, **_: Any
) -> Any:
    """FedAvg without privacy."""
    return jaxfed.Simulation(
        data.select(data.hospitals[:hospitals]),
        model=jaxfed.models.mlp(64, 128),
        batch_size=batch,
        epochs=epochs,
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=learning_rate),
        splits=("train",),
    )


class Opacus:
    """The peer: its process, which is checked to reach the same model before it is timed.

    Attributes:
        apart: the distance of both models of the gate, relative to how far they moved.
        threads: of its operations; the faster number.
        version: of Opacus.
    """

    def __init__(self, folder: Path, venvs: Path, plain: Any) -> None:
        params = jax.tree.map(np.asarray, plain.run(0, progress=False).variables.params)
        start = [params[layer][name] for layer, name in LEAVES]
        arrays = {name: getattr(plain.hospitals, name) for name in ("x", "y", "size")}
        for name, array in (arrays | {f"leaf{i}": leaf for i, leaf in enumerate(start)}).items():
            np.save(folder / f"{name}.npy", array)
        self.peer = process.Process(
            "peers.opacus_loop", process.interpreter("opacus", venvs), folder / "opacus.log"
        )
        self.peer.ask(folder=str(folder))
        self.version = self.peer.ask(threads=1, out=str(folder / "gate.npz"), **GATE)["version"]
        self.apart = _apart(plain.hospitals, start, [*np.load(folder / "gate.npz").values()])
        if not self.apart < APART:
            raise SystemExit(f"jaxfed's and Opacus' private steps lead to models {self.apart:.1e} apart")
        tried = {threads: self._seconds(threads) for threads in {1, os.cpu_count() or 1}}
        self.threads = min(tried, key=lambda threads: tried[threads])

    def _seconds(self, threads: int) -> float:
        return float(self.peer.ask(patience=900, threads=threads, out=None, **TIMED)["seconds"])

    def round(self) -> float:
        """The seconds of a round."""
        return self._seconds(self.threads)


def _apart(data: Dataset, start: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The distance of jaxfed's model of the gate from another one, relative to how far they moved."""
    gate = _simulation(data, **GATE).replace(
        privacy=PatientDP(clip=GATE["clip"], noise_multiplier=GATE["noise"])
    )
    begin: dict[str, Any] = {}
    for (layer, name), leaf in zip(LEAVES, start, strict=True):
        begin.setdefault(layer, {})[name] = leaf
    run = gate.run(1, initial=jaxfed.Variables(begin, {}), progress=False)
    ours = [np.asarray(run.variables.params[layer][name]) for layer, name in LEAVES]

    def norm(pairs: Any) -> float:
        return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs)))

    return norm(zip(ours, theirs, strict=True)) / norm(zip(ours, start, strict=True))


def _runner(sim: Any) -> Callable[[], float]:
    """A function that trains some rounds and gives the seconds of each."""
    trainer = sim.trainer
    given, slot = trainer.input(0), trainer.slot(0)
    stretch = single_segment(ROUNDS, trainer.segments)
    state = [trainer.advance(given, slot, stretch, fresh=True)[0]]

    def run() -> float:
        jax.block_until_ready(state[0])
        began = time.perf_counter()
        state[0] = trainer.advance(given, state[0], stretch, fresh=False)[0]
        jax.block_until_ready(state[0])
        return (time.perf_counter() - began) / ROUNDS

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
