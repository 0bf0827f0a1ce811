"""Table and figure of ``results/speed-*.json`` for the page of benchmarks."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from peers.process import TITLES
from workloads.oracle import TOLERANCE
from workloads.targets import TARGETS, growth

HIDDEN = ("device_peak_bytes", "long")
HEAD = f"""## Speed

Federated averaging with local SGD on synthetic arrays of published shapes; every peer in a process and an
environment of its own, through its public interface, on the same arrays, with the better of one thread and all.
Before anything is timed, every peer must train a small federation as a NumPy loop in float64 does (relative to the
distance travelled, to {TOLERANCE:g}; FedJAX, which fills its last batches up, on hospitals of whole batches). Medians
of five repeats (W2e: fifteen) that alternate between the peers, compile time apart; a slow peer runs fewer hospitals, spread
evenly over the sizes, so that a repeat takes about a second: samples per second (every row once per epoch) is what
counts. Flower's rounds are one simulation and do not alternate. The floor of a workload is
max(FLOP / rate of its matrix products, bytes / memory bandwidth), both measured in the same run; the rate is the
better of XLA's and of BLAS'. jaxfed's own numbers include shuffling, the training loss and the check that every
upload is finite. Each record has the date of its making: those before 2026-11-25 are of the engine before the
road of uploads, whose results are the same and whose speed is not known to be.
"""


def section(path: Path) -> str:
    """One machine's results as Markdown; draws the figure beside the file."""
    record = json.loads(path.read_text())
    machine = record["machine"]
    figure(record, path.with_suffix(".png"))
    memory = machine["memory_bytes"] / 1e9 if machine["memory_bytes"] else 0
    lines = [
        f"### {machine['device']}, {machine['cores']} cores, {memory:.0f} GB",
        "",
        f"![Samples per second, jaxfed and its peers](results/{path.with_suffix('.png').name})",
        "",
        *_targets(record),
    ]
    tables = {name: entry for name, entry in record["workloads"].items() if not name.startswith("W8")}
    for name, entry in sorted(tables.items()):
        lines += ["", *_workload(name, entry)]
    if "kernels" in record:
        lines += ["", *_kernels(record["kernels"])]
    scaling = {name: entry for name, entry in record["workloads"].items() if name.startswith("W8")}
    if scaling:
        lines += ["", *_scaling(record, scaling)]
    return "\n".join(lines) + "\n"


def _targets(record: dict[str, Any]) -> list[str]:
    lines = ["| workload | against | wanted | measured | |", "| --- | --- | --- | --- | --- |"]
    for target in TARGETS:
        found = target.read(record)
        value, verdict = (
            ("-", "not measured") if found is None else (f"{found[0]:.3g}", "met" if found[1] else "missed")
        )
        lines.append(f"| {target.workload} | {target.against} | {target.wanted} | {value} | {verdict} |")
    return lines


def _workload(name: str, entry: dict[str, Any]) -> list[str]:
    rates = ", ".join(f"{key.upper()} {value / 1e9:.0f}" for key, value in entry["product_rates"].items())
    lines = [
        f"#### {name}: {entry['title']}",
        "",
        f"{entry['hospitals']} hospitals on disk, {entry['flop_per_sample'] / 1e3:,.1f} kFLOP per sample; matrix products at "
        f"its shapes in GFLOP/s: {rates}; memory {entry['bandwidth'] / 1e9:.0f} GB/s. {_versions(entry)}, {entry['created'][:10]}.",
        "",
        "| | samples/s | jaxfed is | client steps/s | of the floor | compile s | peak GB | gate | hospitals, settings |",
        "| --- |" + " --- |" * 8,
    ]
    own = entry["rows"]["jaxfed"].get("samples_per_second")
    for peer, row in entry["rows"].items():
        if "samples_per_second" not in row:
            lines.append(f"| {TITLES[peer]} | {row['failed']} |" + " |" * 7)
            continue
        times = f"{own / row['samples_per_second']:.3g} x" if own else "-"
        compiling = row.get("compile_seconds")
        lines.append(
            f"| {TITLES[peer]} | {row['samples_per_second']:,.0f} | {times} | {row['client_steps_per_second']:,.0f} "
            f"| {100 * row['share_of_floor']:.1f} % | {'-' if compiling is None else f'{compiling:.1f}'} "
            f"| {row['peak_bytes'] / 1e9:.2f} | {row['gate']['distance']:.0e} | {_settings(row)} |"
        )
    return lines


def _settings(row: dict[str, Any]) -> str:
    given = {**row["settings"], **row["notes"]}
    shown = {key: value for key, value in given.items() if value is not None and key not in HIDDEN}
    named = [f"{key.replace('_', ' ')} {str(value).lower()}" for key, value in shown.items()]
    short = [f"{row['rows']} rows of each"] if row["rows"] else []
    repeats = [f"{len(row['seconds'])} repeats"] if len(row["seconds"]) < 5 else []
    return ", ".join([str(row["hospitals"]), *short, *named, *repeats])


def _versions(entry: dict[str, Any]) -> str:
    seen = {name: version for found in entry["versions"].values() for name, version in found.items()}
    return ", ".join(f"{name} {version}" for name, version in sorted(seen.items()) if name != "numpy")


def _kernels(kernels: dict[str, Any]) -> list[str]:
    lines = [
        f"#### W7: aggregation of uploads [K, P], memory {kernels['bandwidth'] / 1e9:.0f} GB/s",
        "",
        "| K x P | rule | | G numbers/s | of the bandwidth |",
        "| --- | --- | --- | --- | --- |",
    ]
    for shape, entry in kernels["shapes"].items():
        for kernel, row in entry["rows"].items():
            for library, cell in row.items():
                if "failed" in cell:
                    lines.append(
                        f"| {shape} | {kernel} | {TITLES.get(library, library)} | {cell['failed']} | |"
                    )
                    continue
                share = (
                    f"{100 * cell['bytes_per_second'] / kernels['bandwidth']:.0f} %"
                    if kernel == "mean"
                    else ""
                )
                name = {"torch": "PyTorch"}.get(library, TITLES.get(library, library))
                lines.append(
                    f"| {shape} | {kernel} | {name} | {cell['elements_per_second'] / 1e9:.3f} | {share} |"
                )
    return lines


def _scaling(record: dict[str, Any], scaling: dict[str, Any]) -> list[str]:
    title = next(iter(scaling.values()))["title"].split(" of ", 1)[1]
    lines = [f"#### W8: hospitals of {title}", ""]
    lines += ["| hospitals | samples/s | data GB | peak GB | compile s |", "| --- | --- | --- | --- | --- |"]
    for entry in sorted(scaling.values(), key=lambda entry: entry["hospitals"]):
        row = entry["rows"]["jaxfed"]
        if "failed" in row:
            lines.append(f"| {entry['hospitals']:,} | {row['failed']} | | | |")
            continue
        lines.append(
            f"| {entry['hospitals']:,} | {row['samples_per_second']:,.0f} | {entry['data_bytes'] / 1e9:.3f} "
            f"| {row['peak_bytes'] / 1e9:.2f} | {row['compile_seconds']:.1f} |"
        )
    with contextlib.suppress(KeyError):
        grown = growth(record)
        lines += [
            "",
            f"From 1,000 to 100,000 hospitals the peak grows by {grown:.1f} bytes per byte of data.",
        ]
    return lines


def figure(record: dict[str, Any], path: Path) -> None:
    """Samples per second of all peers, one group of bars for each workload, and the floor as a line."""
    names = sorted(name for name in record["workloads"] if not name.startswith("W8"))
    peers = [peer for peer in TITLES if any(peer in record["workloads"][name]["rows"] for name in names)]
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    width = 0.85 / max(len(peers), 1)
    for p, peer in enumerate(peers):
        rows = [record["workloads"][name]["rows"].get(peer, {}) for name in names]
        heights = [row.get("samples_per_second", float("nan")) for row in rows]
        axes.bar(
            [n + p * width for n in range(len(names))], heights, width, label=TITLES[peer], color=f"C{p}"
        )
    for n, name in enumerate(names):
        floor = record["workloads"][name]["floor_samples_per_second"]
        axes.hlines(floor, n - width / 2, n + (len(peers) - 0.5) * width, colors="black", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks([n + 0.425 - width / 2 for n in range(len(names))], names)
    axes.set_ylabel("samples per second")
    axes.set_title("Black lines: what the machine's matrix products or memory allow", fontsize=10)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
