"""``jaxfed bench``: benchmarks of algorithms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import tyro

import jaxfed
from jaxfed.cli import methods as bench
from jaxfed.cli.folders import claim
from jaxfed.core.errors import InvalidInput
from jaxfed.figures.methods import convergence_panels
from jaxfed.figures.runs import save_figure
from jaxfed.runtime.provenance import provenance


def bench_command(
    what: tyro.conf.Positional[Literal["algorithms"]],
    methods: tuple[str, ...] = (),
    hospitals: int = 30,
    rounds: int = 40,
    seeds: int = 5,
    out: Path = Path("results/bench"),
    overwrite: bool = False,
) -> None:
    """Compare how fast global methods converge on hospitals that differ.

    Args:
        what: "algorithms".
        methods: names of methods; all where not given.
        hospitals: number of synthetic hospitals.
        rounds: communication rounds.
        seeds: number of seeds.
        out: folder for tables (CSV, JSON) and the figure.
        overwrite: write over the results of another benchmark.
    """
    jaxfed.use_cpu_devices()
    unknown = sorted(set(methods) - set(bench.METHODS))
    if unknown:
        raise InvalidInput(f"methods {unknown}: there are {', '.join(bench.METHODS)}")
    settings = {"hospitals": hospitals, "rounds": rounds, "seeds": seeds}
    claim(out, {"command": "bench", "methods": methods, **settings}, overwrite)
    curves, summary = bench.run(list(methods) or None, hospitals=hospitals, rounds=rounds, seeds=seeds)
    curves.to_csv(out / "curves.csv", index=False, float_format="%.5g")
    record = {
        "settings": settings,
        "provenance": provenance(),
        "rows": json.loads(summary.to_json(orient="records")),
    }
    (out / "algorithms.json").write_text(json.dumps(record, indent=1) + "\n")
    save_figure(convergence_panels(curves), out / "algorithms.png")
    print(summary.to_string(index=False, float_format="{:.4g}".format))
    print(f"Written to {out}: curves.csv, algorithms.json, algorithms.png")
