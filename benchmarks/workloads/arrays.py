"""A workload's arrays on disk: written once, read by every peer's process.

A folder holds ``x.npy [N, ...]``, ``y.npy [N]``, ``size.npy [C]`` and ``spec.json``. The gate's federation
has a folder of the same form. Its results do not depend on the order of a hospital's rows, which no two
libraries draw alike: the rows of a hospital are either one batch, or all the same.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from workloads import models
from workloads.catalogue import Workload

DISTINCT = 4096  # rows; larger arrays repeat them
COHORTS = 64
GATE_ROUNDS = 2
GATES = ("whole", "ragged")  # folders of the gate


@dataclasses.dataclass(frozen=True)
class Federation:
    """Hospitals' rows, the model and the training, as a peer sees them.

    Attributes:
        x, y: ``[N, ...]`` and ``[N]``, read from disk where they are used.
        start, size: ``[C]`` first row and number of rows of each hospital.
        cohorts: ``[COHORTS, K]`` hospitals of a round.
        layers, inputs, classes, batch, epochs, rate: as in the catalogue.
        folder: where the arrays lie.
    """

    x: np.ndarray
    y: np.ndarray
    start: np.ndarray
    size: np.ndarray
    cohorts: np.ndarray
    layers: tuple[models.Layer, ...]
    inputs: tuple[int, ...]
    classes: int
    batch: int
    epochs: int
    rate: float
    folder: Path

    @property
    def outputs(self) -> int:
        """Width of the model's output."""
        return 1 if self.classes == 2 else self.classes

    def rows(self, hospital: int) -> tuple[np.ndarray, np.ndarray]:
        """``x [n, ...]`` and ``y [n]`` of one hospital."""
        own = slice(int(self.start[hospital]), int(self.start[hospital] + self.size[hospital]))
        return self.x[own], self.y[own]

    def initial(self) -> list[np.ndarray]:
        """Where every peer starts."""
        return models.initial(self.layers, self.inputs)

    def shortened(self, rows: int) -> Federation:
        """Every hospital keeps at most so many rows."""
        return dataclasses.replace(self, size=np.minimum(self.size, rows))

    def steps(self, hospitals: np.ndarray) -> int:
        """Local steps of these hospitals in a round."""
        return int((-(-self.size[hospitals] // self.batch)).sum()) * self.epochs

    def samples(self, hospitals: np.ndarray) -> int:
        """Rows of these hospitals, once per epoch."""
        return int(self.size[hospitals].sum()) * self.epochs

    def fewer(self, cohort: np.ndarray, count: int) -> np.ndarray:
        """``count`` hospitals of a cohort, evenly spaced in the order of their sizes."""
        ordered = cohort[np.argsort(self.size[cohort], kind="stable")]
        count = min(count, len(ordered))
        return ordered[((np.arange(count) + 0.5) * len(ordered) / count).astype(int)]


def write(workload: Workload, folder: Path, few: bool = False) -> None:
    """Write a workload's arrays and its gate's, where they are not there yet."""
    size = workload.sizes()
    if few and workload.few:
        size = size[: workload.few]
    _write(workload, folder, size, workload.cohort)
    for kind, gate in gate_sizes(workload.batch).items():
        _write(workload, folder / kind, gate, None)
        _repeat_rows(folder / kind, gate, workload.batch)


def gate_sizes(batch: int) -> dict[str, np.ndarray]:
    """Hospitals of the gate: whole batches for peers that fill the last batch up, else ragged ones."""
    return {
        "whole": np.array([batch, 2 * batch, batch, 3 * batch]),
        "ragged": np.array([batch, 2 * batch + batch // 3 + 1, max(batch // 2, 1), 1]),
    }


def read(folder: Path) -> Federation:
    """The arrays of a folder; ``x`` stays on disk until it is used."""
    spec: dict[str, Any] = json.loads((folder / "spec.json").read_text())
    spec["layers"] = tuple(tuple(layer) for layer in spec["layers"])
    spec["inputs"] = tuple(spec["inputs"])
    x, y, cohorts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y", "cohorts"))
    size = np.load(folder / "size.npy")
    return Federation(x, y, np.cumsum(size) - size, size, cohorts, folder=folder, **spec)


def _write(workload: Workload, folder: Path, size: np.ndarray, cohort: int | None) -> None:
    names = ("layers", "inputs", "classes", "batch", "epochs", "rate")
    spec = json.dumps({name: getattr(workload, name) for name in names})
    known = folder / "spec.json"
    if known.exists() and known.read_text() == spec and np.array_equal(np.load(folder / "size.npy"), size):
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    total = int(size.sum())
    rows = min(total, DISTINCT)
    block = rng.standard_normal((rows, *workload.inputs), np.float32)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (total, *workload.inputs))
    for first in range(0, total, rows):
        x[first : first + rows] = block[: total - first]
    x.flush()
    np.save(folder / "y.npy", rng.integers(0, workload.classes, total).astype(np.int32))
    np.save(folder / "size.npy", size)
    everyone = np.arange(len(size))
    drawn = [rng.permutation(everyone)[:cohort] if cohort else everyone for _ in range(COHORTS)]
    np.save(folder / "cohorts.npy", np.array(drawn))
    known.write_text(spec)


def _repeat_rows(folder: Path, size: np.ndarray, batch: int) -> None:
    """Hospitals of more than one batch get one row, many times."""
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    for first, n in zip(np.cumsum(size) - size, size, strict=True):
        if n > batch:
            x[first : first + n], y[first : first + n] = x[first], y[first]
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
