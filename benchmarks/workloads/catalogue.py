"""The workloads. W6, sweeps, has its own script."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from workloads.models import Layer, Shape, mlp

SIMULATORS = ("torch", "torch_vmap", "fedjax", "pfl", "pfl_distributed", "flower")


@dataclasses.dataclass(frozen=True)
class Workload:
    """Federated averaging on synthetic arrays.

    Attributes:
        title: in a few words.
        sizes: draws the rows of each hospital, ``[C]``.
        inputs: shape of one row.
        classes: 2 is one logit with log loss, more is softmax.
        layers: the model, see :mod:`workloads.models`.
        batch, epochs, rate: local SGD.
        cohort: hospitals per round; None for all.
        rounds: per repeat.
        peers: who runs beside jaxfed; the others only with ``--thorough``.
        few: hospitals of a run that is not thorough, on a CPU; None for all.
        scratch: name of the arrays on disk; workloads with equal ones share them.
    """

    title: str
    sizes: Callable[[], np.ndarray]
    inputs: Shape
    classes: int
    layers: tuple[Layer, ...]
    batch: int
    epochs: int
    rate: float
    cohort: int | None = None
    rounds: int = 1
    peers: tuple[str, ...] = SIMULATORS
    few: int | None = None


def ragged(hospitals: int) -> Callable[[], np.ndarray]:
    """Lognormal sizes, clip(exp(N(5, 1.5^2)), 8, 20000)."""
    return lambda: np.clip(np.exp(np.random.default_rng(0).normal(5, 1.5, hospitals)), 8, 20000).astype(
        np.int64
    )


def equal(hospitals: int, rows: int) -> Callable[[], np.ndarray]:
    """The same size everywhere."""
    return lambda: np.full(hospitals, rows)


def handwriting() -> np.ndarray:
    """3400 writers of about 198 characters."""
    sizes = np.random.default_rng(0).normal(198, 77, 3400)
    return np.clip(np.round(sizes), 20, 480).astype(np.int64)


CONVOLUTIONS = (("conv", 32, 3), ("relu",), ("conv", 64, 3), ("relu",), ("pool", 2), ("flatten",))
LENET = (
    *(("conv", 6, 5), ("relu",), ("pool", 2), ("conv", 16, 5), ("relu",), ("pool", 2), ("flatten",)),
    *mlp(120, 84, 10),
)

WORKLOADS = {
    "W1": Workload(
        "table, 1000 ragged hospitals, 32 features, logistic regression, batch 32",
        *(ragged(1000), (32,), 2, mlp(1)),
        *(32, 1, 0.05),
        rounds=5,
        peers=("one_vmap", "torch", "torch_vmap", "fedjax", "pfl_distributed"),
    ),
    "W2": Workload(
        "table, 100 ragged hospitals, 64 features, MLP 64-64-128-1, batch 64, 5 epochs",
        *(ragged(100), (64,), 2, mlp(64, 128, 1)),
        *(64, 5, 0.05),
        rounds=3,
        peers=("torch", "torch_vmap", "fedjax", "pfl_distributed"),
    ),
    "W2e": Workload(
        "table, 500 equal hospitals of 512, MLP 32-64-64-1, batch 32",
        *(equal(500, 512), (32,), 2, mlp(64, 64, 1)),
        *(32, 1, 0.05),
        rounds=5,
    ),
    "W3": Workload(
        "images, pfl-research's CIFAR10 shapes: 50 of 1000 users x 50 images 32x32x3, CNN, batch 10",
        *(equal(1000, 50), (32, 32, 3), 10, (*CONVOLUTIONS, *mlp(128, 10))),
        *(10, 1, 0.1, 50),
        peers=("torch", "torch_vmap", "fedjax", "pfl_distributed"),
    ),
    "W4": Workload(
        "images, FedJAX's EMNIST shapes: 10 of 3400 writers, 28x28x1, CNN, batch 20",
        *(handwriting, (28, 28, 1), 62, (*CONVOLUTIONS, *mlp(128, 62))),
        *(20, 1, 0.05, 10),
        peers=("flax_vmap", "torch", "torch_vmap", "fedjax", "pfl_distributed"),
    ),
    "W5": Workload(
        "images, BlazeFL's shapes: 100 hospitals x 500 images 32x32x3, LeNet, batch 50, 5 epochs",
        *(equal(100, 500), (32, 32, 3), 10, LENET),
        *(50, 5, 0.05),
        peers=("torch", "torch_vmap", "fedjax", "pfl_distributed", "flower"),
        few=8,
    ),
}

SCALES = (10, 100, 1_000, 10_000, 100_000)
SCALING = {
    f"W8-{hospitals}": Workload(
        f"table, {hospitals} hospitals of 32 rows, 32 features, MLP 32-64-1, batch 32",
        *(equal(hospitals, 32), (32,), 2, mlp(64, 1)),
        *(32, 1, 0.05),
        rounds=max(1, 20_000 // hospitals),
        peers=(),
    )
    for hospitals in SCALES
}

KERNEL_SHAPES = ((100, 1_600_000), (1_000, 16_600), (10_000, 4_000))
