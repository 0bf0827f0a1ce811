"""Losses of Cox's proportional hazards model: each row's part of the negative log partial likelihood.

    loss_i = e_i (log sum_{j in R_i} exp(eta_j) - eta_i),   R_i = {j of i's segment: t_j >= t_i}

Cox 1972, doi 10.1111/j.2517-6161.1972.tb00899.x. Where d events have the same time, Breslow's form (1974,
doi 10.2307/2529620) gives all of them the whole risk set; Efron's (1977, doi 10.1080/01621459.1977.10480613)
leaves the part l / d of the tied events out for the l-th of them, l = 0 .. d - 1; their order does not change
the sum. A row censored at the time of an event is in its risk set.

One sort serves all segments. Sums of exponentials stay logarithms: no score is too large for float32.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

Ties = Literal["breslow", "efron"]


def cox_losses(
    eta: Array, time: Array, event: Array, segment: Array, segments: int, ties: Ties = "breslow"
) -> Array:
    """``[N]``: each row's loss, with the risk sets of its segment; 0 for censored rows.

    Args:
        eta: ``[N]``, the log relative hazard.
        time: ``[N]``, until the event or until the row was last seen.
        event: ``[N]``, 1 for an event, 0 for a censored row.
        segment: ``[N]`` int32 in any order; rows outside ``0 .. segments - 1`` are in no risk set, and their
            loss is 0, whatever they hold.
        segments: static.
        ties: static; what is done with events of the same time.
    """
    inside = (segment >= 0) & (segment < segments)
    segment = jnp.where(inside, segment, segments)
    time, eta, event = jnp.where(inside, time, 0), jnp.where(inside, eta, 0), (event > 0) & inside
    # the latest first, and the events of a time behind the rows that are censored then
    order = jnp.lexsort((event, -time, segment))
    at_risk = _log_sums(eta[order], time[order], event[order], segment[order], ties)
    at_risk = jnp.zeros_like(at_risk).at[order].set(at_risk, unique_indices=True)
    return jnp.where(event, at_risk - eta, 0)


def _log_sums(eta: Array, time: Array, event: Array, segment: Array, ties: Ties) -> Array:
    """``[N]``: the logarithm of the sum over the risk set of each event, for rows in order."""
    starts = changes(segment)
    group = starts | changes(time)  # rows of the same segment and time
    last = last_of(group)
    total = _cumulative(eta, starts)
    if ties == "breslow":
        return total[last]
    place = jnp.arange(len(eta))
    first_event = event & (group | ~jnp.roll(event, 1))
    first = jax.lax.cummax(jnp.where(first_event, place, 0))
    deaths = jnp.maximum(last - first + 1, 1)
    left = jnp.where(event, deaths - (place - first), 1) / deaths
    tied = _cumulative(eta, group | first_event)[last] + jnp.log(left).astype(eta.dtype)
    earlier = total[jnp.maximum(first - 1, 0)]
    return jnp.where(starts[first], tied, jnp.logaddexp(earlier, tied))


def changes(values: Array) -> Array:
    """``[N]``: whether each value differs from the one before."""
    return jnp.concatenate([jnp.ones(1, bool), values[1:] != values[:-1]])


def last_of(group: Array) -> Array:
    """``[N]``: the place of the last row of each row's group, for rows that are True where one begins."""
    ends = jnp.concatenate([group[1:], jnp.ones(1, bool)])
    return jax.lax.cummin(jnp.where(ends, jnp.arange(len(group)), len(group)), reverse=True)


def _cumulative(values: Array, starts: Array) -> Array:
    """``[N]``: log of the sum of exponentials of the rows since the last start, this one among them.

    Sums of 1, 2, 4, ... rows (Hillis and Steele 1986, doi 10.1145/7902.7903) in a loop, which XLA compiles
    several times as fast as an associative scan.
    """
    place = jnp.arange(len(values))
    first = jax.lax.cummax(jnp.where(starts, place, 0))

    def double(k: Array, sums: Array) -> Array:
        step = 1 << k
        return jnp.where(place - step >= first, jnp.logaddexp(sums, jnp.roll(sums, step)), sums)

    return jax.lax.fori_loop(0, (len(values) - 1).bit_length(), double, values)
