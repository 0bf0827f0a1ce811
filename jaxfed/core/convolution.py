"""Convolutions and pooling of any flax model in a form that is fast in loops and over hospitals.

On a CPU, XLA runs a convolution's weight gradient far slower than a matrix product of the same size, and
``vmap`` over hospitals makes grouped convolutions, which have the same trouble; the gradient of
``reduce_window`` is a scatter. :func:`routed` traces a model and puts other operations in their place:

    convolution   patches (static slices, one axis after the other) times a matrix: im2col (Chellapilla et al.
                  2006, "High performance convolutional neural networks for document processing")
    max pooling   the running maximum of slices; a tie goes to the first, as in XLA's gradient
    sum pooling   the running sum of slices (average pooling is that, divided)

Values and gradients are those of the model, up to the order of additions. Inside, images lie as
``[C, H, W, B]``: rows of a patch are then contiguous in memory, and neither the product nor its two
gradients transposes anything large.

What is left as it is: convolutions inside functions with derivatives of their own (``custom_jvp``,
``custom_vjp``), those with batch groups, and pooling of integers or with dilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import core

from jaxfed.core.jaxprs import bodies_of

Form = Literal["patches", "native"]
Window = tuple[tuple[int, int, int], ...]  # (width, stride, dilation) of each axis

# primitives whose bodies are rewritten in place
_NESTED = {"checkpoint", "cond", "remat", "remat2", "scan", "while"}
_INLINED = {"closed_call", "core_call", "jit", "pjit"}


def default_form() -> Form:
    """Patches on a CPU; XLA's own (grouped) convolutions elsewhere."""
    return "patches" if jax.default_backend() == "cpu" else "native"


def routed(function: Callable[..., Any], *args: Any, form: Form | None = None) -> Any:
    """``function(*args)``, with the convolutions and the pooling in it in a fast form.

    Args:
        function: pure, of pytrees of arrays.
        *args: arrays, may be traced. A function without convolution and pooling is called as it is.
        form: static; ``"patches"``, ``"native"`` (``function`` as it is), or None for the platform's default.
    """
    if (form or default_form()) == "native":
        return function(*args)
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    if not _concerned(jaxpr.jaxpr):
        return function(*args)
    outputs = _evaluate(jaxpr.jaxpr, jaxpr.consts, jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def _evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr, equation by equation."""
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        results = _replaced(eqn, [read(atom) for atom in eqn.invars])
        if results is None:
            used = list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, core.Literal)))
            alone = core.Jaxpr((), used, eqn.outvars, [_with_fast_bodies(eqn)], debug_info=jaxpr.debug_info)
            results = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*(values[v] for v in used))
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _replaced(eqn: core.JaxprEqn, inputs: list[Any]) -> list[Any] | None:
    """The results of an equation in a fast form; None where it stays as it is."""
    name = eqn.primitive.name
    if name in _RULES:
        fast = _RULES[name](*inputs, **eqn.params)
        return None if fast is None else [fast]
    if name in _INLINED and any(_concerned(body) for body in bodies_of(eqn)):
        body = eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"]
        return _evaluate(body.jaxpr, body.consts, inputs)
    return None


def _with_fast_bodies(eqn: core.JaxprEqn) -> core.JaxprEqn:
    if eqn.primitive.name not in _NESTED or not any(_concerned(body) for body in bodies_of(eqn)):
        return eqn
    return eqn.replace(params={key: _rewritten(value) for key, value in eqn.params.items()})


def _concerned(jaxpr: core.Jaxpr) -> bool:
    """Whether there is anything to replace in a jaxpr."""
    return any(
        eqn.primitive.name in _RULES
        or (eqn.primitive.name in _INLINED | _NESTED and any(_concerned(b) for b in bodies_of(eqn)))
        for eqn in jaxpr.eqns
    )


def _rewritten(value: Any) -> Any:
    """A parameter of an equation, with the jaxprs in it rewritten."""
    if isinstance(value, tuple):
        return tuple(_rewritten(v) for v in value)
    if isinstance(value, core.ClosedJaxpr):
        return _traced(value.jaxpr, value.consts)
    if isinstance(value, core.Jaxpr):
        new = _traced(value, ())
        return value if new.consts else new.jaxpr
    return value


def _traced(jaxpr: core.Jaxpr, consts: Sequence[Any]) -> core.ClosedJaxpr:
    avals: list[Any] = [var.aval for var in jaxpr.invars]
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
    return jax.make_jaxpr(lambda *args: _evaluate(jaxpr, consts, args))(*shapes)


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
    return _forward(x, kernel, window, precision)[0]


def _forward(x: Array, kernel: Array, window: Window, precision: Any) -> tuple[Array, Any]:
    axes = x.shape
    for axis in reversed(range(len(window))):
        parts = _slices(x, axis + 2, *window[axis])
        x = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)
    flat = x.reshape(*x.shape[:2], -1)
    product = lax.dot_general(kernel, flat, (((2,), (1,)), ((0,), (0,))), precision)
    return product.reshape(*product.shape[:2], *x.shape[2:]), (flat, kernel, axes)


def _backward(window: Window, precision: Any, kept: Any, slope: Array) -> tuple[Array, Array]:
    # written out, because the derived one transposes the patches and pads them one by one
    flat, kernel, axes = kept
    positions = slope.shape[2:]
    slope = slope.reshape(*slope.shape[:2], -1)
    of_kernel = lax.dot_general(slope, flat, (((2,), (2,)), ((0,), (0,))), precision)
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


_patches_times.defvjp(_forward, _backward)


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


_RULES: dict[str, Callable[..., Array | None]] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pooling(_largest, -math.inf),
    "reduce_window_sum": _pooling(sum, 0.0),  # type: ignore[arg-type]
}
