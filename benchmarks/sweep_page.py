"""The page's section on sweeps, from ``results/sweep.json``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sweep import sizes

HEAD = """## Sweeps (W6)

Step sizes of hospitals x step sizes of the server x seeds, 20 rounds of W2's shapes: 100 ragged hospitals, 64
features, MLP 64-64-128-1, batches of 64, 5 local epochs. `rows` are those of the whole federation, fewer than W2's
{rows:,} where sizes are scaled down. Seconds: the sweep in a fresh process, imports, data and compilation included;
one run in a fresh process, likewise (mean); one run where everything is compiled already (mean). The last two columns
are the sweep against as many fresh processes, and against the bare running time of as many runs.
"""


def section(record: dict[str, Any], machine: str) -> str:
    """Markdown; one row for each size that was measured."""
    lines = [HEAD.format(rows=sizes(1.0).sum()), machine, ""]
    lines += ["| runs | rows | sweep | one process | one run | of the processes | of the runs |"]
    lines += ["| --- |" + " --- |" * 6]
    for row in record["rows"]:
        process, run = (
            np.mean(row[f"single run, {kind} (s)"]) for kind in ("fresh process", "compiled already")
        )
        lines.append(
            f"| {row['configurations']} | {row['rows']:,} | {row['sweep, fresh process (s)']:.1f} "
            f"| {process:.1f} | {run:.2f} | {row['sweep / separate processes']:.1%} "
            f"| {row['sweep / running time of single runs']:.2f} |"
        )
    return "\n".join(lines) + "\n"
