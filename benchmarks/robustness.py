"""Aggregators under attack: the grid of ``jaxfed bench aggregators --full``, and what noise of batches does.

python benchmarks/robustness.py [CHECKPOINTS]

Writes ``results/robustness.json`` (scores of every cell, worst cases, measured heterogeneity, summary,
machine, versions) and the heat map ``results/robustness.png``. With a folder for checkpoints a run that was
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
from jaxfed.figures.runs import save_figure

RESULTS = Path(__file__).parent / "results"
SMALL = ("none", "sign flip", "IPM", "ALIE", "mimic")
NOISE = {
    "settings": ("iid", "icu-mortality", "strong"),
    "attacks": SMALL,
    "seeds": 5,
    "rounds": 40,
    "eval_every": 4,
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
    """Run both, write the record and the figure."""
    full = jaxfed.bench.aggregators(full=True, checkpoint=checkpoints and checkpoints / "full")
    noise = jaxfed.bench.aggregators(**NOISE, batch_size=32, checkpoint=checkpoints and checkpoints / "noise")
    written = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "whole batches": record(full),
        "batches of 32": record(noise),
    }
    (RESULTS / "robustness.json").write_text(json.dumps(written, indent=1) + "\n")
    save_figure(full.plot("heatmap"), RESULTS / "robustness.png")
    print(full, noise, sep="\n")


if __name__ == "__main__":
    jaxfed.use_cpu_devices()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
