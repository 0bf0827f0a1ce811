"""Aggregation kernels on uploads ``[K, P]``: jaxfed's, NumPy's and PyTorch's.

    python -m peers.kernels LIBRARY

jaxfed's uploads lie on its devices as in a round: for the mean each device adds up its hospitals' and one sum
over the devices follows; for rules that need all uploads each device has its share of the columns. NumPy and
PyTorch get as many columns as fit the time.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from peers.protocol import peak_bytes

TRIM = 0.1
CHECKED = 64  # columns that are compared with NumPy in float64
Run = Callable[[], Any]


def main(library: str) -> None:
    """Answer ``{"kernel", "uploads", "seconds", "repeats"}`` with seconds, columns and the error."""
    kernels = {"jaxfed": _jaxfed, "numpy": _numpy, "torch": _torch}[library]()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _measure(kernels, library, **request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        print(json.dumps({**answer, "peak_bytes": peak_bytes()}), flush=True)


def _measure(
    kernels: Callable[[str, np.ndarray], Run],
    library: str,
    kernel: str,
    uploads: str,
    seconds: float,
    repeats: int,
) -> dict[str, Any]:
    rows = np.load(uploads, mmap_mode="r")
    columns = rows.shape[1]
    if library != "jaxfed" and kernel != "mean":
        probe = min(columns, max(2_000_000 // len(rows), CHECKED))
        columns = min(columns, max(int(probe * seconds / _clock(kernels(kernel, rows[:, :probe]))), CHECKED))
    run = kernels(kernel, rows[:, :columns])
    found = np.asarray(run()).reshape(-1)[:CHECKED]
    expected = reference(kernel, np.asarray(rows[:, :CHECKED], np.float64))
    count = max(1, int(seconds / 3 / _clock(run)))
    return {
        "error_of_result": float(np.abs(found - expected).max()),
        "seconds": [_clock(run, count) for _ in range(repeats)],
        "columns": columns,
    }


def _clock(run: Run, count: int = 1) -> float:
    """Seconds of a run, the mean of so many."""
    began = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - began) / count


def weights(count: int) -> np.ndarray:
    """Of the mean, ``[K]``."""
    return (1 + np.arange(count) % 7).astype(np.float32)


def reference(kernel: str, rows: np.ndarray) -> np.ndarray:
    """In float64."""
    if kernel == "mean":
        return weights(len(rows)) @ rows / weights(len(rows)).sum(dtype=np.float64)
    return np.median(rows, 0) if kernel == "median" else _trimmed(rows)


def _trimmed(rows: np.ndarray) -> np.ndarray:
    cut = int(TRIM * len(rows))
    return np.partition(rows, (cut, len(rows) - cut - 1), axis=0)[cut : len(rows) - cut].mean(0)


def _numpy() -> Callable[[str, np.ndarray], Run]:
    def make(kernel: str, rows: np.ndarray) -> Run:
        rows = np.ascontiguousarray(rows)
        if kernel == "mean":
            share = weights(len(rows)) / weights(len(rows)).sum()
            return lambda: share @ rows
        return (lambda: np.median(rows, 0)) if kernel == "median" else (lambda: _trimmed(rows))

    return make


def _torch() -> Callable[[str, np.ndarray], Run]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def make(kernel: str, rows: np.ndarray) -> Run:
        x = torch.from_numpy(np.ascontiguousarray(rows)).to(device)
        K = len(x)
        cut, share = int(TRIM * K), torch.from_numpy(weights(K)).to(device)
        share /= share.sum()

        def run() -> Any:
            if kernel == "mean":
                out = share @ x
            elif kernel == "trimmed mean":
                out = x.sort(0).values[cut : K - cut].mean(0)
            elif K % 2:
                out = x.median(0).values
            else:
                ordered = x.sort(0).values
                out = (ordered[K // 2 - 1] + ordered[K // 2]) / 2
            return out.cpu()

        return run

    return make


def _jaxfed() -> Callable[[str, np.ndarray], Run]:
    import jax
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    import jaxfed
    from jaxfed.core.products import weighted_sum
    from jaxfed.core.types import Upload
    from jaxfed.core.uploads import Uploads

    if not shutil.which("nvidia-smi"):
        jaxfed.use_cpu_devices()
    mesh = jax.make_mesh((len(jax.devices()),), ("devices",), (AxisType.Auto,))

    rules = {
        "mean": jaxfed.aggregators.WeightedMean(),
        "median": jaxfed.aggregators.Median(),
        "trimmed mean": jaxfed.aggregators.TrimmedMean(TRIM),
    }

    def make(kernel: str, rows: np.ndarray) -> Run:
        rule, size = rules[kernel], rows.shape[1]

        def streamed(rows: Any, weight: Any) -> Any:
            total = jax.lax.psum((Upload(weighted_sum(weight, rows)), weight.sum()), "devices")
            return rule.lower(*total, rule.init(Upload(rows[0])), jax.random.key(0))[0].update

        def stored(rows: Any, weight: Any) -> Any:
            uploads = Uploads(rows, rows[:, :0], weight, size, "devices")
            return rule.reduce(uploads, rule.init(rows[0]), jax.random.key(0))[0].update

        if kernel == "mean":
            function, weight = streamed, weights(len(rows))
            inside, outside = (P("devices"), P("devices")), P()
        else:
            function, weight = stored, np.ones(len(rows), np.float32)
            inside, outside = (P(None, "devices"), P()), P("devices")
        placed = [
            jax.device_put(np.asarray(array), NamedSharding(mesh, spec))
            for array, spec in zip((rows, weight), inside, strict=True)
        ]
        run = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=inside, out_specs=outside, check_vma=False))
        return lambda: run(*placed).block_until_ready()

    return make


if __name__ == "__main__":
    main(sys.argv[1])
