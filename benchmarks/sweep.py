"""W6: is one sweep cheaper than the runs it is made of?

python benchmarks/sweep.py [--fraction 0.1] [--steps 4] [--seeds 4] [--processes 2] [--singles 6]

``steps`` x ``steps`` step sizes (hospitals x server) x ``seeds`` of W2's shapes: 100 ragged hospitals, sizes
clip(exp(N(5, 1.5^2)), 8, 20000), 64 features, MLP 64-64-128-1, batches of 64, 5 local epochs, 20 rounds.
``fraction`` scales the sizes of the hospitals. Three things are timed:

- the sweep in a fresh process, from its start to its end: imports, data and compilation included;
- some of the single runs, each in a fresh process, likewise;
- some of the single runs one after another in one process, without the first, which compiles.

Times of all single runs are those means times their number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent
ROUNDS, EPOCHS = 20, 5
CLIENT, SERVER = "client_optimizer.learning_rate", "algorithm.server_optimizer.learning_rate"


def sizes(fraction: float) -> np.ndarray:
    drawn = np.exp(np.random.default_rng(0).normal(5, 1.5, 100))
    return np.maximum(fraction * np.clip(drawn, 8, 20000), 8).astype(int)


def simulation(fraction: float):
    import optax

    import jaxfed

    jaxfed.use_cpu_devices()
    rng = np.random.default_rng(1)
    shift = rng.normal(size=64) / 8
    arrays = {}
    for c, n in enumerate(sizes(fraction)):
        x = rng.normal(size=(n, 64)).astype(np.float32)
        arrays[f"hospital {c}"] = (x, (x @ shift + rng.normal(size=n) > 0).astype(np.int32))
    return jaxfed.Simulation(
        jaxfed.data.from_arrays(arrays),
        model=jaxfed.models.mlp(64, 128),
        algorithm=jaxfed.FedAvg(jaxfed.optimizer(optax.sgd, learning_rate=1.0)),
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.05),
        epochs=EPOCHS,
        batch_size=64,
    )


def grid(steps: int, seeds: int) -> dict:
    return {
        CLIENT: np.geomspace(0.01, 0.2, steps).tolist(),
        SERVER: np.geomspace(0.25, 1.0, steps).tolist(),
        "seed": range(seeds),
    }


def single(sim, fields: dict, number: int) -> None:
    """One of the single runs, as a user writes it."""
    import optax

    import jaxfed

    client, server, seed = np.array(np.meshgrid(*fields.values(), indexing="ij")).reshape(3, -1).T[number]
    rule = jaxfed.optimizer(optax.sgd, learning_rate=float(server))
    sim.replace(
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=float(client)),
        algorithm=jaxfed.FedAvg(rule),
    ).run(ROUNDS, seed=int(seed), eval_every=ROUNDS, progress=False)


def part(options: argparse.Namespace) -> None:
    """What a fresh process does; prints what it measured."""
    sim, fields = simulation(options.fraction), grid(options.steps, options.seeds)
    if options.part == "sweep":
        found = sim.sweep(fields, ROUNDS, eval_every=ROUNDS, progress=False)
        assert np.isfinite(found.data["log_loss_pooled"]).all()
        print(json.dumps({"seconds of sweep()": found.provenance["seconds"]}))
        return
    single(sim, fields, 0)
    if options.part == "single":
        print("{}")
        return
    seconds = []
    for number in np.linspace(1, options.steps**2 * options.seeds - 1, options.singles).astype(int):
        began = time.perf_counter()
        single(sim, fields, int(number))
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds}))


def fresh(options: argparse.Namespace, name: str) -> tuple[float, dict]:
    """Seconds of a process from start to end, and what it printed."""
    arguments = [f"--{key}={getattr(options, key)}" for key in ("fraction", "steps", "seeds", "singles")]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, f"--part={name}", *arguments], stdout=subprocess.PIPE, check=True
    )
    return time.perf_counter() - began, json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--singles", type=int, default=6)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "sweep.json")
    parser.add_argument("--part", choices=["sweep", "single", "singles"])
    options = parser.parse_args()
    if options.part:
        part(options)
        return
    runs = options.steps**2 * options.seeds
    sweep, inside = fresh(options, "sweep")
    processes = [fresh(options, "single")[0] for _ in range(options.processes)]
    singles = fresh(options, "singles")[1]["seconds"]
    separate, running = runs * float(np.mean(processes)), runs * float(np.mean(singles))
    samples = int(sizes(options.fraction).sum()) * EPOCHS * ROUNDS * runs
    record = {
        "configurations": runs,
        "fraction of the rows": options.fraction,
        "rows": int(sizes(options.fraction).sum()),
        "sweep, fresh process (s)": sweep,
        "sweep, inside the call (s)": inside["seconds of sweep()"],
        "single run, fresh process (s)": processes,
        "single run, compiled already (s)": singles,
        "sweep / separate processes": sweep / separate,
        "sweep / running time of single runs": sweep / running,
        "sweep() / running time of single runs": inside["seconds of sweep()"] / running,
        "rows per second, all included": samples / sweep,
    }
    from jaxfed.runtime.provenance import provenance

    found = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    same = ("configurations", "fraction of the rows")
    others = [row for row in found["rows"] if any(row[key] != record[key] for key in same)]
    rows = sorted([*others, record], key=lambda row: (row["fraction of the rows"], row["configurations"]))
    options.out.write_text(json.dumps({"provenance": provenance(), "rows": rows}, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
