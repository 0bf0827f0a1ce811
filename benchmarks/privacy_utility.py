"""What privacy costs on hospitals of the generator and on the four heart disease hospitals.

    python benchmarks/privacy_utility.py [FOLDER OF THE HEART DATA]

Logistic regression by FedAvg with DP-SGD of each patient (clip 1, delta 1e-5), beside every hospital alone
and pooled data with the same epsilon, and all of them without privacy (dashes). Bands: the range over seeds.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import jax
import optax

jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import jaxfed  # noqa: E402
from jaxfed.figures.privacy import utility_figure  # noqa: E402
from jaxfed.privacy import PatientDP  # noqa: E402
from jaxfed.runtime.provenance import provenance  # noqa: E402

RESULTS = Path(__file__).parent / "results"
EPSILONS, ROUNDS, SEEDS, RATE = (0.5, 1.0, 3.0, 10.0), 20, 3, 0.1


def main() -> None:
    """Run, print and save."""
    warnings.simplefilter("ignore")
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    sets = {
        "generator": jaxfed.data.synthetic_ehr(20, preset="icu-mortality", seed=0),
        "heart": jaxfed.data.heart_disease(folder),
    }
    record = {
        "settings": {"epsilons": EPSILONS, "rounds": ROUNDS, "seeds": SEEDS, "rate": RATE, "delta": 1e-5},
        "provenance": provenance(),
        "rows": {},
    }
    for name, data in sets.items():
        sim = jaxfed.Simulation(
            data,
            model=jaxfed.models.logistic(),
            client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.5),
            privacy=PatientDP(clip=1.0, noise_multiplier=1.0, rate=RATE),
        )
        table = sim.privacy_utility(EPSILONS, ROUNDS, seeds=SEEDS, progress=False)
        utility_figure(table, "test AUROC", name).savefig(RESULTS / f"privacy_utility_{name}.png", dpi=100)
        summary = table.groupby(["arm", "epsilon"])[["mean", "worst"]].mean()
        print(f"\n{name}\n{summary.to_string(float_format='{:.3f}'.format)}", flush=True)
        record["rows"][name] = json.loads(table.to_json(orient="records"))
        (RESULTS / "privacy_utility.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
