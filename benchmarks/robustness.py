"""Aggregators under attack: every rule and attack on the generator's presets, some of them on digits, with
batches of 32 rows, and with a neural network.

python benchmarks/robustness.py [CHECKPOINTS]

Writes ``results/robustness.json`` (scores of every cell, worst cases, measured heterogeneity, summary,
machine, versions) and the heat maps ``results/robustness.png``. With a folder for checkpoints a run that was
cut goes on.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import jaxfed
from jaxfed.bench import Benchmark

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
    (RESULTS / "robustness.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    jaxfed.use_cpu_devices()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
