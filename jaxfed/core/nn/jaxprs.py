"""The operations and inner jaxprs of a jaxpr."""

from __future__ import annotations

from collections.abc import Iterable

from jax.extend import core


def operations_in(jaxpr: core.Jaxpr) -> set[str]:
    """Names of the operations in a jaxpr, at any depth."""
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    return names.union(*(operations_in(body) for eqn in jaxpr.eqns for body in bodies_of(eqn)))


def depends(jaxpr: core.Jaxpr, inputs: Iterable[core.Var]) -> bool:
    """Whether a result is computed from some of these inputs; an equation uses all that it is given."""
    used = set(inputs)
    for eqn in jaxpr.eqns:
        if any(v in used for v in eqn.invars if not isinstance(v, core.Literal)):
            used.update(eqn.outvars)
    return any(v in used for v in jaxpr.outvars if not isinstance(v, core.Literal))


def bodies_of(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The jaxprs among an equation's parameters."""
    flat = [v for value in eqn.params.values() for v in (value if isinstance(value, tuple) else (value,))]
    closed = [v.jaxpr if isinstance(v, core.ClosedJaxpr) else v for v in flat]
    return [v for v in closed if isinstance(v, core.Jaxpr)]
