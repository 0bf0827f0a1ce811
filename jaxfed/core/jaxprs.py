"""What is inside of a traced operation."""

from __future__ import annotations

from jax.extend import core


def bodies_of(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The jaxprs among an equation's parameters."""
    flat = [v for value in eqn.params.values() for v in (value if isinstance(value, tuple) else (value,))]
    closed = [v.jaxpr if isinstance(v, core.ClosedJaxpr) else v for v in flat]
    return [v for v in closed if isinstance(v, core.Jaxpr)]
