"""How many malicious uploads a rule can stand, as problems that name the numbers and the remedy."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxfed.core import checks


def whole(f: Any) -> Array:
    """``f`` as an int32, also where a sweep traces it as a float."""
    return jnp.asarray(f).astype(jnp.int32)


def no_majority(f: Any, clients: int) -> list[str]:
    """The problem that half of the uploads or more may be malicious; none if ``f`` is known only inside."""
    known = checks.known(f)
    if known is None or 2 * known < clients:
        return []
    return [f"f={f} is not less than half of {clients} uploads: give f <= {(clients - 1) // 2}"]


def trim(f: int, clients: int) -> float:
    """The ``trim`` with which a trimmed mean leaves out ``f`` of ``clients`` uploads at each end.

    It leaves out as many as it can where half of the uploads or more may be malicious.

    >>> int(51 * trim(25, 51))
    25
    """
    most = (clients - 1) // 2
    return (min(f, most) + 0.4) / clients  # well above f / clients, so that rounding down loses none
