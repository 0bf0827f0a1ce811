"""The files of a benchmark of aggregators: tables, figures, and one page that holds all of it."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from jaxfed.bench import tables
from jaxfed.bench.catalogue import Grid
from jaxfed.bench.dissimilarity import Dissimilarity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = {
    "heatmap": "Every rule under every attack",
    "cost": "What robustness costs, and what an attack costs",
    "curves": "Convergence",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0 } img { max-width: 100% }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd }
th { background: #f4f4f4 } .wide { overflow-x: auto } h2 { margin-top: 2em }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left }
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Aggregators under attack</title>
<style>{style}</style><h1>Aggregators under attack</h1>
<p>{hospitals} hospitals, of which {malicious:.0%} (rounded down) are malicious; {rounds} rounds of federated
averaging with equal weights, {steps} local steps {batch} of a model {hidden}{momentum}; {seeds} seeds.
Scores are those of honest hospitals on test rows. Each rule's numbers are chosen on validation rows against
its worst attack. IPM and ALIE are optimised against the rule in use in every round. The sign flip is of one's
own update, times 10.</p>
<h2>Which rule to take</h2>{summary}
<h2>Worst cases</h2><div class="wide">{worst}</div>
<h2>Heterogeneity and what it forbids</h2>
<p>B<sup>2</sup> and G<sup>2</sup> of the gradients of honest hospitals, measured along gradient descent.
From a share of attackers of 1 / (2 + B<sup>2</sup>) on, no rule is guaranteed to learn.</p>{measured}
{images}
{impossible}
<h2>All final scores</h2><div class="wide">{final}</div>
<p>{origin}</p></html>
"""


class Contents(NamedTuple):
    """What is written.

    Attributes:
        grid: what was compared.
        tables: ``rounds``, ``final`` and ``worst``.
        figures: those of ``FIGURES``.
        summary: sentences.
        metric: the metric of each setting.
        measured: heterogeneity of each setting.
        impossible: defences that were left out, and why.
        provenance: versions, device, time, seconds.
        record: all of it but the curves, as plain text and numbers.
    """

    grid: Grid
    tables: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    summary: list[str]
    metric: dict[str, str]
    measured: dict[str, Dissimilarity]
    impossible: dict[str, str]
    provenance: dict[str, Any]
    record: dict[str, Any]


def write(contents: Contents, folder: Path) -> Path:
    """Write ``rounds.csv, final.csv, worst.csv, aggregators.json``, the figures and ``report.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in contents.tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    (folder / "aggregators.json").write_text(json.dumps(contents.record, indent=1) + "\n")
    pictures = {}
    for kind, figure in contents.figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        pictures[kind] = buffer.getvalue()
        (folder / f"{kind}.png").write_bytes(pictures[kind])
        figure.savefig(folder / f"{kind}.svg")
    (folder / "report.html").write_text(_page(contents, pictures))
    return folder


def _page(contents: Contents, pictures: dict[str, bytes]) -> str:
    grid, origin = contents.grid, contents.provenance
    sizes = [
        {
            "setting": name,
            "metric": contents.metric[name],
            "B^2": f"{size.b_squared:.3f}",
            "G^2": f"{size.g_squared:.3g}",
            "bound 1 / (2 + B^2)": f"{size.share:.3f}",
            "malicious": f"{grid.malicious:.2f}",
        }
        for name, size in contents.measured.items()
    ]
    left_out = [f"{name}: {why}" for name, why in contents.impossible.items()]
    versions = [f"{name} {origin[name]}" for name in ("jaxfed", "jax", "numpy", "python") if name in origin]
    return PAGE.format(
        style=STYLE,
        hospitals=grid.hospitals,
        malicious=grid.malicious,
        rounds=grid.rounds,
        seeds=grid.seeds,
        steps=grid.steps,
        batch="on all rows" if grid.batch_size is None else f"on {grid.batch_size} rows each",
        hidden=f"with {grid.hidden} hidden units" if grid.hidden else "without hidden layers",
        momentum=f", and momentum {grid.momentum:g} in the hospitals" if grid.momentum else "",
        summary=_list(contents.summary),
        worst=_table(tables.shown(contents.tables["worst"])),
        measured=_table(pd.DataFrame(sizes)),
        images="".join(_image(title, pictures[kind]) for kind, title in FIGURES.items()),
        impossible=f"<h2>Left out</h2>{_list(left_out)}" if left_out else "",
        final=_table(tables.shown(contents.tables["final"])),
        origin=f"{origin['seconds']:.0f} s in the last process, of which {origin['compile_seconds']:.0f} s "
        f"compilation, on {origin['device']}; {', '.join(versions)}; {origin['created']}.",
    )


def _image(title: str, picture: bytes) -> str:
    data = base64.b64encode(picture).decode()
    return f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{data}">'


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _table(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0)
