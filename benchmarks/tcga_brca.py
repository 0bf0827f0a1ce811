"""The published rows of Fed-TCGA-BRCA, measured again.

Ogier du Terrail et al. 2022, "FLamby: datasets and benchmarks for cross-silo federated learning in realistic
healthcare settings", arXiv:2210.04620: Harrell's C-index on the pooled test rows of six regions, mean and
standard deviation over the seeds 42 to 46, computed from the files of their repository
(github.com/owkin/FLamby, flamby/results/results_benchmark_fed_tcga_brca, August 2022). A linear Cox model of
39 features as they are (age in years beside indicators), with the loss inside of batches of 8. Pooled and
local models: Adam, step size .1, 30 epochs. Federated: 5 rounds of 100 local steps of SGD, all regions in
every round, weights n_k.

At these settings results differ much between seeds (the published FedAvg has a standard deviation of .175):
ages of 26 to 90 stand beside indicators. The initial values are not published; they are drawn anew from the
same distribution. Below the published rows are some with standardised features.

    python benchmarks/tcga_brca.py --folder FOLDER_WITH_THE_THREE_FILES
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax
import pandas as pd
import tyro

import jaxfed
from jaxfed import algorithms
from jaxfed.evaluation import discrete_hazard, life_table
from jaxfed.runtime.provenance import provenance

# C-index on the pooled test rows: mean, sd over 5 seeds
PUBLISHED = {
    "Pooled training": (0.704, 0.114),
    "Local 0 (Northeast)": (0.695, 0.043),
    "Local 1 (South)": (0.728, 0.048),
    "Local 2 (West)": (0.604, 0.031),
    "Local 3 (Midwest)": (0.565, 0.070),
    "Local 4 (Europe)": (0.725, 0.034),
    "Local 5 (Canada)": (0.710, 0.005),
    "FedAvg": (0.735, 0.175),
    "FedProx": (0.717, 0.162),
    "SCAFFOLD": (0.699, 0.035),
    "FedAdam": (0.842, 0.017),
    "FedYogi": (0.842, 0.017),
    "FedAdagrad": (0.834, 0.007),
}
# The published settings: the algorithm and the regions' step size.
MOMENTS = {"beta1": 0.9, "tau": 1e-8, "initial": 0.0}
FEDERATED = {
    "FedAvg": (algorithms.FedAvg(), 0.1),
    "FedProx": (algorithms.FedProx(mu=0.1), 0.1),
    "SCAFFOLD": (algorithms.Scaffold(weighting="samples"), 0.01),
    "FedAdam": (algorithms.FedAdam(learning_rate=0.1, beta2=0.999, **MOMENTS), 0.01),
    "FedYogi": (algorithms.FedYogi(learning_rate=0.1, beta2=0.999, **MOMENTS), 0.01),
    "FedAdagrad": (algorithms.FedAdagrad(learning_rate=1.0, **MOMENTS), 0.01),
}
INTERVALS = 6
RESULTS = Path(__file__).parent / "results" / "tcga_brca.json"


def main(folder: str | None = None, seeds: int = 10, out: Path = RESULTS) -> None:
    """Print published and measured C-indices side by side, and write them as JSON.

    Args:
        folder: where ``brca.csv``, ``centers.csv`` and ``train_test_split.csv`` are.
        seeds: of initial values and of batches.
        out: the JSON file.
    """
    cindex = measure(folder, seeds)
    table = pd.DataFrame(PUBLISHED, index=["published", "published sd"]).T.reindex([*cindex])
    table["measured"] = [np.mean(values) for values in cindex.values()]
    table["measured sd"] = [np.std(values, ddof=1) if seeds > 1 else np.nan for values in cindex.values()]
    table["difference"] = table["measured"] - table["published"]
    print(table.to_string(float_format="{:.3f}".format, na_rep="-"))
    record = {"seeds": seeds, "provenance": provenance(), "cindex": cindex}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


def measure(folder: str | None, seeds: int) -> dict[str, list[float]]:
    """The C-index on the pooled test rows of every method, for every seed."""
    raw = jaxfed.data.tcga_brca(folder, standardize="none")
    sim = jaxfed.Simulation(raw, model=jaxfed.models.logistic(), batch_size=8, splits=("test",))
    adam = jaxfed.optimizer(optax.adam, learning_rate=0.1)
    pooled = sim.replace(hospitals=raw.pooled(), client_optimizer=adam, epochs=30)
    local = sim.replace(algorithm=jaxfed.LocalOnly(), client_optimizer=adam, epochs=30)
    methods: dict[str, Callable[[int], list[float]]] = {
        "Pooled training": lambda seed: [_cindex(pooled, 1, seed)],
        "Local": lambda seed: _local(local, sim, seed),
    }
    for name, (algorithm, learning_rate) in FEDERATED.items():
        sgd = jaxfed.optimizer(optax.sgd, learning_rate=learning_rate)
        arm = sim.replace(algorithm=algorithm, client_optimizer=sgd, steps=100)
        methods[name] = lambda seed, arm=arm: [_cindex(arm, 5, seed)]
    for name, (arm, rounds) in _standardised(folder).items():
        methods[name] = lambda seed, arm=arm, rounds=rounds: [_cindex(arm, rounds, seed)]
    names = [*PUBLISHED, *(name for name in methods if name not in PUBLISHED and name != "Local")]
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds):
        values = [value for method in methods.values() for value in method(seed)]
        for name, value in zip(names, values, strict=True):
            found[name].append(value)
    return found


def _standardised(folder: str | None) -> dict[str, tuple[jaxfed.Simulation, int]]:
    """Arms with federated standardisation: Cox's loss in batches and of whole regions, a discrete hazard."""
    data = jaxfed.data.tcga_brca(folder)
    cuts = life_table(data, split="train", intervals=60).cuts(INTERVALS)
    sgd = jaxfed.optimizer(optax.sgd, learning_rate=0.03)
    cox = jaxfed.Simulation(data, model=jaxfed.models.logistic(), client_optimizer=sgd, splits=("test",))
    whole = cox.replace(
        algorithm=jaxfed.FedSGD(server_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=1.0))
    )
    hazard = cox.replace(hospitals=data.replace(task=discrete_hazard(cuts)))
    return {
        "FedAvg, standardised, batches of 32": (cox, 50),
        "FedSGD, standardised, whole regions": (whole, 50),
        f"FedAvg, standardised, hazards of {len(cuts)} intervals": (hazard, 50),
        "Pooled, standardised, batches of 32": (cox.pooled(), 50),
    }


def _initial(seed: int, outputs: int) -> jaxfed.Variables:
    rng, bound = np.random.default_rng(seed), 1 / np.sqrt(39)
    kernel, bias = (
        rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((39, outputs), (outputs,))
    )
    return jaxfed.Variables({"head": {"kernel": kernel, "bias": bias}}, {})


def _cindex(sim: jaxfed.Simulation, rounds: int, seed: int) -> float:
    initial = _initial(seed, sim.hospitals.outputs)
    run = sim.run(rounds, seed=seed, eval_every=rounds, initial=initial, progress=False)
    return float(run.history.pooled["cindex"][-1, -1])


def _local(local: jaxfed.Simulation, common: jaxfed.Simulation, seed: int) -> list[float]:
    """Each region's model on the test rows of all regions."""
    run = local.run(1, seed=seed, initial=_initial(seed, 1), progress=False)
    test = common.hospitals.split == 2
    x, (time, event) = common.hospitals.x[test], common.hospitals.y[test].T
    scores = []
    for h in range(len(local.hospitals)):
        own = jax.tree.map(lambda leaf, h=h: np.asarray(leaf[h]), run.variables.params["head"])
        scores.append(jaxfed.evaluation.harrell_concordance(x @ own["kernel"][:, 0], time, event))
    return scores


if __name__ == "__main__":
    tyro.cli(main)
