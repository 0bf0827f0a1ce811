"""How fast jaxfed is, beside other simulators and beside what the machine can do.

    python benchmarks/speed.py [--only W2e W4] [--peers torch fedjax] [--thorough]

Every peer runs in a process, and where it needs one an environment, of its own and reads the same arrays.
Before anything is timed, each must train the gate's federation as NumPy does. Then each takes as many
hospitals as fit the time of a repeat (samples per second is what counts), and the repeats alternate between
the peers. What is measured is written to ``results/speed-MACHINE.json``; parts of it can be measured one
after another.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro
from peers import process
from peers.process import PEERS, Process, Unavailable
from peers.runner import How, Runner
from workloads import arrays, models
from workloads.catalogue import KERNEL_SHAPES, SCALING, SIMULATORS, WORKLOADS, Workload
from workloads.machine import describe, slug
from workloads.targets import TARGETS

RESULTS = Path(__file__).parent / "results"
KERNELS = ("mean", "median", "trimmed mean")
EVERYTHING = {**WORKLOADS, **SCALING}


def main(
    only: list[str] | None = None,
    peers: list[str] | None = None,
    repeats: int = 5,
    thorough: bool = False,
    out: Path | None = None,
    venvs: Path = Path("~/.cache/jaxfed/peers"),
    scratch: Path | None = None,
) -> None:
    """Measure and write what was measured.

    Args:
        only: workloads, such as W1 W2e W7 W8; None for all.
        peers: who runs beside jaxfed; None for those of each workload.
        repeats: of which the median counts.
        thorough: all peers on every workload, all hospitals, longer repeats.
        out: the JSON file; what it holds of other workloads is kept.
        venvs: where the peers' environments are, or are made.
        scratch: folder for the arrays (some GB); None for a temporary one.
    """
    names = chosen(only)
    device = describe()
    out = out or RESULTS / f"speed-{slug(device)}.json"
    record = json.loads(out.read_text()) if out.exists() else {"workloads": {}}
    record["machine"] = device
    with tempfile.TemporaryDirectory() as temporary:
        folder = scratch or Path(temporary)
        how = How(folder, venvs.expanduser(), repeats, seconds=6.0 if thorough else 0.6)
        bench = Bench(how, thorough, device["platform"] == "cpu", peers)
        bench.install(names)
        began = time.perf_counter()
        bench.measure_machine(names)
        for name in names:
            if name == "W7":
                record["kernels"] = bench.kernels()
            else:
                record["workloads"][name] = bench.workload(name)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{time.perf_counter() - began:.0f} s; {out}")
    for target in TARGETS:
        found = target.read(record)
        if found and target.workload.split()[0] in {name.split("-")[0] for name in names}:
            value, met = found
            verdict = "met   " if met else "MISSED"
            print(f"{verdict} {target.workload}, {target.against}: {value:.3g}, {target.wanted}")


def chosen(only: list[str] | None) -> list[str]:
    """Names of workloads; W8 stands for all its sizes."""
    known = [*WORKLOADS, "W7", *SCALING]
    asked = only or ["W1", "W2", "W2e", "W3", "W4", "W5", "W7", "W8"]
    unknown = [name for name in asked if name not in (*known, "W8")]
    if unknown:
        raise SystemExit(f"--only {' '.join(unknown)}: there are {' '.join([*WORKLOADS, 'W7', 'W8'])}")
    return [name for name in known if name in asked or ("W8" in asked and name in SCALING)]


class Bench:
    """What all workloads share."""

    def __init__(self, how: How, thorough: bool, cpu: bool, peers: list[str] | None) -> None:
        self.how, self.thorough, self.cpu, self.peers = how, thorough, cpu, peers
        self.known: dict[str, Any] = {}  # versions by environment
        self.gated: dict[Any, Any] = {}  # by peer and training

    def workload(self, name: str) -> dict[str, Any]:
        """Gate and time jaxfed and its peers on one workload."""
        began = time.perf_counter()
        workload = EVERYTHING[name]
        print(f"\n{name}: {workload.title}", flush=True)
        folder = self.how.scratch / name
        arrays.write(workload, folder, few=self.cpu and not self.thorough)
        runners = [Runner(peer, name, folder, self.how) for peer in self._peers(workload)]
        self._gate(workload, runners)
        print(f"  the gate: {time.perf_counter() - began:.0f} s", flush=True)
        for runner in runners:
            runner.prepare(workload.rounds)
        for repeat in range(self.how.repeats):
            for runner in runners if repeat % 2 else reversed(runners):
                runner.time()
        with ThreadPoolExecutor() as pool:
            rows = dict(
                zip((runner.peer for runner in runners), pool.map(Runner.close, runners), strict=True)
            )
        found = self._floor(name, workload, folder)
        for peer, row in rows.items():
            if "samples_per_second" in row:
                row["share_of_floor"] = row["samples_per_second"] / found["floor_samples_per_second"]
                print(f"  {process.TITLES[peer]:42} {row['samples_per_second']:14,.0f} samples/s"
                      f" {100 * row['share_of_floor']:5.1f} % of the floor")  # fmt: skip
            else:
                print(f"  {process.TITLES[peer]:42} {row['failed']}", flush=True)
        if not self.thorough:
            shutil.rmtree(folder)
        seconds = time.perf_counter() - began
        print(f"  {seconds:.0f} s", flush=True)
        return {
            "title": workload.title,
            **found,
            "rows": rows,
            "versions": self._versions(rows),
            "measuring_seconds": seconds,
            "created": now(),
        }

    def _gate(self, workload: Workload, runners: list[Runner]) -> None:
        """All peers at once, because nothing is timed yet; sizes of W8 are one model, whose gate is one."""
        about = workload.layers, workload.inputs, workload.batch, workload.epochs, workload.rate
        with ThreadPoolExecutor() as pool:
            list(pool.map(Runner.gate, [one for one in runners if (one.peer, about) not in self.gated]))
        for runner in runners:
            runner.row["gate"] = self.gated.get((runner.peer, about)) or runner.compare()
            if runner.failed is None:
                self.gated[runner.peer, about] = runner.row["gate"]

    def install(self, names: list[str]) -> None:
        """Make the environments that are not there yet; one that cannot be made is a row with the reason."""
        peers = {peer for name in names if name in EVERYTHING for peer in self._peers(EVERYTHING[name])}
        for environment in {PEERS[peer][1] for peer in peers} | ({"torch"} if "W7" in names else set()):
            with contextlib.suppress(Unavailable):
                process.interpreter(environment, self.how.venvs)

    def measure_machine(self, names: list[str]) -> None:
        """Matrix products at the shapes of these workloads, and memory bandwidth."""
        asked = {
            name: models.products(work.layers, work.inputs, work.batch)
            for name, work in EVERYTHING.items()
            if name in names
        }
        began = time.perf_counter()
        self.machine = self._machine(asked)
        print(f"the machine: {time.perf_counter() - began:.0f} s", flush=True)

    def kernels(self) -> dict[str, Any]:
        """W7."""
        print("\nW7: aggregation kernels", flush=True)
        began = time.perf_counter()
        found: dict[str, Any] = {"bandwidth": self.machine["bandwidth"], "shapes": {}, "created": now()}
        for shape in KERNEL_SHAPES:
            uploads = self.how.scratch / "uploads.npy"
            block = np.random.default_rng(0).standard_normal((shape[0], min(shape[1], 100_000)), np.float32)
            with uploads.open("wb") as file:
                np.save(file, np.tile(block, -(-shape[1] // block.shape[1]))[:, : shape[1]])
                os.fsync(file.fileno())  # or it is written while the first kernel is timed
            rows: dict[str, Any] = {kernel: {} for kernel in KERNELS}
            for library in ("jaxfed", "numpy", "torch"):
                for kernel, row in self._kernels(library, shape, uploads).items():
                    rows[kernel][library] = row
            uploads.unlink()
            found["shapes"][" x ".join(map(str, shape))] = {"hospitals": shape[0], "rows": rows}
        found["measuring_seconds"] = time.perf_counter() - began
        return found

    def _kernels(self, library: str, shape: tuple[int, int], uploads: Path) -> dict[str, dict[str, Any]]:
        """A library's rows; one process, so that the peak memory of each is that so far."""
        environment = "torch" if library == "torch" else process.OWN
        asked = {"uploads": str(uploads), "seconds": self.how.seconds / 2, "repeats": self.how.repeats}
        found: dict[str, dict[str, Any]] = {}
        try:
            python = process.interpreter(environment, self.how.venvs)
            runner = Process("peers.kernels", python, self.how.scratch / f"kernels-{library}.log", library)
        except Unavailable as error:
            return {kernel: {"failed": str(error)} for kernel in KERNELS}
        for kernel in KERNELS:
            try:
                answer = runner.ask(kernel=kernel, **asked)
                if answer["error_of_result"] > 1e-4:
                    raise Unavailable(f"gate: off by {answer['error_of_result']:.2g}")
            except Unavailable as error:
                found[kernel] = {"failed": str(error)}
                print(f"  {shape} {kernel:13} {library:8} {error}", flush=True)
                continue
            per_second = shape[0] * answer["columns"] / median(answer["seconds"])
            print(f"  {shape} {kernel:13} {library:8} {per_second / 1e9:8.3f} G elements/s", flush=True)
            found[kernel] = {**answer, "elements_per_second": per_second, "bytes_per_second": 4 * per_second}
        runner.close()
        return found

    def _peers(self, workload: Workload) -> list[str]:
        if not workload.peers:
            return ["jaxfed"]
        own = (*workload.peers, *SIMULATORS) if self.thorough else workload.peers
        return ["jaxfed", *dict.fromkeys(peer for peer in own if self.peers is None or peer in self.peers)]

    def _floor(self, name: str, workload: Workload, folder: Path) -> dict[str, Any]:
        """What the machine can do with this workload."""
        machine = self.machine
        rates = machine["rates"][name]
        row = models.flop(workload.layers, workload.inputs)
        width = 4 * (int(np.prod(workload.inputs)) + 1)
        seconds = max(row / max(rates.values()), width / machine["bandwidth"])
        return {
            "flop_per_sample": row,
            "product_rates": rates,
            "bandwidth": machine["bandwidth"],
            "floor_samples_per_second": 1 / seconds,
            "data_bytes": sum((folder / f"{part}.npy").stat().st_size for part in "xy"),
            "hospitals": len(np.load(folder / "size.npy")),
        }

    def _machine(self, asked: dict[str, Any]) -> dict[str, Any]:
        return json.loads(
            subprocess.run(
                [sys.executable, "-m", "peers.floor"],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                check=True,
                cwd=process.HERE,
                env=process.environment(),
            ).stdout
        )

    def _versions(self, rows: dict[str, Any]) -> dict[str, Any]:
        environments = {PEERS[peer][1] for peer, row in rows.items() if "failed" not in row}
        for name in environments - set(self.known):
            self.known[name] = process.versions(name, self.how.venvs)
        return {name: self.known[name] for name in sorted(environments)}


def now() -> str:
    """Today, and the time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


if __name__ == "__main__":
    tyro.cli(main)
