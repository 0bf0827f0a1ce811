"""How often intervals contain the truth that the generator knows, and what metrics with intervals cost.

    python benchmarks/coverage.py

The model that is judged predicts the true risks p, so that each hospital's true AUROC is known (the expected
one of a large population of its patients). A replicate draws patients with replacement and their labels
from p.

- AUROC of a hospital of 20, 100 and 1000 rows: of all samples with both classes, and of those with at least 5
  rows of each, which count in the worst, the range and the random-effects mean.
- Random-effects mean of 10, 30 and 100 hospitals drawn from a population of them, and the prediction interval
  of one more; beside it the pooled plain logits of the same samples.
- A default run of 1000 hospitals, 20 rounds with an evaluation each, and its metrics with intervals, both
  without compiling.
"""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import jaxfed  # noqa: E402
from jaxfed.data.oracle import oracle_auroc  # noqa: E402
from jaxfed.evaluation import auroc, pool_auroc, random_effects  # noqa: E402
from jaxfed.evaluation.tables import estimates_of  # noqa: E402
from jaxfed.runtime.provenance import provenance  # noqa: E402

RESULT = Path(__file__).parent / "results" / "coverage.json"
HOSPITALS, PATIENTS = 200, 5000
ROWS = {20: 200, 100: 100, 1000: 15}  # rows of a hospital: replicates of all hospitals
POOLED = ((10, 20, 1), (30, 20, 1), (10, 100, 5), (30, 100, 5), (100, 100, 5), (10, 1000, 5), (30, 1000, 5))
REPLICATES = 500
TOGETHER = 4
PRESETS = ("icu-mortality", "extreme")
ROUNDS = 5  # that are timed


def main(out: Path = RESULT, cost: bool = True) -> None:
    """Measure, print and write JSON."""
    record: dict[str, Any] = {"provenance": provenance(), "level": 0.95, "presets": {}}
    for name in PRESETS:
        record["presets"][name] = measure(name)
        write(record, out)
    if cost:
        record["cost"] = costs()
        write(record, out)
    print(out.read_text())


def write(record: dict[str, Any], out: Path) -> None:
    """Write JSON with four digits."""
    out.write_text(f"{json.dumps(jax.tree.map(rounded, record), indent=2)}\n")


def rounded(value: Any) -> Any:
    """Numbers of NumPy as JSON's, with four digits."""
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


def measure(preset: str) -> dict[str, Any]:
    """The coverage of all intervals on hospitals of a preset."""
    sizes = [PATIENTS] * HOSPITALS
    data = jaxfed.data.synthetic_ehr(HOSPITALS, preset=preset, sizes=sizes, split=None, seed=3)
    p = data.truth["p"].reshape(HOSPITALS, PATIENTS)
    truth = np.array([oracle_auroc(risks) for risks in p])
    logits = np.log(truth / (1 - truth))
    seconds = time.perf_counter()
    record = {
        "true_auroc": {"mean": truth.mean(), "least": truth.min(), "most": truth.max()},
        "tau": logits.std(),
        "auroc": {str(n): of_hospitals(p, truth, n, count) for n, count in ROWS.items()},
        "random_effects": [of_pooled(p, logits, *setting) for setting in POOLED],
    }
    return {**record, "seconds": time.perf_counter() - seconds}


def samples(key: Array, p: Array, hospitals: Array, n: int) -> tuple[Any, Array, Array]:
    """AUROCs of samples of ``n`` rows of hospitals, and the rows of each class."""
    k = len(hospitals)
    of_rows, of_labels = jax.random.split(key)
    row = jax.random.randint(of_rows, (k, n), 0, p.shape[1])
    risk = p[hospitals[:, None], row]
    y = jax.random.uniform(of_labels, (k, n)) < risk
    segment = jnp.repeat(jnp.arange(k), n)
    estimate = auroc(jnp.log(risk / (1 - risk)).reshape(-1), y.reshape(-1), segment, k)
    return estimate, y.sum(1), n - y.sum(1)


@partial(jax.jit, static_argnames=("n", "count"))
def replicated(key: Array, p: Array, n: int, count: int) -> tuple[Any, Array, Array]:
    """``[count, hospitals]`` of everything in :func:`samples`."""
    every = jnp.arange(len(p))
    keys = jax.random.split(key, count)
    return jax.lax.map(lambda key: samples(key, p, every, n), keys, batch_size=TOGETHER)


def of_hospitals(p: np.ndarray, truth: np.ndarray, n: int, count: int) -> dict[str, Any]:
    """Coverage of the AUROC's interval."""
    estimate, events, others = replicated(jax.random.key(n), jnp.asarray(p, jnp.float32), n, count)
    low, high = np.asarray(estimate.low), np.asarray(estimate.high)
    few = np.minimum(np.asarray(events), np.asarray(others))
    record: dict[str, Any] = {"events": float(np.mean(events))}
    for name, least in (("both classes", 1), ("5 of each class", 5)):
        used = few >= least
        record[name] = {
            "samples": int(used.sum()),
            "share_of_samples": used.mean(),
            "coverage": ((low <= truth) & (truth <= high))[used].mean(),
            "truth_below": (truth < low)[used].mean(),
            "truth_above": (truth > high)[used].mean(),
            "width": (high - low)[used].mean(),
        }
    return record


@partial(jax.jit, static_argnames=("k", "n", "least"))
def pooled(key: Array, p: Array, logits: Array, k: int, n: int, least: int) -> Any:
    """Pooled areas, pooled plain logits, and the truth of another hospital, ``[REPLICATES]``."""

    def replicate(key: Array) -> Any:
        of_hospitals, of_rows, of_new = jax.random.split(key, 3)
        hospitals = jax.random.randint(of_hospitals, (k,), 0, len(p))
        estimate, events, others = samples(of_rows, p, hospitals, n)
        counted = jnp.minimum(events, others) >= least
        area = jnp.where(counted, estimate.value, jnp.nan)
        ours = pool_auroc(area, events, others, estimate.se)
        plain = random_effects(jnp.where(counted, estimate.centre, jnp.nan), estimate.se)
        return ours, plain, jax.random.choice(of_new, logits)

    return jax.lax.map(replicate, jax.random.split(key, REPLICATES), batch_size=TOGETHER)


def of_pooled(p: np.ndarray, logits: np.ndarray, k: int, n: int, least: int) -> dict[str, Any]:
    """Coverage of the intervals of the random-effects mean and of a new hospital."""
    arrays = jnp.asarray(p, jnp.float32), jnp.asarray(logits, jnp.float32)
    ours, plain, new = jax.tree.map(np.asarray, pooled(jax.random.key(k + n), *arrays, k, n, least))
    enough = ours.hospitals > 2
    mean = logits.mean()
    record: dict[str, Any] = {
        "hospitals": k, "rows": n, "least_of_each_class": least, "counted": ours.hospitals.mean(),
        "replicates": int(enough.sum()),
    }  # fmt: skip
    for name, found in (("linearised", ours), ("plain logits", plain)):
        inside = (found.prediction_low <= new) & (new <= found.prediction_high)
        record[name] = {
            "coverage": ((found.low <= mean) & (mean <= found.high))[enough].mean(),
            "bias": found.mean[enough].mean() - mean,
            "tau": found.tau[enough].mean(),
            "prediction_coverage": inside[enough].mean(),
        }
    return record


def costs() -> dict[str, float]:
    """Seconds of a default run of 1000 hospitals with 20 evaluations, and of its metrics with intervals."""
    sim = jaxfed.Simulation(
        jaxfed.data.synthetic_ehr(1000),
        model=jaxfed.models.mlp(64, 32),
        algorithm=jaxfed.FedAvg(),
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.05),
        epochs=2,
        batch_size=32,
    )
    run = sim.run(ROUNDS, eval_every=1, progress=False)
    part = run.predictions.of("test")
    performance = run.performance()  # compiles, and so do its tables
    _ = performance.across
    arrays = (part.outputs, part.y, part.owner, len(part.hospitals))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        estimates_of(performance.table, {}, *arrays, threshold=performance.threshold)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    table = run.performance()
    _ = (table.hospitals, table.pooled, table.across)
    whole = time.perf_counter() - start
    training = run.provenance["seconds_per_round"] * 20
    return {
        "test_rows": len(part), "run_seconds": training, "metrics_seconds": min(seconds),
        "performance_seconds": whole, "share_of_run": min(seconds) / training,
        "performance_share_of_run": whole / training,
    }  # fmt: skip


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
