"""Robust training beside ByzFL's, on the same hospitals: the same accuracy? in what time?

python benchmarks/byzfl_training.py [--out OUT.json] [--seeds 3]

Distributed SGD with momentum in the hospitals on digits, where 3 of 13 hospitals are malicious and their rows
are lost. The whole grid (similarity of the hospitals, defence, attack, seed) is one call of
``jaxfed.bench.aggregators``; ByzFL trains run after run, in as many processes as there are cores. Both start
from the same models. What differs: random batches; neighbours of multi-Krum (ByzFL counts one more); and the
search for the strength of an optimised attack, for which jaxfed tries a grid and ByzFL takes steps that
double and then shrink. So ByzFL's rules also train against the strengths that jaxfed tries.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from statistics import NormalDist
from typing import Any

import jax
import numpy as np
import pandas as pd
import tyro
from peers import process

import jaxfed
from jaxfed.attacks.optimised import STRENGTHS
from jaxfed.bench.benchmark import spec_of
from jaxfed.bench.catalogue import Grid
from jaxfed.bench.cells import Setting, cells_of, settings_of
from jaxfed.core import keys
from jaxfed.core.dataset import TEST, TRAIN

RESULTS = Path(__file__).parent / "results"
HOSPITALS, F = 13, 3
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("Average", {}),
    "median": ("Median", {}),
    "trimmed mean": ("TrMean", {"f": F}),
    "geometric median": ("GeometricMedian", {"nu": 1e-6, "T": 50}),
    "multi-Krum": ("MultiKrum", {"f": F}),
}
BEFORE: dict[str, list[tuple[str, dict[str, Any]]]] = {"none": [], "NNM": [("NNM", {"f": F})]}
ATTACKS = {
    "none": None,
    "mean flip": "SignFlipping",
    "IPM": "Optimal_InnerProductManipulation",
    "ALIE": "Optimal_ALittleIsEnough",
}
# What jaxfed tries, and the attack's own strength; ByzFL's deviations of ALIE are sqrt(h / (h - 1)) times as
# large for h honest hospitals.
OWN = {"IPM": 1.0, "ALIE": NormalDist().inv_cdf((HOSPITALS - F - (HOSPITALS // 2 + 1 - F)) / (HOSPITALS - F))}
SCALE = {"IPM": 1.0, "ALIE": ((HOSPITALS - F - 1) / (HOSPITALS - F)) ** 0.5}
TRIED = {name: [SCALE[name] * strength for strength in (*STRENGTHS, OWN[name])] for name in OWN}


def grid_of(seeds: int, steps: int) -> Grid:
    """The grid of both."""
    return Grid(
        rules=tuple(RULES),
        before=tuple(BEFORE),
        attacks=tuple(ATTACKS),
        settings=("digits gamma=1", "digits gamma=0.33", "digits gamma=0"),
        hospitals=HOSPITALS,
        malicious=F / HOSPITALS + 1e-6,
        rounds=steps,
        eval_every=steps,
        seeds=seeds,
        steps=1,
        batch_size=25,
        momentum=0.9,
        hidden=32,
    )


def ours(grid: Grid) -> tuple[pd.DataFrame, dict[str, float]]:
    """Accuracies by cell and seed, and the seconds of the call, with what of it is compilation."""
    began = time.perf_counter()
    fields = {name: getattr(grid, name) for name in Grid.__dataclass_fields__}
    result = jaxfed.bench.aggregators(**fields)
    seconds = {"whole": time.perf_counter() - began, "compiling": result.provenance["compile_seconds"]}
    rows = result.chosen[result.chosen["round"] == grid.rounds]
    return rows[["setting", "defence", "rule", "before", "attack", "seed", "score"]], seconds


def write_hospitals(setting: Setting, grid: Grid, attacked: bool, seed: int, path: Path) -> None:
    """The rows that train and those that are scored, and the initial model of this seed."""
    data = setting.hospitals
    arrays: dict[str, np.ndarray] = {}
    for part, split, members in (
        ("train", TRAIN, np.flatnonzero(setting.honest) if attacked else np.arange(len(data))),
        ("test", TEST, np.flatnonzero(setting.honest)),
    ):
        for number, k in enumerate(members):
            rows = (data.owner == k) & (data.split == split)
            arrays[f"{part}_x_{number}"], arrays[f"{part}_y_{number}"] = data.x[rows], data.y[rows]
    (local,) = spec_of(cells_of(grid, [setting]), grid).recipe.locals
    variables = local.problem.init(keys.purpose(keys.run_key(seed), keys.INIT), data.x[:1])
    names = [f"hidden_{i}" for i in range(bool(grid.hidden))] + ["head"]
    leaves = [variables.params[name][leaf] for name in names for leaf in ("kernel", "bias")]
    arrays |= {f"initial_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    np.savez(path, **arrays)


def theirs(
    cells: pd.DataFrame, grid: Grid, python: Path, scratch: Path, tried: dict[str, list[float]]
) -> tuple[list[dict], float]:
    """ByzFL's answer for each row of ``cells``, and the seconds of all of them.

    ``tried`` are the strengths of attacks that do without ByzFL's search.
    """
    settings = {setting.name: setting for setting in settings_of(grid)}
    paths = {}
    for name, setting in settings.items():
        for attacked in (False, True):
            for seed in range(grid.seeds):
                path = paths[name, attacked, seed] = scratch / f"{name}-{attacked}-{seed}.npz"
                write_hospitals(setting, grid, attacked, seed, path)
    free: SimpleQueue[process.Process] = SimpleQueue()
    workers = [
        process.Process("peers.byzfl_training", python, scratch / f"byzfl-{number}.log")
        for number in range(os.cpu_count() or 1)
    ]
    for worker in workers:
        free.put(worker)

    def train(row: dict[str, Any]) -> dict[str, Any]:
        attack = ATTACKS[row["attack"]]
        worker = free.get()
        try:
            return worker.ask(
                patience=900, hospitals=str(paths[row["setting"], attack is not None, row["seed"]]), f=F,
                rule=RULES[row["rule"]], before=BEFORE[row["before"]], attack=attack, steps=grid.rounds,
                batch_size=grid.batch_size, momentum=grid.momentum, rate=0.3, seed=row["seed"],
                strengths=tried.get(row["attack"]),
            )  # fmt: skip
        finally:
            free.put(worker)
            print(".", end="", flush=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(len(workers)) as pool:
        answers = list(pool.map(train, cells.to_dict("records")))
    seconds = time.perf_counter() - began
    print()
    for worker in workers:
        worker.close()
    return answers, seconds


def main(
    seeds: int = 3,
    steps: int = 250,
    out: Path | None = None,
    venvs: Path = Path("~/.cache/jaxfed/peers"),
) -> None:
    """Train with both, print, and write the record.

    Args:
        seeds: how many.
        steps: rounds.
        out: the JSON file; None for none.
        venvs: where ByzFL's environment is, or is made.
    """
    grid = grid_of(seeds, steps)
    python = process.interpreter("byzfl", venvs.expanduser())
    cells, seconds = ours(grid)
    optimised = cells["attack"].isin([*TRIED])
    with tempfile.TemporaryDirectory() as scratch:
        answers, byzfl_seconds = theirs(cells, grid, python, Path(scratch), {})
        others, _ = theirs(cells[optimised], grid, python, Path(scratch), TRIED)
    cells = cells.rename(columns={"score": "jaxfed"})
    cells["byzfl"] = [float(np.mean(answer["accuracies"])) for answer in answers]
    same = "byzfl, same strengths"
    cells[same] = cells["byzfl"]
    cells.loc[optimised, same] = [float(np.mean(answer["accuracies"])) for answer in others]
    by = cells.groupby(["setting", "defence", "attack"], sort=False)[["jaxfed", "byzfl", same]]
    means, deviations = by.mean(), by.std()
    print(means.round(3).to_string())
    print(f"{len(cells)} runs: jaxfed {seconds['whole']:.0f} s ({seconds['compiling']:.0f} s compiling), "
          f"ByzFL {byzfl_seconds:.0f} s; {byzfl_seconds / seconds['whole']:.1f} times")  # fmt: skip
    record = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": {"jax": jax.__version__, "byzfl": answers[0]["version"], "numpy": np.__version__},
        "grid": {name: getattr(grid, name) for name in Grid.__dataclass_fields__},
        "runs": len(cells),
        "seconds": {"jaxfed": seconds, "byzfl": byzfl_seconds},
        "rows": [
            {
                **dict(zip(("setting", "defence", "attack"), index, strict=True)),
                **{name: round(float(means.loc[index, name]), 4) for name in means},
                **{f"{name} sd": round(float(deviations.loc[index, name]), 4) for name in means},
            }
            for index in means.index
        ],
    }
    if out is not None:
        out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    jaxfed.use_cpu_devices()
    tyro.cli(main)
