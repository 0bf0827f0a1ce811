"""What the machine can do: matrix products at a step's shapes, and memory bandwidth, on all cores.

    floor of a workload = max(FLOP / rate of its products, bytes / bandwidth)

The rate is the better of two: XLA, the products of a step one after another in a compiled loop on every
device; and, on a CPU, NumPy's BLAS in one thread per core. Both do the products only, on data that stay in
the cache.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np

import jaxfed

REPEATS = 5
SECONDS = 0.15  # a repeat
STREAM = 64_000_000  # float32 numbers per core


def main() -> None:
    """Read ``{name: products}`` from stdin, write ``{"bandwidth": ..., "rates": {name: ...}}``."""
    asked = json.loads(sys.stdin.read())
    cpu = not shutil.which("nvidia-smi")
    cores = jaxfed.use_cpu_devices() if cpu else 1
    found = {"bandwidth": bandwidth(cores, cpu), "rates": {}}
    seen: dict[str, Any] = {}
    for name, products in asked.items():
        if str(products) in seen:
            found["rates"][name] = seen[str(products)]
            continue
        flop = sum(2 * math.prod(product) for product in products)
        rates = {"xla": flop * _repeat(partial(_xla, products))}
        if cpu:
            rates["blas"] = flop * _repeat(partial(_blas, products, cores))
        found["rates"][name] = seen[str(products)] = rates
    print(json.dumps(found))


def bandwidth(cores: int, cpu: bool) -> float:
    """Bytes per second: the better of reading two streams and of copying one."""
    if not cpu:
        x = jnp.ones(STREAM)
        copy = jax.jit(lambda x: x + 1)
        return 8 * STREAM * _repeat(lambda: lambda n: [copy(x) for _ in range(n)][-1].block_until_ready())
    streams = [np.ones((2, STREAM // 2), np.float32) for _ in range(cores)]

    def read(count: int) -> None:
        _together(cores, lambda c: [np.dot(*streams[c]) for _ in range(count)])

    def copy_(count: int) -> None:
        _together(cores, lambda c: [np.copyto(*streams[c]) for _ in range(count)])

    return 4 * STREAM * cores * max(_repeat(lambda: read), _repeat(lambda: copy_))


def _repeat(make: Callable[[], Callable[[int], Any]]) -> float:
    """Calls per second of ``function(count)``: the best of some repeats, for it is a limit."""
    function = make()
    function(1)  # compiles
    count, seconds = 1, 0.0
    while seconds < SECONDS / 4:
        count *= 2
        seconds = _clock(function, count)
    count = max(1, int(count * SECONDS / seconds))
    return count / min(_clock(function, count) for _ in range(REPEATS))


def _clock(function: Callable[[int], Any], count: int) -> float:
    began = time.perf_counter()
    function(count)
    return time.perf_counter() - began


def _together(cores: int, work: Callable[[int], Any]) -> None:
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, range(cores)))


def _operands(products: list[list[int]]) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        tuple(rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n))) for m, k, n in products
    ]


def _blas(products: list[list[int]], cores: int) -> Callable[[int], None]:
    """Every thread does ``count / cores`` steps."""
    work = [
        [(a, b, np.empty((len(a), b.shape[1]), np.float32)) for a, b in _operands(products)]
        for _ in range(cores)
    ]

    def steps(core: int, count: int) -> None:
        for _ in range(count):
            for a, b, out in work[core]:
                np.dot(a, b, out)

    return lambda count: _together(cores, lambda core: steps(core, -(-count // cores)))


def _xla(products: list[list[int]]) -> Callable[[int], Any]:
    """Every device does ``count / devices`` steps in a compiled loop."""
    devices = jax.devices()

    @jax.jit
    def steps(operands: Any, count: Any) -> Any:
        def step(_: Any, carry: Any) -> Any:
            # carried whole, so that no product is dropped; each left operand takes a number of its product,
            # so that none leaves the loop
            lefts, outs = carry
            lefts = [a.at[0, 0].set(out[0, 0] * 1e-3) for a, out in zip(lefts, outs, strict=True)]
            return lefts, [a @ b for a, (_, b) in zip(lefts, operands, strict=True)]

        outs = [jnp.zeros((len(a), b.shape[1])) for a, b in operands]
        return jax.lax.fori_loop(0, count, step, ([a for a, _ in operands], outs))

    placed = [jax.device_put(_operands(products), device) for device in devices]

    def run(count: int) -> None:
        each = -(-count // len(devices))
        jax.block_until_ready([steps(operands, each) for operands in placed])

    return run


if __name__ == "__main__":
    main()
