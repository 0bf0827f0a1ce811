"""What correlated noise is worth at equal epsilon, for hospitals that take turns.

    python benchmarks/correlated_noise.py

Hospitals of the generator, FedAvg with logistic regression, a tenth of the hospitals in a round, ten cycles,
clip .1, epsilon 4. ``error`` is the mean squared error of sums of updates relative to independent noise, in
closed form; the test AUROC after the last round is a mean over seeds, for several step sizes of the
hospitals: with small steps the model is a sum of updates, with large ones a round forgets earlier noise.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import jax
import optax

jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import jaxfed  # noqa: E402
from jaxfed.privacy import BandMF, HospitalDP, Tree  # noqa: E402
from jaxfed.runtime.provenance import provenance  # noqa: E402

RESULTS = Path(__file__).parent / "results"
HOSPITALS, SIZE, ROUNDS, SEEDS, EPSILON, CLIP = 100, 10, 100, 2, 4.0, 0.1
STEPS = (0.003, 0.01, 0.03, 0.1)
ARMS = {
    "independent": None,
    "tree": Tree(),
    "banded, square root": BandMF(),
    "banded, least error": BandMF(rounds=ROUNDS),
}


def main() -> None:
    """Run, print and save."""
    warnings.simplefilter("ignore")
    data = jaxfed.data.synthetic_ehr(HOSPITALS, preset="icu-mortality", seed=0)
    plain = jaxfed.Simulation(
        data,
        model=jaxfed.models.logistic(),
        algorithm=jaxfed.algorithms.FedAvg(weighting="uniform"),
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.1),
        participation=jaxfed.Cyclic(SIZE),
        splits=("test",),
    )
    rows = [{"noise": "none", "auroc": measured(plain, 1)}]
    for name, correlation in ARMS.items():
        sim = plain.replace(
            privacy=HospitalDP(clip=CLIP, epsilon=EPSILON, rounds=ROUNDS, correlation=correlation)
        )
        used, cycle = sim.private.ledger.correlation, sim.private.cycle
        row = {"noise": name, "noise_multiplier": float(sim.private.noise[0])}
        row |= {"error": used.relative_error(cycle, ROUNDS), "auroc": measured(sim, SEEDS)}
        rows.append(row)
        print(row, flush=True)
    settings = {"hospitals": HOSPITALS, "size": SIZE, "rounds": ROUNDS, "seeds": SEEDS, "epsilon": EPSILON}
    record = {"settings": {**settings, "delta": 1e-5, "clip": CLIP}, "provenance": provenance(), "rows": rows}
    (RESULTS / "correlated_noise.json").write_text(json.dumps(record, indent=1) + "\n")


def measured(sim: jaxfed.Simulation, seeds: int) -> dict[str, float]:
    """The mean test AUROC after the last round, for each step size."""
    axes = {"client_optimizer.learning_rate": STEPS, "seed": range(seeds)}
    frame = sim.sweep(axes, ROUNDS, eval_every=ROUNDS, progress=False).to_frame()
    last = frame[frame["round"] == ROUNDS].groupby("client_optimizer.learning_rate")["auroc"].mean()
    return {f"{step:g}": round(float(value), 4) for step, value in last.items()}


if __name__ == "__main__":
    main()
