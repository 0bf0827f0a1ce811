"""Models as lists of layers, which every peer builds with its own library; initial values; work.

A layer is ``("dense", width)``, ``("conv", channels, size)`` (no padding, stride 1), ``("pool", size)``
(maximum, stride = size), ``("relu",)`` or ``("flatten",)``. Parameters are one flat list: kernel, bias of
each dense and convolutional layer in order, images are ``[height, width, channels]``, kernels ``[in, out]``
and ``[size, size, in, out]``. Peers with another layout convert.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Layer = tuple[Any, ...]
Shape = tuple[int, ...]
Product = tuple[int, int, int]  # [m, k] times [k, n]


def mlp(*widths: int) -> tuple[Layer, ...]:
    """Dense layers with relu between them; ``mlp(1)`` is logistic regression."""
    layers: list[Layer] = []
    for width in widths:
        layers += [("dense", width), ("relu",)]
    return tuple(layers[:-1])


def walk(layers: Sequence[Layer], inputs: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
    """Each layer with the shapes of one row before and after it."""
    for layer in layers:
        kind, *numbers = layer
        if kind == "dense":
            outputs: Shape = (numbers[0],)
        elif kind == "conv":
            outputs = (inputs[0] - numbers[1] + 1, inputs[1] - numbers[1] + 1, numbers[0])
        elif kind == "pool":
            outputs = (inputs[0] // numbers[0], inputs[1] // numbers[0], inputs[2])
        else:
            outputs = (math.prod(inputs),) if kind == "flatten" else inputs
        yield layer, inputs, outputs
        inputs = outputs


def initial(layers: Sequence[Layer], inputs: Shape, seed: int = 0) -> list[np.ndarray]:
    """Normal kernels of variance 1 / fan-in and small biases, float32."""
    rng = np.random.default_rng(seed)
    params = []
    for (kind, *numbers), before, _ in walk(layers, inputs):
        if kind in ("dense", "conv"):
            shape = (
                (before[0], numbers[0]) if kind == "dense" else (numbers[1],) * 2 + (before[2], numbers[0])
            )
            fan_in = math.prod(shape[:-1])
            params.append(rng.normal(size=shape, scale=fan_in**-0.5).astype(np.float32))
            params.append(rng.normal(size=shape[-1:], scale=0.01).astype(np.float32))
    return params


def products(layers: Sequence[Layer], inputs: Shape, batch: int) -> list[Product]:
    """The matrix products of one step: forward, weights' gradient, inputs' gradient (not of the first layer).

    A convolution is a product of patches.
    """
    found: list[Product] = []
    for (kind, *numbers), before, after in walk(layers, inputs):
        if kind == "dense":
            m, k, n = batch, before[0], after[0]
        elif kind == "conv":
            m, k, n = batch * after[0] * after[1], numbers[1] ** 2 * before[2], after[2]
        else:
            continue
        found += [(m, k, n), (k, m, n)] + ([(m, n, k)] if found else [])
    return found


def flop(layers: Sequence[Layer], inputs: Shape) -> int:
    """Floating-point operations of the matrix products that training needs per row."""
    return sum(2 * math.prod(product) for product in products(layers, inputs, 1))
