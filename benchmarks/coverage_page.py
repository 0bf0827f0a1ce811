"""The page's section on intervals, from ``results/coverage.json``."""

from __future__ import annotations

from typing import Any

HEAD = """## Intervals

How often 95 % intervals contain the generator's truth. Of a hospital's AUROC: over samples of hospitals
with so many rows, of those that have both classes, and at least five of each. Of the random-effects
mean: {replicates} federations of each size; `plain logits` pools the hospitals' logits as they are,
which small hospitals bias. Prediction: how often the interval for a new hospital contains its AUROC;
with few hospitals it is too narrow.
{machine}
"""
COST = """
For 1,000 hospitals ({rows:,} test rows), all metrics with intervals take {share:.1%} of the time of a
run of 20 rounds with an evaluation each, without compiling.
"""


def section(record: dict[str, Any], machine: str) -> str:
    """Markdown; a table for hospitals and one for the mean over hospitals."""
    some = next(iter(record["presets"].values()))["random_effects"][0]
    lines = [HEAD.format(replicates=some["replicates"], machine=machine)]
    lines += ["| preset | rows of a hospital | both classes | five of each |", "| --- |" + " --- |" * 3]
    for preset, found in record["presets"].items():
        for rows, cases in sorted(found["auroc"].items(), key=lambda item: int(item[0])):
            both, five = (cases[name] for name in ("both classes", "5 of each class"))
            lines.append(
                f"| {preset} | {rows} | {both['coverage']:.3f} ({both['share_of_samples']:.0%} of samples) "
                f"| {five['coverage']:.3f} ({five['share_of_samples']:.0%}) |"
            )
    lines += ["", "| preset | hospitals x rows | random-effects mean | plain logits | prediction |"]
    lines += ["| --- |" + " --- |" * 4]
    for preset, found in record["presets"].items():
        for row in found["random_effects"]:
            ours, plain = row["linearised"], row["plain logits"]
            lines.append(
                f"| {preset} | {row['hospitals']} x {row['rows']} | {ours['coverage']:.3f} "
                f"| {plain['coverage']:.3f} | {ours['prediction_coverage']:.3f} |"
            )
    cost = record["cost"]
    lines.append(COST.format(rows=cost["test_rows"], share=cost["share_of_run"]))
    return "\n".join(lines)
