"""Assignment of the hospitals of a cohort to devices, for cohorts that are drawn in every round.

Every hospital has a home device, which holds its state and trains it if all hospitals take part. Most of the
work of a sampled cohort may have its home on the same device. If hospitals have no state, any device can
train them, and :func:`deal` balances the cohort over the devices inside the compiled round.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

ONE_BY_ONE = 16  # hospitals per device that are assigned one by one


def homes(places: int, devices: int) -> Array:
    """``[P]`` int32: the home device of each place."""
    return jnp.arange(places, dtype=jnp.int32) // (places // devices)


def deal(present: Array, work: Array, ranking: Array, loads: Array) -> tuple[Array, Array]:
    """``[P]`` int32: the device that trains each place, and the devices' new loads.

    The largest hospitals are assigned one by one to the device with the least work so far (Graham 1969). The
    others, which are small in comparison, fill the devices in order up to an equal share of the work. The
    device of an absent hospital is arbitrary.

    Args:
        present: ``[P]`` bool, whether the hospital takes part.
        work: ``[P]`` int32, the cost of each hospital.
        ranking: ``[P]`` the places in descending order of their work.
        loads: ``[D]`` int32, the work already assigned to each device.
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
    real = jnp.result_type(float)
    missing = jnp.maximum(total / devices - loads.astype(real), 0)
    ends = jnp.cumsum(missing) * (rest.sum().astype(real) / jnp.maximum(missing.sum(), 1))
    middle = jnp.cumsum(rest).astype(real) - rest.astype(real) / 2
    others = (middle[:, None] >= ends[:-1]).sum(1, dtype=jnp.int32)
    loads = loads.at[others].add(rest)
    return jnp.zeros(places, jnp.int32).at[line].set(jnp.concatenate([device, others])), loads


def present_first(present: Array, order: Array) -> tuple[Array, Array]:
    """Places with those present first, each group in the given order, and how many are present."""
    present = present[order]
    ahead, behind = jnp.cumsum(present), jnp.cumsum(~present)
    place = jnp.where(present, ahead - 1, ahead[-1] + behind - 1)
    return jnp.zeros_like(order).at[place].set(order, unique_indices=True), ahead[-1]
