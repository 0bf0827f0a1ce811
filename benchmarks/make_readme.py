"""Writes ``benchmarks/README.md`` from the results as JSON, so that no figure in it is typed by hand.

python benchmarks/make_readme.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aggregation_page
import coverage_page
import kernels_page
import numpy as np
import pandas as pd
import privacy_page
import robust_peers_page
import robustness_page
import speed_page
import sweep_page
import tcga_page
from heart_disease import PUBLISHED

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PRIVACY = ("privacy", "privacy_utility")

INTRODUCTION = """# Benchmarks

Made by `python benchmarks/make_readme.py` from `results/*.json`; edit that.

| command | question | results |
| --- | --- | --- |
| `python benchmarks/heart_disease.py` | are the published rows of Fed-Heart-Disease reproduced? | `heart_disease.json` |
| `python benchmarks/tcga_brca.py` | and those of Fed-TCGA-BRCA? | `tcga_brca.json` |
| `jaxfed bench algorithms --out benchmarks/results` | how fast do global methods converge? | `algorithms.json`, `curves.csv`, `algorithms.png` |
| `python benchmarks/model_aggregation.py` | what does each kind of hospital gain where models differ? | `model_aggregation.json` |
| `python benchmarks/speed.py` | how fast is a round, beside other simulators and the machine's limit? | `speed-*.json`, `speed-*.png` |
| `python benchmarks/mixed.py` | what do hospitals with different models cost, beside federations of one model? | `mixed.json` |
| `python benchmarks/sweep.py` | is one sweep cheaper than the runs it is made of? | `sweep.json` |
| `python benchmarks/aggregators.py` | what do the kernels of robust rules cost, beside NumPy and torch? | `aggregator_kernels.json` |
| `python benchmarks/robustness.py` | which rule holds under which attack, when hospitals differ? | `robustness.json`, `robustness.png` |
| `python benchmarks/robust_peers.py` | do robust rules agree with ByzFL's, and what does a call cost? | `robust_peers.json` |
| `python benchmarks/byzfl_training.py` | does robust training end where ByzFL's does, and in what time? | `byzfl_training.json` |
| `python benchmarks/coverage.py` | how often do intervals contain the generator's truth? | `coverage.json` |
| `python benchmarks/privacy.py` | what do private rounds cost? | `privacy.json` |
| `python benchmarks/privacy_utility.py` | what does an epsilon cost in AUROC? | `privacy_utility.json`, `privacy_utility_*.png` |
| `python benchmarks/correlated_noise.py` | what is correlated noise worth at equal epsilon? | `correlated_noise.json` |
| `python benchmarks/first_run.py` | the picture in the README, made by the README's code | `first_run.png` |
"""

HEART = """## Fed-Heart-Disease

Accuracy on the pooled test rows (FLamby, Ogier du Terrail et al. 2022, arXiv:2210.04620), mean (sd): published over
five seeds; measured over the five published initial values times {orders} orders of the batches. At the published
step size FedAvg is under-trained and its accuracy is mostly that of its initial values, so the published ones are
used. SCAFFOLD has weights n_k here, as published, and not the paper's uniform ones.
"""

ALGORITHMS = """## Convergence of global methods

{hospitals}. MLP with 32 hidden units, two local epochs of SGD, batches of 32, everyone in every round, {rounds}
rounds. The hospitals' step size is chosen for each method on validation rows from .03, .1, .3 (FedSGD: the server's,
from .3, 1, 3); every other number is the method's default or the one in `jaxfed/bench.py`, not tuned. Means over
{seeds} seeds on test rows: `log loss` pooled (sd over seeds), `score` the mean over hospitals of AUROC (digits:
accuracy), `worst decile` its 10th percentile; rounds and megabytes up and down, all hospitals together, until the
pooled log loss is what FedAvg's was in the end.

![Pooled test log loss over rounds](results/algorithms.png)
"""

MIXED = """## Hospitals with different models

{hospitals} synthetic hospitals in three groups, all in one program; `share` is of the samples per second of the same
hospitals as three federations (FedAvg) of one model, one after another, which reach {apart}
thousand. For FedMD, DS-FL and FedDF the last column counts the public rows too that hospitals and server train on. Three kinds are
logistic regression, `mlp(32)` and `mlp(128, 128)`; for FedProto `mlp(32)`, `mlp(64, 32)` and `mlp(128, 32)`.
"""


def main() -> None:
    """Write the page."""
    parts = [INTRODUCTION, _heart(json.loads((RESULTS / "heart_disease.json").read_text()))]
    if (RESULTS / "tcga_brca.json").exists():
        record = json.loads((RESULTS / "tcga_brca.json").read_text())
        parts.append(tcga_page.section(record, _machine(record["provenance"])))
    if (RESULTS / "algorithms.json").exists():
        parts.append(_algorithms(json.loads((RESULTS / "algorithms.json").read_text())))
    if (RESULTS / "model_aggregation.json").exists():
        record = json.loads((RESULTS / "model_aggregation.json").read_text())
        parts.append(aggregation_page.section(record, _machine))
    machines = sorted(RESULTS.glob("speed-*.json"))
    if machines:
        parts.append(speed_page.HEAD + "\n" + "\n".join(speed_page.section(path) for path in machines))
    if (RESULTS / "mixed.json").exists():
        parts.append(_mixed(json.loads((RESULTS / "mixed.json").read_text())))
    if (RESULTS / "sweep.json").exists():
        record = json.loads((RESULTS / "sweep.json").read_text())
        parts.append(sweep_page.section(record, _machine(record["provenance"])))
    if (RESULTS / "robustness.json").exists():
        record = json.loads((RESULTS / "robustness.json").read_text())
        parts.append(robustness_page.section(record, _machine(record["presets"]["provenance"])))
    if (RESULTS / "aggregator_kernels.json").exists():
        parts.append(kernels_page.section(json.loads((RESULTS / "aggregator_kernels.json").read_text())))
    if (RESULTS / "robust_peers.json").exists():
        parts.append(robust_peers_page.section(json.loads((RESULTS / "robust_peers.json").read_text())))
    if (RESULTS / "byzfl_training.json").exists():
        parts.append(robust_peers_page.training(json.loads((RESULTS / "byzfl_training.json").read_text())))
    cost, utility = (json.loads((RESULTS / f"{name}.json").read_text()) for name in PRIVACY)
    parts.append(privacy_page.section(cost, utility, _machine))
    record = json.loads((RESULTS / "correlated_noise.json").read_text())
    parts.append(privacy_page.correlated(record, _machine))
    record = json.loads((RESULTS / "coverage.json").read_text())
    parts.append(coverage_page.section(record, _machine(record["provenance"])))
    (HERE / "README.md").write_text("\n".join(parts))


def _heart(record: dict[str, Any]) -> str:
    lines = [HEART.format(orders=record["orders"]), _machine(record["provenance"]), ""]
    lines += ["| method | published | measured | difference |", "| --- | --- | --- | --- |"]
    for name, (mean, sd) in PUBLISHED.items():
        own = np.array(record["accuracy"][name])
        measured = f"{own.mean():.3f} ({own.std(ddof=1):.3f})"
        lines.append(f"| {name} | {mean:.3f} ({sd:.3f}) | {measured} | {own.mean() - mean:+.3f} |")
    return "\n".join(lines) + "\n"


def _algorithms(record: dict[str, Any]) -> str:
    settings = record["settings"]
    hospitals = (
        f"Synthetic hospitals ({settings['hospitals']}) of three presets, and digits over at most 30 hospitals "
        "with Dirichlet(.1) label skew"
    )
    head = ALGORITHMS.format(hospitals=hospitals, rounds=settings["rounds"], seeds=settings["seeds"])
    lines = [head, _machine(record["provenance"])]
    table = pd.DataFrame(record["rows"])
    for title, part in table.groupby("data", sort=False):
        lines += ["", f"### {title}", ""]
        lines += ["| method | step size | log loss | score | worst decile | rounds | MB | ms per round |"]
        lines += ["| --- |" + " --- |" * 7]
        for _, row in part.sort_values("log loss").iterrows():
            until = [row["rounds to FedAvg's end"], row["MB to FedAvg's end"]]
            rounds, sent = ("-" if np.isnan(value) else f"{value:.0f}" for value in until)
            lines.append(
                f"| {row['method']} | {row['step size']:g} | {row['log loss']:.4f} ({row['log loss sd']:.4f}) "
                f"| {row['score']:.4f} | {row['worst decile']:.4f} | {rounds} | {sent} "
                f"| {row['ms per round']:.0f} |"
            )
    return "\n".join(lines) + "\n"


def _mixed(record: dict[str, Any]) -> str:
    provenance = record["provenance"]
    apart = " and ".join(f"{value / 1e3:,.0f} ({kind})" for kind, value in record["separate"].items())
    lines = [MIXED.format(hospitals=record["hospitals"], apart=apart), _machine(provenance), ""]
    lines += ["| method | models | thousand samples/s | share | share with public rows |"]
    lines += ["| --- |" + " --- |" * 4]
    for row in record["rows"]:
        lines.append(
            f"| {row['method']} | {row['models']} | {row['samples per second'] / 1e3:,.0f} "
            f"| {row['share']:.0%} | {row['share with public rows']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def _machine(provenance: dict[str, Any]) -> str:
    names = ("jaxfed", "jax", "flax", "optax", "python")
    return f"{provenance['device']}; " + ", ".join(f"{name} {provenance[name]}" for name in names) + "."


if __name__ == "__main__":
    main()
