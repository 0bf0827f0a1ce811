"""What must be seen on two cores, and whether it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """A number of the record that has a lower bound (upper where ``below``)."""

    workload: str
    against: str
    bound: float
    unit: str
    value: Callable[[Record], float]
    below: bool = False

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"{'at most' if self.below else 'at least'} {self.bound:g} {self.unit}"

    def read(self, record: Record) -> tuple[float, bool] | None:
        """The measured value and whether the bound is met; None where it was not measured."""
        try:
            value = self.value(record)
        except (KeyError, IndexError):
            return None
        return value, value <= self.bound if self.below else value >= self.bound


def rate(record: Record, workload: str, peer: str = "jaxfed") -> float:
    """Samples per second."""
    return record["workloads"][workload]["rows"][peer]["samples_per_second"]


def times(workload: str, peer: str) -> Callable[[Record], float]:
    """How many times as fast as a peer."""
    return lambda record: rate(record, workload) / rate(record, workload, peer)


def gflops(record: Record, workload: str = "W2") -> float:
    """GFLOP per second of the model's matrix products."""
    return rate(record, workload) * record["workloads"][workload]["flop_per_sample"] / 1e9


def share(which: str, workload: str = "W2") -> Callable[[Record], float]:
    """Percent of a measured matrix-product rate."""
    return lambda record: (
        100e9 * gflops(record, workload) / record["workloads"][workload]["product_rates"][which]
    )


def mean_share(record: Record) -> float:
    """Percent of the memory bandwidth: the least over the shapes."""
    kernels = record["kernels"]
    return min(
        100 * shape["rows"]["mean"]["jaxfed"]["bytes_per_second"] / kernels["bandwidth"]
        for shape in kernels["shapes"].values()
    )


def kernel_times(kernel: str) -> Callable[[Record], float]:
    """How many times as fast as the faster of NumPy and PyTorch: the least over the shapes."""

    def value(record: Record) -> float:
        shapes = [shape["rows"][kernel] for shape in record["kernels"]["shapes"].values()]
        return min(
            row["jaxfed"]["elements_per_second"]
            / max(row[peer]["elements_per_second"] for peer in ("numpy", "torch"))
            for row in shapes
        )

    return value


def scale(record: Record) -> float:
    """Percent of the samples per second at 1,000 hospitals that remain at 100,000."""
    return 100 * rate(record, "W8-100000") / rate(record, "W8-1000")


def peak(record: Record) -> float:
    """GB at 100,000 hospitals."""
    return record["workloads"]["W8-100000"]["rows"]["jaxfed"]["peak_bytes"] / 1e9


def growth(record: Record) -> float:
    """Bytes of memory per byte of data, from 1,000 to 100,000 hospitals."""
    small, large = (record["workloads"][f"W8-{count}"] for count in (1_000, 100_000))
    memory = large["rows"]["jaxfed"]["peak_bytes"] - small["rows"]["jaxfed"]["peak_bytes"]
    return memory / (large["data_bytes"] - small["data_bytes"])


TARGETS = (
    Target("W2e", "PyTorch loop", 30, "x", times("W2e", "torch")),
    Target("W2e", "FedJAX", 12, "x", times("W2e", "fedjax")),
    Target("W2", "70 GFLOP/s", 70, "GFLOP/s", gflops),
    Target("W2", "matrix products at its shapes, BLAS", 60, "%", share("blas")),
    Target("W2", "matrix products at its shapes, XLA", 60, "%", share("xla")),
    Target("W1", "one vmap over padded hospitals", 8, "x", times("W1", "one_vmap")),
    Target("W3", "PyTorch loop", 1, "x", times("W3", "torch")),
    Target("W4", "PyTorch loop", 1, "x", times("W4", "torch")),
    Target("W5", "PyTorch loop", 1, "x", times("W5", "torch")),
    Target("W4", "flax `nn.Conv` under vmap", 20, "x", times("W4", "flax_vmap")),
    Target("W7 weighted mean", "memory bandwidth", 60, "%", mean_share),
    Target("W7 median", "the faster of NumPy and PyTorch", 2, "x", kernel_times("median")),
    Target("W7 trimmed mean", "the faster of NumPy and PyTorch", 2, "x", kernel_times("trimmed mean")),
    Target("W8", "samples/s at 1,000 hospitals, at 100,000", 80, "%", scale),
    Target("W8", "memory at 100,000 hospitals", 4, "GB", peak, below=True),
)
