"""Aggregators under attack: every rule and attack on the generator's presets, some of them on digits, with
batches of 32 rows, and with a neural network.

python benchmarks/robustness.py [CHECKPOINTS]

Writes ``results/robustness.json`` (scores of every cell, worst cases, measured heterogeneity, summary, the
time of a round by defence, machine, versions) and the heat maps ``results/robustness.png``. With a folder for
checkpoints a run that was cut goes on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from pathlib import Path
from statistics import median
from typing import Any

import jaxfed
from jaxfed.bench import Benchmark
from jaxfed.bench.benchmark import spec_of
from jaxfed.bench.catalogue import ATTACKS, RULES, Grid
from jaxfed.bench.cells import cells_of, defences_of, named, settings_of

RESULTS = Path(__file__).parent / "results"
PRESETS = ("iid", "mild", "icu-mortality", "strong", "extreme")
FEW = ("none", "sign flip", "IPM", "ALIE", "mimic")
FIVE = ("mean", "median", "trimmed mean", "geometric median", "multi-Krum")
LONG = {"rounds": 40, "eval_every": 4}
PARTS: dict[str, dict[str, Any]] = {
    "presets": {
        "full": True,
        "before": ("none", "NNM"),
        "settings": ("iid", "icu-mortality", "strong"),
    },
    "all presets and pre-aggregators": {
        "rules": FIVE,
        "before": ("none", "NNM", "bucketing", "ARC"),
        "attacks": FEW,
        "settings": PRESETS,
        **LONG,
    },
    # 2^20 sets of hospitals for each of 21 strengths of an attack, in every round
    "minimum diameter": {
        "rules": ("mean", "MDA"),
        "attacks": FEW,
        "settings": ("icu-mortality",),
        "seeds": 1,
        **LONG,
    },
    "digits": {
        "settings": ("digits alpha=0.1", "digits gamma=0", "digits gamma=0.33", "digits gamma=1"),
        "rules": FIVE,
        "attacks": FEW,
        **LONG,
    },
    "batches of 32 rows": {
        "settings": ("iid", "icu-mortality", "strong"),
        "rules": ("mean", "median", "trimmed mean", "geometric median"),
        "attacks": FEW,
        "batch_size": 32,
    },
    "neural network, batches of 32 rows": {
        "settings": ("iid", "icu-mortality"),
        "rules": ("mean", "median", "trimmed mean", "geometric median"),
        "attacks": FEW,
        "batch_size": 32,
        "steps": 10,
        "hidden": 16,
        "rounds": 40,
        "eval_every": 4,
    },
}


def record(result: Benchmark) -> dict[str, Any]:
    """The results without the curves; a score for each setting, defence and attack."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in result.final.to_dict(orient="records"):
        cell = scores.setdefault(row["setting"], {}).setdefault(row["defence"], {})
        cell[row["attack"]] = round(row["score"], 4)
    whole = result.record()
    worst = [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        for row in whole["worst cases"]
    ]
    kept = ("grid", "provenance", "metric", "measured", "impossible", "summary")
    return {**{name: whole[name] for name in kept}, "worst cases": worst, "scores": scores}


def milliseconds() -> dict[str, dict[str, float]]:
    """Of a round on one core, by defence and attack, compiled and warm, on the default preset."""
    grid = Grid(rules=tuple(RULES), before=("none", "NNM"), settings=("icu-mortality",))
    (setting,) = settings_of(grid)
    spec = spec_of(cells_of(grid, [setting]), grid)
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    defences = {named(d.rule, d.before): d for d in defences_of(grid, setting)[0]}
    times: dict[str, dict[str, float]] = {name: {} for name in defences}
    for name, defence in defences.items():
        rounds = 2 if defence.rule in ("SMEA", "MDA") else 50
        for attack in ("none", "IPM"):
            harm = ATTACKS[attack](setting.hospitals, setting.malicious)
            parts: list[Any] = [harm, defence.mixer, defence.aggregator]
            fields |= {"aggregator": jaxfed.chain(*filter(None, parts)), "devices": 1}
            sim = jaxfed.Simulation(**fields)
            runs = [sim.run(rounds, eval_every=rounds, progress=False) for _ in range(3)]
            seconds = median(run.provenance["seconds_per_round"] for run in runs)
            times[name][attack] = round(1e3 * seconds, 3)
    return times


def main(checkpoints: Path | None) -> None:
    """Run all parts, write the record and the figure."""
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}
    written: dict[str, Any] = {"machine": machine}
    for name, grid in PARTS.items():
        folder = checkpoints and checkpoints / name.replace(",", "").replace(" ", "-")
        result = jaxfed.bench.aggregators(**grid, checkpoint=folder)
        written[name] = record(result)
        print(name, result, sep="\n")
        if name == "presets":
            result.plot("heatmap").savefig(RESULTS / "robustness.png", dpi=60)
    written["milliseconds of a round"] = milliseconds()
    (RESULTS / "robustness.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    jaxfed.use_cpu_devices()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
