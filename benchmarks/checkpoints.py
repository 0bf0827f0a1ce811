"""What a checkpoint costs: 200 hospitals, the MLP 64-32, with and without state in every hospital.

python benchmarks/checkpoints.py [FOLDER]

Prints milliseconds to write one (with both flushes to the disk), of them for the arrays and checksums alone,
to read one, its size, and a round's milliseconds beside; the median of 20. FOLDER decides which disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import jaxfed
from jaxfed.storage.checkpoint import encode, read, write
from jaxfed.storage.fingerprint import settings
from jaxfed.training.progress import Progress

TIMES = 20


def main(folder: Path) -> None:
    """Print one line for each algorithm."""
    hospitals = jaxfed.data.synthetic_ehr(200, seed=0)
    for algorithm in (jaxfed.FedAvg(), jaxfed.algorithms.Scaffold()):
        sim = jaxfed.Simulation(hospitals, algorithm=algorithm, epochs=2)
        now = Progress.begin(sim.trainer, 0, None)
        now.compile()
        while now.done < 10:
            now.advance(np.array([0, 10]), 10)
        per_round = now.timings.report()["seconds_per_round"]
        config, path = settings(sim), folder / "x.checkpoint"
        encoding = _median(lambda: b"".join(encode(now.checkpoint(config))))  # noqa: B023
        writing = _median(lambda: write(path, now.checkpoint(config)))  # noqa: B023
        reading = _median(lambda: read(path))  # noqa: B023
        state = sum(leaf.nbytes for leaf in jax.tree.leaves(now.slot.state.clients))
        print(
            f"{type(algorithm).__name__}: write {1e3 * writing:.1f} ms (arrays and checksums "
            f"{1e3 * encoding:.1f}), read {1e3 * reading:.1f} ms, {path.stat().st_size / 2**20:.2f} MiB "
            f"(states of hospitals {state / 2**20:.2f}), a round {1e3 * per_round:.1f} ms"
        )
    began = time.perf_counter()
    settings(sim)
    rows = len(hospitals.y)
    print(
        f"configuration and digest of {rows} rows: {1e3 * (time.perf_counter() - began):.1f} ms, once a run"
    )


def _median(function) -> float:  # type: ignore[no-untyped-def]
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


if __name__ == "__main__":
    jaxfed.use_cpu_devices()
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        main(Path(made))
