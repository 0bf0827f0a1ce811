"""The section of ``benchmarks/README.md`` on the published rows of Fed-TCGA-BRCA."""

from __future__ import annotations

from typing import Any

import numpy as np
from tcga_brca import PUBLISHED

HEAD = """## Fed-TCGA-BRCA

C-index on the pooled test rows of six regions (FLamby, Ogier du Terrail et al. 2022, arXiv:2210.04620), mean
(sd): published over five seeds, computed from the files of their repository; measured over {seeds} seeds,
with initial values drawn anew. Features are as published, ages in years beside indicators, and results differ
much between seeds; with federated standardisation (the last rows; nothing was published of it) they do not.
"""


def section(record: dict[str, Any], machine: str) -> str:
    """Published and measured C-indices side by side."""
    lines = [HEAD.format(seeds=record["seeds"]), machine, ""]
    lines += ["| method | published | measured | difference |", "| --- | --- | --- | --- |"]
    for name, values in record["cindex"].items():
        measured = f"{np.mean(values):.3f} ({np.std(values, ddof=1):.3f})"
        published, difference = "-", "-"
        if name in PUBLISHED:
            mean, sd = PUBLISHED[name]
            published, difference = f"{mean:.3f} ({sd:.3f})", f"{np.mean(values) - mean:+.3f}"
        lines.append(f"| {name} | {published} | {measured} | {difference} |")
    return "\n".join(lines) + "\n"
