"""Any flax model with its operations in a form that is fast in loops and over hospitals.

:func:`routed` traces a model and puts other operations in the place of those that have a rule: convolutions
and pooling (:mod:`jaxfed.core.nn.convolution`) and dense layers (:mod:`jaxfed.core.nn.dense`). Values and
gradients are those of the model, up to the order of additions.

Functions with custom derivatives (``custom_jvp``, ``custom_vjp``) are not rewritten inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
from jax import Array
from jax.extend import core

from jaxfed.core.nn import convolution, dense
from jaxfed.core.nn.jaxprs import bodies_of

Form = Literal["fast", "native"]
Rule = Callable[..., Array | None]  # from an operation's inputs and parameters; None if it is not replaced

_RULES: dict[str, Rule] = {**convolution.RULES, **dense.RULES}

# primitives whose bodies are rewritten in place
_NESTED = {"checkpoint", "cond", "remat", "remat2", "scan", "while"}
_INLINED = {"closed_call", "core_call", "jit", "pjit"}


def default_form() -> Form:
    """The default form: the fast form on a CPU, XLA's own operations elsewhere."""
    return "fast" if jax.default_backend() == "cpu" else "native"


def routed(function: Callable[..., Any], *args: Any, form: Form | None = None) -> Any:
    """``function(*args)``, with the operations in it in a fast form.

    Args:
        function: pure, of pytrees of arrays.
        *args: arrays, may be traced. A function without operations that have a rule is called as it is.
        form: static; ``"fast"``, ``"native"`` (``function`` as it is), or None for the platform's default.
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
    """The results of an equation in a fast form; None if it is not replaced."""
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
