"""The operations and inner jaxprs of a jaxpr."""

from __future__ import annotations

from jax.extend import core


def operations_in(jaxpr: core.Jaxpr) -> set[str]:
    """Names of the operations in a jaxpr, at any depth."""
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    return names.union(*(operations_in(body) for eqn in jaxpr.eqns for body in bodies_of(eqn)))


def bodies_of(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The jaxprs among an equation's parameters."""
    flat = [v for value in eqn.params.values() for v in (value if isinstance(value, tuple) else (value,))]
    closed = [v.jaxpr if isinstance(v, core.ClosedJaxpr) else v for v in flat]
    return [v for v in closed if isinstance(v, core.Jaxpr)]
