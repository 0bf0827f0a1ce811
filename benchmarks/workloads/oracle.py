"""Federated averaging in NumPy, in float64: what every peer's result is held to before it is timed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workloads.arrays import Federation
from workloads.models import Layer

TOLERANCE = 1e-3  # of the distance from the initial parameters; float32 leaves some 1e-6 to 1e-4


def fedavg(federation: Federation, rounds: int) -> list[np.ndarray]:
    """Parameters after some rounds with every hospital, weights n_k, rows in their order."""
    params = [leaf.astype(np.float64) for leaf in federation.initial()]
    for _ in range(rounds):
        total = [np.zeros_like(leaf) for leaf in params]
        for hospital, n in enumerate(federation.size):
            own = _train(federation, hospital, params)
            total = [t + n * leaf for t, leaf in zip(total, own, strict=True)]
        params = [t / federation.size.sum() for t in total]
    return params


def distance(
    found: Sequence[np.ndarray], expected: Sequence[np.ndarray], start: Sequence[np.ndarray]
) -> float:
    """|found - expected| / |expected - start|, Euclidean over all parameters."""

    def norm(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
        pairs = zip(a, b, strict=True)
        return float(np.sqrt(sum(np.square(np.subtract(p, q, dtype=np.float64)).sum() for p, q in pairs)))

    return norm(found, expected) / norm(expected, start)


def _train(federation: Federation, hospital: int, params: list[np.ndarray]) -> list[np.ndarray]:
    x, y = federation.rows(hospital)
    for _ in range(federation.epochs):
        for first in range(0, len(y), federation.batch):
            own = slice(first, first + federation.batch)
            grads = gradient(federation.layers, params, x[own].astype(np.float64), y[own])
            params = [p - federation.rate * g for p, g in zip(params, grads, strict=True)]
    return params


def gradient(
    layers: Sequence[Layer], params: list[np.ndarray], x: np.ndarray, y: np.ndarray
) -> list[np.ndarray]:
    """Gradient of the mean log loss over a batch."""
    kept, leaves = [], iter(params)
    for kind, *numbers in layers:
        kept.append(x)
        if kind == "dense":
            x = x @ next(leaves) + next(leaves)
        elif kind == "conv":
            x = np.tensordot(_patches(x, numbers[1]), next(leaves), 3) + next(leaves)
        elif kind == "pool":
            x = _windows(x, numbers[0]).max(axis=(2, 4))
        elif kind == "relu":
            x = np.maximum(x, 0)
        else:
            x = x.reshape(len(x), -1)
    back = _slope(x, y) / len(y)
    grads: list[np.ndarray] = []
    kernels = params[::2]
    for (kind, *numbers), x in zip(reversed(layers), reversed(kept), strict=True):
        if kind == "dense":
            grads = [x.T @ back, back.sum(0), *grads]
            back = back @ kernels[-len(grads) // 2].T
        elif kind == "conv":
            grads = [
                np.tensordot(_patches(x, numbers[1]), back, ((0, 1, 2),) * 2),
                back.sum((0, 1, 2)),
                *grads,
            ]
            back = _scattered(np.tensordot(back, kernels[-len(grads) // 2], ((3,), (3,))), x.shape)
        elif kind == "pool":
            windows = _windows(x, numbers[0])
            share = windows == windows.max(axis=(2, 4), keepdims=True)
            share = share / share.sum(axis=(2, 4), keepdims=True)
            inner = (share * back[:, :, None, :, None]).reshape(len(x), *_cropped(x, numbers[0]), x.shape[3])
            back = np.pad(inner, [(0, a - b) for a, b in zip(x.shape, inner.shape, strict=True)])
        else:
            back = back * (x > 0) if kind == "relu" else back.reshape(x.shape)
    return grads


def _slope(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Derivative of each row's loss by the outputs."""
    if outputs.shape[1] == 1:
        return 1 / (1 + np.exp(-outputs)) - y[:, None]
    shares = np.exp(outputs - outputs.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True) - np.eye(outputs.shape[1])[y]


def _patches(x: np.ndarray, size: int) -> np.ndarray:
    """``[B, h, w, size, size, channels]``."""
    views = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return np.moveaxis(views, 3, -1)


def _scattered(patches: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The transpose of :func:`_patches`."""
    _, h, w, size, _, _ = patches.shape
    image = np.zeros(shape)
    for i in range(size):
        for j in range(size):
            image[:, i : i + h, j : j + w] += patches[:, :, :, i, j]
    return image


def _cropped(x: np.ndarray, size: int) -> tuple[int, int]:
    return x.shape[1] // size * size, x.shape[2] // size * size


def _windows(x: np.ndarray, size: int) -> np.ndarray:
    """``[B, h, size, w, size, channels]``."""
    h, w = _cropped(x, size)
    return x[:, :h, :w].reshape(len(x), h // size, size, w // size, size, x.shape[3])
