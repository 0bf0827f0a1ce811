"""What rules that compare uploads cost, beside the same formulas in NumPy and torch.

python benchmarks/aggregators.py [OUT.json] [REPEATS]

At [100 hospitals, 1.6 M numbers] and [1000, 16.6 k]: medians of seconds per call, the three alternating,
without compilation, all on all cores. NumPy and torch subtract the mean of the uploads before their one
product, as float32 needs; for the rules of `robust_kernels` torch has the passes over the uploads, and the
arithmetic on K x K numbers is NumPy's for both. torch is left out where it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import robust_kernels
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxfed
from jaxfed.aggregators import (
    CAF,
    NNM,
    Bulyan,
    CentredClipping,
    DnC,
    FLTrust,
    GeometricMedian,
    Krum,
    Meamed,
    MoNNA,
)
from jaxfed.core.uploads import Uploads

SHAPES = ((1000, 16_600), (100, 1_600_000))
F, STEPS, TAU = 10, 32, 10.0
# CAF's weight of an upload that is nearly the farthest is a difference of nearly equal numbers: with 1.6 M
# coordinates that of float32 differs by 2 % from that of float64.
TOLERANCE = {"CAF": 2e-2}
# Of 1.6 M coordinates some have two uploads equally far from the median, up to rounding.
AROUND_MEDIAN = ("Meamed", "Bulyan")
RULES: dict[str, tuple[Any, ...]] = {
    "Krum": (Krum(F),),
    "geometric median": (GeometricMedian(steps=STEPS),),
    "centred clipping": (CentredClipping(TAU),),
    "NNM and Krum": (NNM(F), Krum(F)),
    "NNM and geometric median": (NNM(F), GeometricMedian(steps=STEPS)),
    "multi-Krum": (Krum(F, select=None),),
    "MoNNA": (MoNNA(F),),
    "CAF": (CAF(F),),
    "DnC": (DnC(F, size=10**9),),  # all coordinates, so that peers draw none
    "FLTrust": (FLTrust(),),
    "Meamed": (Meamed(F),),
    "Bulyan": (Bulyan(F),),
}


def ours(parts: tuple[Any, ...], x: np.ndarray) -> Callable[[], np.ndarray]:
    """One program over all devices, on uploads that lie there already."""
    *mixers, rule = parts
    devices, (clients, size) = len(jax.devices()), x.shape
    mesh, everywhere = Mesh(np.array(jax.devices()), ("devices",)), PartitionSpec()
    shares = PartitionSpec(None, "devices")

    def device(matrix: Any, state: Any, key: Any) -> Any:
        uploads = Uploads(matrix, jnp.zeros((clients, 0)), jnp.ones(clients), size, "devices")
        for mixer in mixers:
            uploads = mixer.apply(uploads, key)
        return rule.reduce(uploads, state, key)[0].update

    program = jax.jit(
        jax.shard_map(
            device,
            mesh=mesh,
            in_specs=(shares, everywhere, everywhere),
            out_specs=PartitionSpec("devices"),
            check_vma=False,
        )
    )
    padded = np.pad(x, ((0, 0), (0, -size % devices)))
    matrix = jax.device_put(padded, NamedSharding(mesh, shares))
    state, key = rule.init(jnp.zeros(size)), jax.random.key(0)
    return lambda: np.asarray(jax.block_until_ready(program(matrix, state, key)))[:size]


def numpy_rule(name: str, x: np.ndarray) -> Callable[[], np.ndarray]:
    """The same formulas in NumPy."""
    clients = len(x)

    def distances(gram: np.ndarray) -> np.ndarray:
        squares = np.diagonal(gram)
        return np.maximum(squares[:, None] + squares - 2 * gram, 0)

    def call() -> np.ndarray:
        if name == "centred clipping":
            factors = np.minimum(1, TAU / np.sqrt(np.square(x).sum(1)))  # from v = 0
            return factors @ x / clients
        centred = x - x.mean(0)
        gram, rows = centred @ centred.T, None
        if name.startswith("NNM"):
            near = np.argpartition(distances(gram), clients - F - 1, axis=1)[:, : clients - F]
            rows = np.zeros_like(gram)
            np.put_along_axis(rows, near, 1 / (clients - F), axis=1)
            gram = rows @ gram @ rows.T
        if name.endswith("Krum"):
            scores = np.partition(distances(gram), clients - F - 2, axis=1)[:, : clients - F - 1].sum(1)
            weights = (np.arange(clients) == scores.argmin()).astype(x.dtype)
        else:
            weights = np.full(clients, 1 / clients, x.dtype)
            for _ in range(STEPS):
                inner = gram @ weights
                squares = np.diagonal(gram) - 2 * inner + weights @ inner
                weights = 1 / np.maximum(np.sqrt(np.maximum(squares, 0)), 1e-6)
                weights /= weights.sum()
        return (weights if rows is None else weights @ rows) @ x

    return call


def torch_rule(name: str, x: np.ndarray) -> Callable[[], np.ndarray]:
    """The same formulas in torch."""
    import torch

    clients, whole = len(x), torch.from_numpy(x)

    def distances(gram: Any) -> Any:
        squares = gram.diagonal()
        return (squares[:, None] + squares - 2 * gram).clamp(min=0)

    def call() -> np.ndarray:
        if name == "centred clipping":
            factors = (TAU / whole.norm(dim=1)).clamp(max=1)
            return (factors @ whole / clients).numpy()
        centred = whole - whole.mean(0)
        gram, rows = centred @ centred.T, None
        if name.startswith("NNM"):
            near = distances(gram).topk(clients - F, dim=1, largest=False).indices
            rows = torch.zeros_like(gram).scatter_(1, near, 1 / (clients - F))
            gram = rows @ gram @ rows.T
        if name.endswith("Krum"):
            scores = distances(gram).topk(clients - F - 1, dim=1, largest=False).values.sum(1)
            weights = (torch.arange(clients) == scores.argmin()).to(whole.dtype)
        else:
            weights = torch.full((clients,), 1 / clients)
            for _ in range(STEPS):
                inner = gram @ weights
                squares = gram.diagonal() - 2 * inner + weights @ inner
                weights = 1 / squares.clamp(min=0).sqrt().clamp(min=1e-6)
                weights = weights / weights.sum()
        return ((weights if rows is None else weights @ rows) @ whole).numpy()

    return call


def measure(repeats: int) -> Iterator[dict[str, Any]]:
    """Seconds of every rule at every shape."""
    for shape in SHAPES:
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        x *= np.linspace(1, 2, len(x), dtype=np.float32)[:, None]
        for name, parts in RULES.items():
            calls = {"jaxfed": ours(parts, x), "numpy": numpy_rule(name, x)}
            if name in robust_kernels.RULES:
                calls["numpy"] = robust_kernels.numpy_rule(name, x, F)
            if importlib.util.find_spec("torch"):
                known = name in robust_kernels.RULES
                calls["torch"] = robust_kernels.torch_rule(name, x, F) if known else torch_rule(name, x)
            answers = {who: call() for who, call in calls.items()}  # compiles
            for who, answer in answers.items():
                apart = np.abs(answer - answers["jaxfed"])
                difference = np.quantile(apart, 0.9999) if name in AROUND_MEDIAN else apart.max()
                if difference > TOLERANCE.get(name, 1e-3):
                    raise AssertionError(f"{name} at {shape}: {who} differs by {difference}")
            seconds: dict[str, list[float]] = {who: [] for who in calls}
            for _ in range(repeats):
                for who, call in calls.items():
                    began = time.perf_counter()
                    call()
                    seconds[who].append(time.perf_counter() - began)
            medians = {who: float(np.median(times)) for who, times in seconds.items()}
            print(
                f"{shape} {name}: " + ", ".join(f"{who} {t:.3f} s" for who, t in medians.items()), flush=True
            )
            yield {"rule": name, "shape": shape, "seconds": medians, "all": seconds}


def main(out: Path | None, repeats: int) -> None:
    """Measure, print, and write a record, again after every rule."""
    versions = {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        versions["torch"] = torch.__version__
    record: dict[str, Any] = {
        "devices": [str(device) for device in jax.devices()],
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": versions,
        "repeats": repeats,
        "results": [],
    }
    for result in measure(repeats):
        record["results"].append(result)
        if out is not None:
            out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    jaxfed.use_cpu_devices()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, int(sys.argv[2]) if len(sys.argv) > 2 else 7)
