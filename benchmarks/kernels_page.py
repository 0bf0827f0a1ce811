"""The page's section on the kernels of robust rules, from ``results/aggregator_kernels.json``."""

from __future__ import annotations

from typing import Any

HEAD = """## Kernels of robust rules

Seconds of a call on uploads [hospitals, numbers] that lie in memory, medians of {repeats} calls, compiled;
how many times longer the same formula takes in {peers}, in turn with it. Every answer is compared with the
peer's. `python benchmarks/aggregators.py OUT.json REPEATS` has torch beside them where that is installed.
"""


def section(record: dict[str, Any]) -> str:
    """Markdown; a row for each rule and shape."""
    peers = [name for name in record["results"][0]["seconds"] if name != "jaxfed"]
    machine = ", ".join([record["machine"], f"{record['cores']} cores"])
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    load = record["load"][0]
    lines = [
        HEAD.format(repeats=record["repeats"], peers=" and ".join(peers)),
        f"{machine}; {versions}; load of the machine when it began {load:.1f}"
        + ("" if load < 1 else ", so other programs ran beside it") + ".",
        "",
        "| rule | uploads | seconds |" + "".join(f" {peer} |" for peer in peers),
        "| --- |" + " --- |" * (2 + len(peers)),
    ]  # fmt: skip
    for row in record["results"]:
        mine = row["seconds"]["jaxfed"]
        shape = " x ".join(f"{number:,}" for number in row["shape"])
        times = "".join(f" {row['seconds'][peer] / mine:.1f} |" for peer in peers)
        lines.append(f"| {row['rule']} | {shape} | {mine:.3f} |{times}")
    return "\n".join(lines) + "\n"
