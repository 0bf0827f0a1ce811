"""How fast jaxfed is, beside other simulators and beside what the machine can do.

    python benchmarks/speed.py [--only W2e W4] [--peers torch fedjax] [--thorough]

Every peer runs in a process, and where it needs one an environment, of its own and reads the same arrays.
Before anything is timed, each must train the gate's federation as NumPy does. Then each takes as many
hospitals as fit the time of a repeat (samples per second is what counts), and the repeats alternate between
the peers. What is measured is written to ``results/speed-MACHINE.json``; parts of it can be measured one
after another.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro
from peers import process
from peers.process import PEERS, Process, Unavailable
from workloads import arrays, models, oracle
from workloads.catalogue import KERNEL_SHAPES, SCALING, SIMULATORS, WORKLOADS, Workload
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
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = scratch or Path(temporary)
        bench = Bench(folder, venvs.expanduser(), repeats, thorough, device["platform"] == "cpu", peers)
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

    def __init__(
        self, scratch: Path, venvs: Path, repeats: int, thorough: bool, cpu: bool, peers: list[str] | None
    ) -> None:
        self.scratch, self.venvs, self.repeats, self.thorough, self.cpu = (
            scratch,
            venvs,
            repeats,
            thorough,
            cpu,
        )
        self.peers = peers
        self.seconds = 6.0 if thorough else 0.6  # a repeat of a peer
        self.known: dict[str, Any] = {}  # versions by environment

    def workload(self, name: str) -> dict[str, Any]:
        """Gate and time jaxfed and its peers on one workload."""
        began = time.perf_counter()
        workload = EVERYTHING[name]
        print(f"\n{name}: {workload.title}", flush=True)
        folder = self.scratch / name
        arrays.write(workload, folder, few=self.cpu and not self.thorough)
        runners = [Runner(peer, name, folder, self) for peer in self._peers(workload)]
        for runner in runners:
            started = time.perf_counter()
            runner.prepare(workload)
            runner.row["prepare_seconds"] = time.perf_counter() - started
        for repeat in range(self.repeats):
            for runner in runners if repeat % 2 else reversed(runners):
                runner.time()
        rows = {runner.peer: runner.close() for runner in runners}
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

    def measure_machine(self, names: list[str]) -> None:
        """Matrix products at the shapes of these workloads, and memory bandwidth."""
        asked = {
            name: models.products(work.layers, work.inputs, work.batch)
            for name, work in EVERYTHING.items()
            if name in names
        }
        self.machine = self._machine(asked)

    def kernels(self) -> dict[str, Any]:
        """W7."""
        print("\nW7: aggregation kernels", flush=True)
        found: dict[str, Any] = {"bandwidth": self.machine["bandwidth"], "shapes": {}, "created": now()}
        for shape in KERNEL_SHAPES:
            uploads = self.scratch / "uploads.npy"
            block = np.random.default_rng(0).standard_normal((shape[0], min(shape[1], 100_000)), np.float32)
            np.save(uploads, np.tile(block, -(-shape[1] // block.shape[1]))[:, : shape[1]])
            rows: dict[str, Any] = {kernel: {} for kernel in KERNELS}
            for library in ("jaxfed", "numpy", "torch"):
                for kernel in KERNELS:
                    rows[kernel][library] = self._kernel(library, kernel, shape, uploads)
            uploads.unlink()
            found["shapes"][" x ".join(map(str, shape))] = {"hospitals": shape[0], "rows": rows}
        return found

    def _kernel(self, library: str, kernel: str, shape: tuple[int, int], uploads: Path) -> dict[str, Any]:
        """A process for each, so that its peak memory is its own."""
        environment = "torch" if library == "torch" else process.OWN
        try:
            python = process.interpreter(environment, self.venvs)
            log = self.scratch / f"kernels-{library}.log"
            runner = Process("peers.kernels", python, log, library)
            try:
                asked = {"kernel": kernel, "uploads": str(uploads), "seconds": self.seconds / 2}
                answer = runner.ask(**asked, repeats=self.repeats)
            finally:
                runner.close()
            if answer["error_of_result"] > 1e-4:
                raise Unavailable(f"gate: off by {answer['error_of_result']:.2g}")
        except Unavailable as error:
            print(f"  {shape} {kernel:13} {library:8} {error}", flush=True)
            return {"failed": str(error)}
        per_second = shape[0] * answer["columns"] / median(answer["seconds"])
        print(f"  {shape} {kernel:13} {library:8} {per_second / 1e9:8.3f} G elements/s", flush=True)
        return {**answer, "elements_per_second": per_second, "bytes_per_second": 4 * per_second}

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
            self.known[name] = process.versions(name, self.venvs)
        return {name: self.known[name] for name in sorted(environments)}


class Runner:
    """A peer on one workload; where it fails, the reason takes the place of its numbers."""

    def __init__(self, peer: str, name: str, folder: Path, bench: Bench) -> None:
        self.peer, self.folder, self.bench = peer, folder, bench
        self.failed: str | None = None
        self.process: Process | None = None
        self.row: dict[str, Any] = {"seconds": [], "samples": [], "steps": [], "clients": []}
        module, environment = PEERS[peer]
        try:
            python = process.interpreter(environment, bench.venvs)
            self.process = Process(module, python, bench.scratch / "logs" / f"{name}-{peer}.log")
        except Unavailable as error:
            self.failed = str(error)

    def prepare(self, workload: Workload) -> None:
        """The gate, then compiling and the choice of settings."""
        out = self.folder / f"{self.peer}.npz"
        answer = self._ask(do="gate", folder=str(self.folder), out=str(out))
        if answer is None:
            return
        federation = arrays.read(self.folder / answer["kind"])
        with np.load(out) as found:
            leaves = [found[key] for key in found.files]
        expected = oracle.fedavg(federation, arrays.GATE_ROUNDS)
        off = oracle.distance(leaves, expected, federation.initial())
        self.row["gate"] = {"kind": answer["kind"], "distance": off}
        if not off < oracle.TOLERANCE:
            self.failed = f"gate: {off:.2g} off NumPy's parameters"
            return
        seconds = self.bench.seconds
        answer = self._ask(do="prepare", folder=str(self.folder), seconds=seconds, rounds=workload.rounds)
        self.row.update(answer or {})

    def time(self) -> None:
        """One repeat; slow peers take fewer."""
        spent = sum(self.row["seconds"])
        done = len(self.row["seconds"])
        patience = (80 if self.peer == "jaxfed" else 15) * self.bench.seconds
        if (done >= 2 and spent > patience) or (self.row.get("at_once") and done):
            return
        answer = self._ask(do="time", repeats=self.bench.repeats if self.row.get("at_once") else 1)
        for name in ("seconds", "samples", "steps", "clients"):
            self.row[name] += (answer or {}).get(name, [])
        self.row["peak_bytes"] = (answer or {}).get("peak_bytes")

    def close(self) -> dict[str, Any]:
        """What is put on record."""
        if self.process:
            self.process.close()
        if self.failed:
            return {"failed": self.failed, "gate": self.row.get("gate")}
        pairs = {
            name: median(n / s for n, s in zip(self.row[name], self.row["seconds"], strict=True))
            for name in ("samples", "steps")
        }
        return {
            **self.row,
            "samples_per_second": pairs["samples"],
            "client_steps_per_second": pairs["steps"],
        }

    def _ask(self, **request: Any) -> dict[str, Any] | None:
        if self.failed or self.process is None:
            return None
        try:
            return self.process.ask(**request)
        except Unavailable as error:
            self.failed = f"{request['do']}: {error}"
            return None


def describe() -> dict[str, Any]:
    """The machine, as jax sees it."""
    code = "import jax, json; d = jax.devices()[0]; print(json.dumps([d.platform, d.device_kind]))"
    probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kind, device = json.loads(probe.stdout)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "device": processor() if kind == "cpu" else device,
        "platform": kind,
        "cores": cores,
        "memory_bytes": memory,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def processor() -> str:
    """Name of the CPU."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def slug(device: dict[str, Any]) -> str:
    """For a file's name."""
    name = re.sub(r"[^a-z0-9]+", "-", device["device"].lower()).strip("-")
    return f"{name}-{device['cores']}-cores" if device["platform"] == "cpu" else name


def now() -> str:
    """Today, and the time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


if __name__ == "__main__":
    tyro.cli(main)
