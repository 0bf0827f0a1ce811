"""``jaxfed run``: train a federation and write a report."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

import jaxfed
from jaxfed.cli.folders import check_writable, claim, described
from jaxfed.cli.options import FederationOptions, check_head, check_lengths, load, simulation_of
from jaxfed.cli.resume import CheckpointOptions, apart, remember
from jaxfed.cli.tables import check_evaluation
from jaxfed.core.optional import needs
from jaxfed.data.oracle import POOLED
from jaxfed.figures.runs import comparison_figure, convergence_figure, hospitals_figure, save_figure


@dataclasses.dataclass(frozen=True)
class RunOptions(CheckpointOptions, FederationOptions):
    """Without options: 200 synthetic hospitals, disease prediction, federated averaging, beside every
    hospital alone and all data in one place.
    """

    out: Path = Path("results/run")
    """Folder for the report."""
    overwrite: bool = False
    """Write over the results of another run."""
    baselines: bool = True
    """Also train every hospital alone, and one model on the pooled data."""
    report: bool = False
    """Also write report.html: results with intervals, in words, tables and figures, in one file that needs
    nothing else. Its tables need pip install 'jaxfed[report]'."""


def run_command(options: tyro.conf.OmitArgPrefixes[RunOptions]) -> None:
    """Train one model in many hospitals, and write tables and figures."""
    check_lengths(options)
    jaxfed.use_cpu_devices(options.devices)
    hospitals = load(options)
    print(hospitals)
    simulation = simulation_of(options, hospitals)
    check_head(options, simulation.algorithm)
    arms = {type(simulation.algorithm).__name__: simulation}
    if options.baselines:
        arms |= {"local-only": simulation.local_only(), "pooled": simulation.pooled()}
        if simulation.privacy is not None:
            name = f"{type(simulation.algorithm).__name__} without privacy"
            arms[name] = simulation.replace(privacy=None)
    check_evaluation(hospitals)
    if options.report:
        needs("great_tables", "report", "--report")
    check_writable("--checkpoint", options.checkpoint)
    claim(options.out, described(options, apart(options)), options.overwrite)
    remember(options)
    runs = {
        name: dataclasses.replace(
            arm.run(
                options.rounds,
                seed=options.seed,
                eval_every=options.eval_every,
                checkpoint=options.checkpoint and options.checkpoint / name.lower().replace(" ", "-"),
                every=options.every,
                keep=options.keep,
                progress=sys.stderr.isatty(),
            ),
            name=name,
        )
        for name, arm in arms.items()
    }
    report(runs, hospitals, options.out)
    if options.report:
        print(f"Report: {next(iter(runs.values())).report(options.out / 'report.html')}")


def report(runs: dict[str, jaxfed.Run], hospitals: jaxfed.Dataset, out: Path) -> None:
    """Print the table of some runs and write it with figures, and every run, into a folder."""
    against = "local-only" if "local-only" in runs else None
    table = jaxfed.compare(runs, against=against)
    out.mkdir(parents=True, exist_ok=True)
    for name, run in runs.items():
        run.save(out / name.lower().replace(" ", "-"))
    table.to_csv(out / "summary.csv", index_label="run")
    histories = {name: run.history for name, run in runs.items()}
    save_figure(convergence_figure(histories), out / "convergence.png")
    save_figure(hospitals_figure(histories, at="best"), out / "hospitals.png")
    save_figure(comparison_figure(histories), out / "report.png")
    history = next(iter(runs.values())).history
    positive = f" (positive: {history.positive})" if history.positive else ""
    print(f"\nTest {history.primary} of the hospitals{positive}, at each run's best round on validation rows")
    print(table.to_string(formatters=_formats(table)))
    if note := history.left_out("test"):
        print(note)
    for name, run in runs.items():
        if run.privacy is not None:
            print(f"{name}: {run.privacy.short()}" if name != next(iter(runs)) else f"\n{run.privacy}\n")
        if run.trouble():
            print(f"{name}: {run.trouble().rstrip('; ')}")
    if hospitals.truth:
        oracle = jaxfed.data.truth_table(hospitals, "test")["auroc"]
        print(f"\nKnowing the true risks: mean AUROC {np.nanmean(oracle.drop(POOLED)):.3f}")
    print(f"Written to {out}: summary.csv, report.png, convergence.png, hospitals.png, and a folder per run")


def _formats(table: pd.DataFrame) -> dict[str, Callable[[float], str]]:
    coarse = {"ms_per_round": "{:.0f}".format, "compile_s": "{:.1f}".format, "better_off": "{:.0%}".format}
    return {
        column: coarse.get(column, "{:.3f}".format)
        for column in table.columns
        if table[column].dtype == float
    }
