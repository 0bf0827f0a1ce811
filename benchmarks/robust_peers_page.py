"""The page's section on ByzFL's rules, from ``results/robust_peers.json``."""

from __future__ import annotations

from typing import Any

HEAD = """## Robust rules beside ByzFL's

Both on the same uploads [{hospitals} hospitals, {size:,} numbers], {f} of them malicious: how far the
aggregates are apart (relative norm), and milliseconds of a call, medians of {repeats}; ByzFL {byzfl}
with torch on a CPU, jaxfed compiled. ByzFL's Krum counts one neighbour more than the paper, so jaxfed
gets f - 1 there.
{cores} cores; load of the machine when it ended {load:.1f}.

| rule | apart | jaxfed, ms | ByzFL, ms | |
| --- | --- | --- | --- | --- |"""


def section(record: dict[str, Any]) -> str:
    """Markdown; a row for each rule."""
    hospitals, size = record["shape"]
    head = HEAD.format(
        hospitals=hospitals, size=size, f=record["f"], repeats=record["repeats"], cores=record["cores"],
        byzfl=record["versions"]["byzfl"], load=record["load"][0],
    )  # fmt: skip
    lines = [head]
    for row in record["results"]:
        ours, theirs = (1e3 * row["seconds"][name] for name in ("jaxfed", "byzfl"))
        lines.append(
            f"| {row['rule']} | {row['difference']:.0e} | {ours:.2f} | {theirs:.1f} | {row['note']} |"
        )
    return "\n".join(lines) + "\n"
