"""``jaxfed bench``: benchmarks of algorithms and of aggregators."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

import jaxfed
from jaxfed.cli import methods as bench
from jaxfed.cli.folders import claim
from jaxfed.core import checks
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.figures.methods import convergence_panels
from jaxfed.figures.runs import save_figure
from jaxfed.runtime.provenance import provenance

EVAL_EVERY = 2  # rounds between evaluations of algorithms
CHECKPOINT = "checkpoint"  # the folder of the checkpoints of a benchmark, inside of that of its results


@dataclasses.dataclass(frozen=True)
class AlgorithmsOptions:
    """Compare how fast global methods converge on hospitals that differ."""

    methods: tuple[str, ...] = ()
    """Names of methods; all where not given."""
    hospitals: int = 30
    """Number of synthetic hospitals."""
    rounds: int = 40
    """Communication rounds."""
    seeds: int = 5
    """Number of seeds."""
    out: Path = Path("results/bench")
    """Folder for tables (CSV, JSON) and the figure."""
    overwrite: bool = False
    """Write over the results of another benchmark."""


@dataclasses.dataclass(frozen=True)
class AggregatorsOptions:
    """Compare aggregators under attacks on hospitals that differ: which rule to take under what.

    A benchmark that was cut goes on with the same command.
    """

    rules: tuple[str, ...] = ()
    """Names of rules, such as mean "trimmed mean"; a few where not given, or all but SMEA and MDA
    with --full."""
    before: tuple[str, ...] = ()
    """Pre-aggregators: none, NNM, bucketing."""
    attacks: tuple[str, ...] = ()
    """Names of attacks, such as none IPM ALIE."""
    settings: tuple[str, ...] = ()
    """Kinds of hospitals, such as iid icu-mortality "digits gamma=0.33"."""
    hospitals: int = 20
    """Number of hospitals."""
    malicious: float = 0.2
    """Share of the hospitals that attack."""
    rounds: int | None = None
    """Communication rounds; 20, or 40 with --full."""
    eval_every: int | None = None
    """Rounds between evaluations; 2, or 4 with --full."""
    seeds: int | None = None
    """Number of seeds; 3, or 5 with --full."""
    steps: int = 5
    """Local steps of gradient descent in a round."""
    batch_size: int | None = None
    """Rows of a step; all of a hospital's where not given."""
    momentum: float = 0.0
    """Momentum in the hospitals, as beta below 1; 0 for none."""
    hidden: int = 0
    """Width of the hidden layer; 0 for logistic regression."""
    full: bool = False
    """Everything but SMEA and MDA; it takes many times as long."""
    out: Path = Path("results/aggregators")
    """Folder for tables (CSV, JSON), figures (PNG, SVG), report.html and checkpoints."""
    overwrite: bool = False
    """Write over the results of another benchmark."""


Options = (
    Annotated[AlgorithmsOptions, tyro.conf.subcommand("algorithms", prefix_name=False)]
    | Annotated[AggregatorsOptions, tyro.conf.subcommand("aggregators", prefix_name=False)]
)


def bench_command(options: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[Options]]) -> None:
    """Benchmarks of algorithms and of aggregators."""
    jaxfed.use_cpu_devices()
    if isinstance(options, AlgorithmsOptions):
        _algorithms(options)
    else:
        _aggregators(options)


def _algorithms(options: AlgorithmsOptions) -> None:
    unknown = sorted(set(options.methods) - set(bench.METHODS))
    if unknown:
        raise InvalidInput(f"methods {unknown}: there are {', '.join(bench.METHODS)}")
    out, settings = options.out, {name: getattr(options, name) for name in ("hospitals", "rounds", "seeds")}
    problems = Problems("bench")
    for name, value in settings.items():
        problems.extend(checks.count(name, value, 2 if name == "rounds" else 1))
    problems.check(options.rounds % EVAL_EVERY == 0, f"rounds={options.rounds}: give an even number")
    problems.raise_if_any()
    claim(out, {"command": "bench", "methods": options.methods, **settings}, options.overwrite)
    curves, summary = bench.run([*options.methods] or None, eval_every=EVAL_EVERY, **settings)
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


def _aggregators(options: AggregatorsOptions) -> None:
    names = ("rules", "before", "attacks", "settings")
    chosen = {name: getattr(options, name) or None for name in names}
    fields = [field.name for field in dataclasses.fields(jaxfed.bench.Grid) if field.name not in names]
    numbers = {name: getattr(options, name) for name in fields}
    what = {**chosen, **numbers, "full": options.full}
    jaxfed.bench.grid_of(**what)  # before anything is written
    claim(options.out, {"command": "bench aggregators", **what}, options.overwrite)
    result = jaxfed.bench.aggregators(
        **what, checkpoint=options.out / CHECKPOINT, progress=sys.stderr.isatty()
    )
    result.save(options.out)
    columns = ["setting", "defence", "numbers", "without attackers", "worst attack", "score", "lost", "holds"]
    print(result.worst_cases[columns].to_string(index=False, float_format="{:.3f}".format))
    print(f"\n{result!r}")
    print(f"Written to {options.out}: report.html, aggregators.json, tables (CSV) and figures (PNG, SVG)")
