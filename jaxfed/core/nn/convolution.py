"""Convolutions and pooling in a form that is fast in loops and over hospitals.

On a CPU, XLA runs a convolution's weight gradient far slower than a matrix product of the same size, and
``vmap`` over hospitals makes grouped convolutions, which have the same trouble; the gradient of
``reduce_window`` is a scatter. :mod:`jaxfed.core.nn.rewrite` puts other operations in their place:

    convolution   patches (static slices, one axis after the other) times a matrix: im2col (Chellapilla et al.
                  2006, "High performance convolutional neural networks for document processing")
    max pooling   the running maximum of slices; a tie goes to the first, as in XLA's gradient
    sum pooling   the running sum of slices (average pooling is that, divided)

Values and gradients are those of the model, up to the order of additions. Inside, images lie as
``[C, H, W, B]``: rows of a patch are then contiguous in memory, and neither the product nor its two
gradients transposes anything large.

What is left as it is: convolutions with batch groups, and pooling of integers or with dilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Window = tuple[tuple[int, int, int], ...]  # (width, stride, dilation) of each axis


def _convolution(
    x: Array,
    kernel: Array,
    *,
    dimension_numbers: Any,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    **_unused: Any,
) -> Array | None:
    """A convolution of any number of axes as a matrix product; parameters as in ``lax``."""
    if batch_group_count != 1:
        return None
    (batch, channel, *axes), (out, into, *taps), result = dimension_numbers
    x = jnp.transpose(x, (channel, *axes, batch))
    kernel = jnp.transpose(kernel, (out, *taps, into))
    outputs, *width, _channels = kernel.shape
    widened = [(low, high, step - 1) for (low, high), step in zip(padding, lhs_dilation, strict=True)]
    if any(config != (0, 0, 0) for config in widened):
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *widened, (0, 0, 0)])
    groups = feature_group_count
    window = tuple(zip(width, window_strides, rhs_dilation, strict=True))
    product = _patches_times(
        x.reshape(groups, -1, *x.shape[1:]), kernel.reshape(groups, outputs // groups, -1), window, precision
    )
    product = product.reshape(outputs, *product.shape[2:]).astype(preferred_element_type or product.dtype)
    order = [0] * len(result)  # of (O, *positions, B) in the result
    for place, dim in enumerate((result[1], *result[2:], result[0])):
        order[dim] = place
    return jnp.transpose(product, order)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _patches_times(x: Array, kernel: Array, window: Window, precision: Any) -> Array:
    """``[G, O, *positions, B]`` from images ``[G, C, *axes, B]`` and a kernel ``[G, O, taps x C]``."""
    return _product(x, kernel, window, precision)[0]


def _forward(x: Any, kernel: Any, window: Window, precision: Any) -> tuple[Array, Any]:
    # images that have no gradient are rows of the data: gathered and transposed once, not for each place
    rows = not x.perturbed and jax.default_backend() == "cpu"
    images = _apart(x.value) if rows else x.value
    return _product(images, kernel.value, window, precision)


def _product(x: Array, kernel: Array, window: Window, precision: Any) -> tuple[Array, Any]:
    axes = x.shape
    for axis in reversed(range(len(window))):
        parts = _slices(x, axis + 2, *window[axis])
        x = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)
    flat = x.reshape(*x.shape[:2], -1)
    product = lax.dot_general(kernel, flat, (((2,), (1,)), ((0,), (0,))), precision)
    return product.reshape(*product.shape[:2], *x.shape[2:]), (flat, kernel, axes)


def _backward(window: Window, precision: Any, residuals: Any, slope: Array) -> tuple[Array, Array]:
    # written out, because the derived one transposes the patches and pads them one by one
    flat, kernel, axes = residuals
    positions = slope.shape[2:]
    slope = slope.reshape(*slope.shape[:2], -1)
    # patches first: the second of two operands that meet in their last axes is packed, and this one is small
    of_kernel = lax.dot_general(flat, slope, (((2,), (2,)), ((0,), (0,))), precision).mT
    x = lax.dot_general(kernel, slope, (((1,), (1,)), ((0,), (0,))), precision)
    x = x.reshape(*x.shape[:2], *positions)
    for axis, (width, stride, dilation) in enumerate(window):
        x = lax.optimization_barrier(x)
        length, span = axes[axis + 2], (positions[axis] - 1) * stride + 1
        parts = []
        for k, part in enumerate(jnp.split(x, width, axis=1)):
            config = [(0, 0, 0)] * x.ndim
            config[axis + 2] = (k * dilation, length - k * dilation - span, stride - 1)
            parts.append(lax.pad(part, jnp.zeros((), x.dtype), config))
        x = sum(parts[1:], parts[0])
    return x, of_kernel


_patches_times.defvjp(_forward, _backward, symbolic_zeros=True)


def _apart(x: Array) -> Array:
    """``x``, materialised once.

    XLA may fuse across an optimization barrier, but not into a branch whose condition it cannot evaluate.
    """
    return lax.cond(lax.optimization_barrier(True), lambda x: x, lambda x: lax.rev(x, (0,)), x)


def _slices(x: Array, axis: int, width: int, stride: int, dilation: int) -> list[Array]:
    """One strided slice along an axis for each place in the window."""
    count = (x.shape[axis] - (width - 1) * dilation - 1) // stride + 1
    span = (count - 1) * stride + 1
    return [lax.slice_in_dim(x, k * dilation, k * dilation + span, stride, axis) for k in range(width)]


def _pooling(reduce: Callable[[list[Array]], Array], empty: float) -> Callable[..., Array | None]:
    """The rule of a pooling that reduces one axis after the other."""

    def rule(
        x: Array,
        *,
        window_dimensions: Sequence[int],
        window_strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
        base_dilation: Sequence[int],
        window_dilation: Sequence[int],
    ) -> Array | None:
        dilated = {*base_dilation, *window_dilation} != {1}
        if dilated or not jnp.issubdtype(x.dtype, jnp.floating):
            return None
        order = (x.ndim - 1, *range(1, x.ndim - 1), 0)  # as convolutions leave it; its own inverse
        x = jnp.transpose(x, order)
        windows = [(window_dimensions[i], window_strides[i], padding[i]) for i in order]
        if any(pad != (0, 0) for *_, pad in windows):
            config = [(*pad, 0) for *_, pad in windows]
            x = lax.pad(x, jnp.asarray(empty, x.dtype), config)
        for axis in reversed(range(x.ndim)):  # rows last, so that the first maximum is the first in its row
            width, stride, _ = windows[axis]
            if width == stride > 1:
                # reshape and index: the gradient of a strided slice is a slow pad
                count = x.shape[axis] // width
                x = lax.slice_in_dim(x, 0, count * width, axis=axis)
                x = x.reshape(*x.shape[:axis], count, width, *x.shape[axis + 1 :])
                x = reduce([lax.index_in_dim(x, k, axis + 1, keepdims=False) for k in range(width)])
            elif (width, stride) != (1, 1):
                x = reduce(_slices(x, axis, width, stride, 1))
        return jnp.transpose(x, order)

    return rule


def _largest(parts: list[Array]) -> Array:
    """The maximum; its gradient goes to the first of equal numbers, and NaN stays NaN."""
    best, *others = parts
    for other in others:
        best = jnp.where((best >= other) | jnp.isnan(best), best, other)
    return best


RULES: dict[str, Callable[..., Array | None]] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pooling(_largest, -math.inf),
    "reduce_window_sum": _pooling(sum, 0.0),  # type: ignore[arg-type]
}
