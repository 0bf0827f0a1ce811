"""What correlated noise is worth at equal epsilon, for hospitals that take turns.

    python benchmarks/correlated_noise.py

Hospitals of the generator, FedAvg with logistic regression, a tenth of the hospitals in a round, ten cycles.
The error of sums of updates is computed; the test AUROC at the end is a mean over seeds.
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
HOSPITALS, SIZE, ROUNDS, SEEDS, EPSILONS = 200, 20, 100, 3, (4.0, 16.0)
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
    cycle = HOSPITALS // SIZE
    rows = [{"noise": "none", "epsilon": None, **measured(plain)}]
    for epsilon in EPSILONS:
        for name, correlation in ARMS.items():
            privacy = HospitalDP(clip=0.3, epsilon=epsilon, rounds=ROUNDS, correlation=correlation)
            sim = plain.replace(privacy=privacy)
            error = 1.0 if correlation is None else correlation.for_cycle(cycle).relative_error(cycle, ROUNDS)
            noise = float(sim.private.noise[0])
            rows.append(
                {"noise": name, "epsilon": epsilon, "multiplier": noise, "error": error, **measured(sim)}
            )
            print(rows[-1], flush=True)
    settings = {"hospitals": HOSPITALS, "size": SIZE, "rounds": ROUNDS, "seeds": SEEDS, "delta": 1e-5}
    record = {"settings": settings, "provenance": provenance(), "rows": rows}
    (RESULTS / "correlated_noise.json").write_text(json.dumps(record, indent=1) + "\n")


def measured(sim: jaxfed.Simulation) -> dict[str, float]:
    """Test AUROC of the last round: the mean and the range over seeds."""
    frame = sim.sweep({"seed": range(SEEDS)}, ROUNDS, eval_every=ROUNDS, progress=False).to_frame()
    last = frame[frame["round"] == ROUNDS]["auroc"]
    return {"auroc": float(last.mean()), "lowest": float(last.min()), "highest": float(last.max())}


if __name__ == "__main__":
    main()
