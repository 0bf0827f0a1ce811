"""``jaxfed sweep``: many runs at once, and the best settings."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import tyro

import jaxfed
from jaxfed.cli.folders import check_writable, claim, described
from jaxfed.cli.options import (
    FederationOptions,
    algorithm_of,
    check_lengths,
    generator,
    load,
    model_of,
    simulation_of,
    value_of,
)
from jaxfed.cli.resume import CheckpointOptions, apart, remember
from jaxfed.cli.tables import check_evaluation
from jaxfed.core.errors import InvalidInput, Problems

RANGE = re.compile(r"^([^.].*?)\.\.([^:]+)(:log)?$")
SHOWN = 10  # settings in the printed table
PARTS: dict[str, Callable[[FederationOptions, str], Any]] = {"algorithm": algorithm_of, "model": model_of}


@dataclasses.dataclass(frozen=True)
class SweepOptions(CheckpointOptions, FederationOptions):
    """For example: jaxfed sweep --algorithm FedProx --vary client_optimizer.learning_rate=0.01,0.1
    --vary algorithm.mu=0,0.1 --seeds 5. Or all options in a file, jaxfed sweep tune.toml, the fields and
    their values in a table [vary].
    """

    file: tyro.conf.Positional[Path | None] = None
    """Options in a TOML file; flags go before them."""  # for the help: main has made flags of them
    vary: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field and its values: client_optimizer.learning_rate=0.01,0.1; algorithm=FedAvg,Scaffold;
    data.s_a=0,1 (an argument of the data set); in random mode also ranges, algorithm.mu=0.001..1:log."""
    seeds: int = 1
    """Seeds of every configuration, from --seed on."""
    mode: Literal["grid", "zip", "random"] = "grid"
    """All combinations; first values with first values; or random draws."""
    samples: int | None = None
    """Number of random draws."""
    metric: str | None = None
    """What to choose by, such as auroc or auroc_worst; the loss over all validation rows where not given."""
    out: Path = Path("results/sweep")
    """Folder for tables, figures and the sweep itself (netCDF)."""
    overwrite: bool = False
    """Write over the results of another sweep."""


def sweep_command(options: tyro.conf.OmitArgPrefixes[SweepOptions]) -> None:
    """Tune a federation: many runs as one compiled program."""
    fields = fields_of(options)
    check_lengths(options)
    jaxfed.use_cpu_devices(options.devices)
    hospitals = load(options)
    print(hospitals)
    generated = any(path.startswith("data.") for path in fields)
    if generated and generator(options) is None:
        raise InvalidInput(f"--vary data.*: --data {options.data} is not generated; leave these fields out")
    simulation = simulation_of(options, hospitals)
    check_evaluation(hospitals)
    check_writable("--checkpoint", options.checkpoint)
    claim(options.out, described(options, apart(options)), options.overwrite)
    remember(options)
    sweep = simulation.sweep(
        fields,
        options.rounds,
        mode=options.mode,
        samples=options.samples,
        seed=options.seed,
        eval_every=options.eval_every,
        data=generator(options) if generated else None,
        checkpoint=options.checkpoint,
        every=options.every,
        keep=options.keep,
        progress=sys.stderr.isatty(),
    )
    report(sweep, options.metric, options.out)


def report(sweep: jaxfed.sweep.Sweep, metric: str | None, out: Path) -> None:
    """Write a sweep with its ranking and its best settings, and print them."""
    sweep.save(out)
    table = sweep.ranking(metric)
    table.to_csv(out / "ranking.csv", index=False)
    print(f"\n{sweep!r}\n\nThe best {min(SHOWN, len(table))} of {len(table)} settings")
    print(table.head(SHOWN).to_string(index=False, float_format="{:.4g}".format))
    best = sweep.best(metric)
    record = {
        "settings": best.names,
        "round": best.round,
        "chosen by": f"{best.by} {best.metric}",
        "seeds": best.seeds,
        "dead": best.dead,
        **{
            split: {name: best.value(name, split) for name in dict.fromkeys([best.metric, sweep.primary])}
            for split in best.rows["split"].unique()
        },
    }
    (out / "best.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"\n{best!r}")
    print(f"Written to {out}: sweep.nc, sweep.png, ranking.csv, rounds.csv, configurations.csv, best.json")


def fields_of(options: SweepOptions) -> dict[str, Any]:
    """What ``Simulation.sweep`` is given.

    Raises:
        InvalidInput: fields without values, given twice, or values that cannot be read.
    """
    problems = Problems("--vary")
    fields: dict[str, Any] = {}
    for text in options.vary:
        path, equals, values = text.partition("=")
        if not (path and equals and values):
            problems.add(f"{text!r}: give a field and its values, client_optimizer.learning_rate=0.01,0.1")
        elif path in fields:
            problems.add(f"{path} is given twice; give all its values at once")
        else:
            fields[path] = _values(path, values, options, problems)
    problems.check("seed" not in fields or options.seeds == 1, "seed and --seeds: give one of them")
    problems.check(options.seeds > 0, f"--seeds {options.seeds}: give a number of seeds, at least 1")
    problems.check(
        options.mode != "random" or options.seeds == 1,
        "--seeds: every random draw has one seed; leave it out",
    )
    problems.raise_if_any()
    if options.seeds == 1:
        return fields
    seeds = range(options.seed, options.seed + options.seeds)
    if options.mode == "grid":
        return {**fields, "seed": seeds}
    longest = max((len(values) for values in fields.values()), default=1)
    listed = {path: [*v.values()] if isinstance(v, dict) else v for path, v in fields.items()}
    repeated = {path: [value for value in values for _ in seeds] for path, values in listed.items()}
    return {**repeated, "seed": [*seeds] * longest}


def _values(path: str, text: str, options: SweepOptions, problems: Problems) -> Any:
    """A list, a range, or named parts."""
    found = RANGE.match(text)
    if found and options.mode != "random":
        problems.add(f"{path}={text}: a range is for --mode random; give values")
        return []
    if found:
        low, high = (value_of(end) for end in found.groups()[:2])
        return (low, high, "log") if found[3] else (low, high)
    names = [name.strip() for name in text.split(",")]
    try:
        if path in PARTS:
            parts = [PARTS[path](options, name) for name in names]
            return parts if len({*names}) < len(names) else dict(zip(names, parts, strict=True))
    except InvalidInput as error:
        problems.add(str(error))
        return []
    return [value_of(name) for name in names]
