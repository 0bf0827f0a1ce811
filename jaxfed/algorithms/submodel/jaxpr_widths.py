"""Every axis of a traced model, followed from the arrays that go in to those that come out.

An axis is a run of factors (``Width``), slowest first; an axis of length 1 has none. Operations join the
axes that they index together, and split factors where a reshape does. A factor is ``whole`` where it belongs
to something that is never sliced, and has a ``reason`` where slicing it would change what is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Width:
    """A factor of an axis: joined with one of the same size, or split into smaller ones."""

    def __init__(self, size: int) -> None:
        self.size, self.whole, self.reason = size, False, ""
        self.parts: list[Width] = []

    def mark(self, whole: bool, reason: str) -> None:
        """Add marks to those there are."""
        self.whole, self.reason = self.whole or whole, self.reason or reason


Axis = list[Width]


class Value(NamedTuple):
    """An array: its axes, and along which of them it is zero where a unit is not held."""

    axes: list[Axis]
    zero: list[bool]


def fresh(shape: Sequence[int], zero: bool = False) -> Value:
    """An array whose axes have nothing to do with any other's."""
    return Value([[Width(n)] if n != 1 else [] for n in shape], [zero] * len(shape))


def roots(axis: Axis) -> Axis:
    """The factors that stand for all that were joined with them."""
    return [root for width in axis for root in (roots(width.parts) if width.parts else [width])]


def keep_whole(value: Value, reason: str = "") -> Value:
    """No slices of any axis: quietly, or with a reason to tell the user."""
    for width in (root for axis in value.axes for root in roots(axis)):
        width.mark(not reason, reason)
    return value


def _join(a: Axis, b: Axis) -> None:
    """Two axes, or runs of axes, are one; factors are split where the other side has them apart."""
    left, right = roots(a), roots(b)
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (m := product(ours)) != (n := product(theirs)) and (left if m < n else right):
            (ours if m < n else theirs).append((left if m < n else right).pop(0))
        if len(ours) > 1 and len(theirs) > 1:
            for width in ours + theirs:
                width.mark(False, "a reshape cuts across it")
        elif ours != theirs:
            one, parts = (ours[0], theirs) if len(ours) == 1 else (theirs[0], ours)
            for part in parts:
                part.mark(one.whole, one.reason)
            one.parts = parts
        left, right = roots(left), roots(right)  # what is left may have been split


def product(axis: Axis) -> int:
    """The length of an axis."""
    return math.prod(width.size for width in axis)


def follow(program: Any, values: list[Value]) -> list[Value]:
    """The values that a jaxpr returns."""
    jaxpr = getattr(program, "jaxpr", program)
    known = dict(zip(jaxpr.invars, values, strict=True))
    known |= {v: fresh(v.aval.shape) for v in jaxpr.constvars}

    def read(v: Any) -> Value:
        return known[v] if not hasattr(v, "val") else fresh(v.aval.shape)

    for equation in jaxpr.eqns:
        known |= zip(equation.outvars, _step(equation, [read(v) for v in equation.invars]), strict=True)
    return [read(v) for v in jaxpr.outvars]


def _step(equation: Any, values: list[Value]) -> list[Value]:
    name, params = equation.primitive.name, equation.params
    shapes = [v.aval.shape for v in equation.outvars]
    inner = [params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params]
    if inner and name not in LOOPS:
        return follow(inner[0], values)
    if not any(value.axes for value in values):
        return [fresh(shape) for shape in shapes]
    if name in RULES:
        return [RULES[name](params, shapes[0], *values)]
    if name in ELEMENTWISE:
        return [_elementwise(name, shapes[0], values)]
    for value in values:
        keep_whole(value, f"{name!r} works on it")
    return [keep_whole(fresh(shape)) for shape in shapes]


def _elementwise(name: str, shape: Sequence[int], values: list[Value]) -> Value:
    out = fresh(shape)
    full = [value for value in values if value.axes]  # the others are numbers
    for value in full:
        for mine, axis in zip(out.axes, value.axes, strict=True):
            _join(mine, axis)
    some, every = (lambda flags: any(flags)), (lambda flags: len(full) == len(values) and all(flags))
    keeps = some if name == "mul" else every if name in ("add", "sub") or name in LINEAR else None
    if name == "div":
        return Value(out.axes, list(values[0].zero) if values[0].axes else out.zero)
    if keeps is None:
        return out
    return Value(out.axes, [keeps(flags) for flags in zip(*(value.zero for value in full), strict=True)])


def _reduce(params: Any, shape: Sequence[int], value: Value) -> Value:
    kept = [i for i in range(len(value.axes)) if i not in params["axes"]]
    for i in params["axes"]:
        _forbid(value.axes[i], "something is computed over all of it, as in layer norm")
    return Value([value.axes[i] for i in kept], [value.zero[i] for i in kept])


def _forbid(axis: Axis, reason: str) -> None:
    for width in roots(axis):
        width.mark(False, reason)


def _dot(params: Any, shape: Sequence[int], a: Value, b: Value) -> Value:
    (mine, theirs), (batch_a, batch_b) = params["dimension_numbers"]
    for i, j in zip(mine, theirs, strict=True):
        _join(a.axes[i], b.axes[j])
        if not (a.zero[i] or b.zero[j]):
            _forbid(a.axes[i], "activations are multiplied with activations over it, as in attention")
    axes, zero = [], []
    for i, j in zip(batch_a, batch_b, strict=True):
        _join(a.axes[i], b.axes[j])
        axes.append(a.axes[i])
        zero.append(a.zero[i] or b.zero[j])
    for value, used in ((a, {*mine, *batch_a}), (b, {*theirs, *batch_b})):
        axes += [axis for i, axis in enumerate(value.axes) if i not in used]
        zero += [flag for i, flag in enumerate(value.zero) if i not in used]
    return Value(axes, zero)


def _conv(params: Any, shape: Sequence[int], x: Value, kernel: Value) -> Value:
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    (rows, channels, *places), (into, from_, *window), (out_rows, out_channels, *_) = numbers
    out = keep_whole(fresh(shape))  # positions
    out.axes[out_rows], out.axes[out_channels] = x.axes[rows], kernel.axes[into]
    for i in places:
        keep_whole(Value([x.axes[i]], [False]))
    for i in window:
        keep_whole(Value([kernel.axes[i]], [False]))
    if groups == 1 and params["batch_group_count"] == 1:
        _join(x.axes[channels], kernel.axes[from_])
    elif groups == product(roots(x.axes[channels])) == shape[out_channels]:  # each channel by itself
        _join(x.axes[channels], kernel.axes[into])
    else:
        for axis in (x.axes[channels], kernel.axes[into]):
            _forbid(axis, "a grouped convolution works on it")
    return out


def _window(params: Any, shape: Sequence[int], value: Value, *_: Value) -> Value:
    whole = [n == 1 for n in params["window_dimensions"]]
    out = keep_whole(fresh(shape))
    axes = [axis if one else out.axes[i] for i, (axis, one) in enumerate(zip(value.axes, whole, strict=True))]
    for axis, one in zip(value.axes, whole, strict=True):
        if not one:
            keep_whole(Value([axis], [False]))
    return Value(axes, [False] * len(axes))


def _reshape(params: Any, shape: Sequence[int], value: Value, *_: Value) -> Value:
    out = fresh(shape)
    _join([w for axis in value.axes for w in axis], [w for axis in out.axes for w in axis])
    flags = [flag for flag, axis in zip(value.zero, value.axes, strict=True) if axis]
    big = [i for i, axis in enumerate(out.axes) if axis]
    flags = flags if len(flags) == len(big) else [all(flags)] * len(big)
    return Value(out.axes, [flags[big.index(i)] if i in big else False for i in range(len(shape))])


def _broadcast(params: Any, shape: Sequence[int], value: Value, *_: Value) -> Value:
    out = fresh(shape)
    for i, axis, flag in zip(params["broadcast_dimensions"], value.axes, value.zero, strict=True):
        if axis:
            out.axes[i], out.zero[i] = axis, flag
    return out


def _transpose(params: Any, shape: Sequence[int], value: Value) -> Value:
    order = params["permutation"]
    return Value([value.axes[i] for i in order], [value.zero[i] for i in order])


def _concatenate(params: Any, shape: Sequence[int], *values: Value) -> Value:
    out, along = fresh(shape), params["dimension"]
    keep_whole(Value([out.axes[along]], [False]))
    for value in values:
        for i, axis in enumerate(value.axes):
            _join(out.axes[i], axis) if i != along else keep_whole(Value([axis], [False]))
    return out


def _gather(params: Any, shape: Sequence[int], value: Value, index: Value) -> Value:
    """Rows of a table, as an embedding takes them; the table's rows belong to the input."""
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [i for i in range(len(value.axes)) if i not in dropped]
    out = keep_whole(fresh(shape))
    full = [product(roots(axis)) == sizes[i] for i, axis in enumerate(value.axes)]
    for i, place in zip(kept, numbers.offset_dims, strict=True):
        if full[i]:
            out.axes[place], out.zero[place] = value.axes[i], value.zero[i]
    keep_whole(Value([axis for i, axis in enumerate(value.axes) if i in dropped or not full[i]], []))
    return out


LINEAR = {"neg", "convert_element_type", "copy", "copy_p", "stop_gradient", "reduce_precision"}
ELEMENTWISE = LINEAR | {
    "abs", "add", "and", "atan2", "cbrt", "ceil", "clamp", "cos", "cosh", "div", "eq", "erf", "erf_inv",
    "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "log",
    "log1p", "logistic", "lt", "max", "min", "mul", "ne", "nextafter", "not", "optimization_barrier",
    "or", "pow", "rem", "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt", "square", "sub",
    "tan", "tanh", "xor",
}  # fmt: skip
LOOPS = {"scan", "while", "cond"}
RULES: dict[str, Callable[..., Value]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _conv,
    "dot_general": _dot,
    "gather": _gather,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "argmax", "argmin"), _reduce),
    **dict.fromkeys(("reduce_window_sum", "reduce_window_max", "reduce_window_min"), _window),
}
