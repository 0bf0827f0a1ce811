"""Which device trains which hospital of a cohort that is drawn anew in every round.

Hospitals have a home, where their states lie and where they train when all of them do. A sampled cohort may
find most of its work at home on one device: where hospitals keep nothing from round to round, any device can
train them, and :func:`deal` balances them as they were at home, inside the compiled round.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

ONE_BY_ONE = 16  # hospitals per device


def homes(places: int, devices: int) -> Array:
    """``[P]`` int32: the device of each place."""
    return jnp.arange(places, dtype=jnp.int32) // (places // devices)


def deal(present: Array, work: Array, ranking: Array, loads: Array) -> tuple[Array, Array]:
    """``[P]`` int32: the device that trains each place (who is absent may be anywhere), and the devices' new
    loads.

    The largest go one by one to the device with the least work so far (Graham 1969); the others, which are
    small beside these, fill in order what each device is short of an equal share.

    Args:
        present: ``[P]`` bool, who takes part.
        work: ``[P]`` int32, what each costs.
        ranking: ``[P]`` the places in the order of their work, most first.
        loads: ``[D]`` int32, the work that each device has already.
    """
    devices = len(loads)
    places, first = len(present), min(len(present), devices * ONE_BY_ONE)
    line, count = present_first(present, ranking)
    work = jnp.where(jnp.arange(places) < count, work[line], 0)
    total = work.sum() + loads.sum()

    def give(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        loads, device = carry
        least = jnp.argmin(loads).astype(jnp.int32)
        return loads.at[least].add(work[i]), device.at[i].set(least)

    nothing = loads, jnp.zeros(first, jnp.int32)
    loads, device = jax.lax.fori_loop(0, jnp.minimum(count, first), give, nothing)
    rest = work[first:]
    missing = jnp.maximum(total / devices - loads, 0)
    ends = jnp.cumsum(missing) * (rest.sum() / jnp.maximum(missing.sum(), 1))
    middle = jnp.cumsum(rest) - rest / 2
    others = (middle[:, None] >= ends[:-1]).sum(1, dtype=jnp.int32)
    loads = loads.at[others].add(rest)
    return jnp.zeros(places, jnp.int32).at[line].set(jnp.concatenate([device, others])), loads


def present_first(present: Array, order: Array) -> tuple[Array, Array]:
    """Places with those present first, each group in the given order, and how many are present."""
    present = present[order]
    ahead, behind = jnp.cumsum(present), jnp.cumsum(~present)
    place = jnp.where(present, ahead - 1, ahead[-1] + behind - 1)
    return jnp.zeros_like(order).at[place].set(order, unique_indices=True), ahead[-1]
