"""The page's section on privacy, from ``results/privacy.json`` and ``results/privacy_utility.json``."""

from __future__ import annotations

from typing import Any

import pandas as pd

COST = """## Privacy

A round with DP-SGD of every patient (100 ragged hospitals, MLP 64-64-128-1, batches of 64, five epochs)
takes {ratio:.2f} times as long as the same round without, and Opacus {opacus:.1f} times as long as that
({version}, one hospital after another, rows drawn from tensors; from the same model both reach models that
are {apart:.0e} apart, by clipped steps on all rows): medians of {calls} calls in turn, {private:.0f},
{plain:.0f} and {theirs:.0f} ms.
{machine}
"""

UTILITY = """### What an epsilon costs

Test AUROC of logistic regression by FedAvg with DP-SGD of each patient (clip 1, delta {delta:g},
{rounds} rounds, rate {rate:g}), mean over hospitals and worst hospital, means of {seeds} seeds, beside
every hospital alone and pooled data with the same epsilon. No published table of this kind is known to
us to compare with.
{machine}

![AUROC over epsilon, generator](results/privacy_utility_generator.png)
![AUROC over epsilon, heart disease](results/privacy_utility_heart.png)
"""

CORRELATED = """### Noise that is correlated over rounds

Whole hospitals, which take turns ({size} of {hospitals} in a round, {rounds} rounds), at epsilon {epsilon:g}
and delta {delta:g}, clip {clip:g}: `error` is the mean squared error of sums of updates relative to
independent noise, in closed form; then test AUROC for several step sizes of the hospitals, means of {seeds}
seeds, which cannot separate differences of some thousandths. The step sizes were chosen after others had
shown no gain.
{machine}
"""


def correlated(record: dict[str, Any], machine: Any) -> str:
    """Markdown; a row for each kind of noise."""
    lines = [CORRELATED.format(**record["settings"], machine=machine(record["provenance"]))]
    steps = [*record["rows"][0]["auroc"]]
    lines += ["| noise | error | " + " | ".join(f"step {step}" for step in steps) + " |"]
    lines += ["| --- | --- |" + " --- |" * len(steps)]
    for row in record["rows"]:
        error = f"{row['error']:.3f}" if row["noise"] != "none" else "-"
        areas = " | ".join(f"{row['auroc'][step]:.3f}" for step in steps)
        lines.append(f"| {row['noise']} | {error} | {areas} |")
    return "\n".join(lines) + "\n"


def section(cost: dict[str, Any], utility: dict[str, Any], machine: Any) -> str:
    """Markdown; a row for each data set and arm."""
    seconds = cost["seconds_per_round"]
    lines = [
        COST.format(
            ratio=cost["ratio"],
            calls=len(cost["every"]["plain"]),
            private=1e3 * seconds["private"],
            plain=1e3 * seconds["plain"],
            theirs=1e3 * seconds["opacus"],
            opacus=cost["ratio_of_opacus"],
            **{name: cost["opacus"][name] for name in ("version", "apart")},
            machine=machine(cost["provenance"]),
        ),
        UTILITY.format(**utility["settings"], machine=machine(utility["provenance"])),
    ]
    epsilons = [*utility["settings"]["epsilons"], float("inf")]
    heads = " | ".join("no privacy" if epsilon == float("inf") else f"ε {epsilon:g}" for epsilon in epsilons)
    lines += [f"| data | arm | {heads} |", "| --- | --- |" + " --- |" * len(epsilons)]
    for name, rows in utility["rows"].items():
        table = pd.DataFrame(rows)
        table["epsilon"] = table["epsilon"].fillna(float("inf"))
        means = table.groupby(["arm", "epsilon"], sort=False)[["mean", "worst"]].mean()
        for arm in table["arm"].unique():
            cells = [
                f"{means.loc[(arm, e), 'mean']:.3f} / {means.loc[(arm, e), 'worst']:.3f}" for e in epsilons
            ]
            lines.append(f"| {name} | {arm} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
