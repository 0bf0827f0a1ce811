"""The page's sections on ByzFL, from ``results/robust_peers.json`` and ``results/byzfl_training.json``."""

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


TRAINING = """## Robust training beside ByzFL's

Distributed SGD on digits: {hospitals} hospitals, {f} of them malicious; {steps} steps on {batch} rows with
momentum {momentum:g} in the hospitals, a network with {hidden} hidden units, means over {seeds} seeds, from
the same initial models. Accuracy over honest hospitals: jaxfed / ByzFL {version} / ByzFL with the strengths
of optimised attacks that jaxfed tries (ByzFL's search doubles and shrinks steps, stops at a local optimum,
and is weaker). ByzFL's multi-Krum counts one neighbour more. Of {cells} cells {agree} agree with the last
column within two standard errors of the seeds or .01.

{runs} runs take jaxfed {whole:.0f} s, of which {compiling:.0f} s compilation, and ByzFL {byzfl:.0f} s in
{cores} processes: {ratio:.0f} times as long, {warm:.0f} times without compilation. Load of the machine when
it ended {load:.1f}.
"""
OWN, SAME = "byzfl", "byzfl, same strengths"


def training(record: dict[str, Any]) -> str:
    """Markdown; a table for each similarity of the hospitals."""
    grid, rows, seconds = record["grid"], record["rows"], record["seconds"]
    ours = seconds["jaxfed"]
    lines = [
        TRAINING.format(
            hospitals=grid["hospitals"], f=int(grid["malicious"] * grid["hospitals"]), steps=grid["rounds"],
            batch=grid["batch_size"], momentum=grid["momentum"], hidden=grid["hidden"], seeds=grid["seeds"],
            version=record["versions"]["byzfl"], cells=len(rows),
            agree=sum(_agrees(row, grid["seeds"]) for row in rows),
            runs=record["runs"], whole=ours["whole"], compiling=ours["compiling"], byzfl=seconds["byzfl"],
            cores=record["cores"], ratio=seconds["byzfl"] / ours["whole"], load=record["load"][0],
            warm=seconds["byzfl"] / (ours["whole"] - ours["compiling"]),
        )
    ]  # fmt: skip
    cells = {(row["setting"], row["defence"], row["attack"]): row for row in rows}
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    for setting in dict.fromkeys(row["setting"] for row in rows):
        defences = dict.fromkeys(row["defence"] for row in rows if row["setting"] == setting)
        lines += [f"| {setting} | {' | '.join(attacks)} |", f"| --- |{' --- |' * len(attacks)}"]
        for defence in defences:
            shown = [_three(cells[setting, defence, attack]) for attack in attacks]
            lines.append(f"| {defence} | {' | '.join(shown)} |")
        lines.append("")
    return "\n".join(lines)


def _three(row: dict[str, Any]) -> str:
    return " / ".join(f"{row[name]:.3f}" for name in ("jaxfed", OWN, SAME))


def _agrees(row: dict[str, Any], seeds: int) -> bool:
    error = ((row["jaxfed sd"] ** 2 + row[f"{SAME} sd"] ** 2) / seeds) ** 0.5
    return abs(row["jaxfed"] - row[SAME]) <= max(0.01, 2 * error)
