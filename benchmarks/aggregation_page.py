"""Tables of ``results/model_aggregation.json`` for the page of benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

HEAD = """## What hospitals with different models gain

Each method against training alone, hospital by hospital, with the same model: test score of each group of
hospitals (how many of them have a score), mean over its hospitals and over seeds; what it gains over training
alone, and the share of hospitals that gain. `gains` says for which groups the score is higher than alone; `-`
is a group that a method does not reach, because its model has no slice or no features in common with the
others'. `kB` is what a hospital sends and is sent in a round, mean over the hospitals that are reached.
FedProto needs last hidden layers of one width, so it has models of its own and is compared with training
those alone. Step size and number of rounds of every federation are chosen on validation rows, the smallest
log loss. Seeds differ in initial models and batches, not in the hospitals; these are few and small, so that
small gains may be chance.
"""
TITLES = {
    "digits": "Digits, 30 hospitals, Dirichlet(.3): accuracy of MLPs of three widths and of CNNs",
    "strong": 'Synthetic hospitals, 60, preset "strong": AUROC of logistic regression, MLP and wide MLP',
}


def section(record: dict[str, Any], machine: Callable[[dict[str, Any]], str]) -> str:
    """All settings as Markdown; ``machine`` says of a provenance where it was measured."""
    first = next(iter(record.values()))
    return "\n".join(
        [
            HEAD,
            machine(first["provenance"]),
            "",
            *(_setting(TITLES[name], part) for name, part in record.items()),
        ]
    )


def _setting(title: str, record: dict[str, Any]) -> str:
    table = pd.DataFrame(record["rows"])
    groups = list(dict.fromkeys(table["group"]))
    sizes = table.groupby("group")["hospitals"].first()
    steps = ", ".join(f"{step:g}" for step in record["step sizes"])
    lines = [
        f"### {title}",
        "",
        f"{record['seeds']} seeds, at most {record['rounds']} rounds, step sizes {steps}, "
        f"{record['public rows']} public rows.",
        "",
        "| method | " + " | ".join(f"{group} ({sizes[group]})" for group in groups) + " | gains | kB |",
        "| --- |" + " --- |" * (len(groups) + 2),
    ]
    for name, own in table.groupby("method", sort=False):
        rows = own.set_index("group")
        cells = [_cell(rows.loc[group]) if group in rows.index else "-" for group in groups]
        kilobytes = ((rows["up"] + rows["down"]) * rows["hospitals"]).sum() / rows["hospitals"].sum() / 1e3
        lines.append(f"| {name} | {' | '.join(cells)} | {_gains(rows, groups)} | {kilobytes:.1f} |")
    return "\n".join(lines) + "\n"


def _cell(row: pd.Series) -> str:
    if row["method"].startswith("alone"):
        return f"{row['score']:.3f}"
    return f"{row['score']:.3f} ({row['gain']:+.3f}, {100 * row['share']:.0f} %)"


def _gains(rows: pd.DataFrame, groups: list[str]) -> str:
    if rows["method"].iloc[0].startswith("alone"):
        return ""
    better = [group for group in groups if group in rows.index and round(rows["gain"][group], 3) > 0]
    return "**every group**" if better == groups else ", ".join(better) or "none"
