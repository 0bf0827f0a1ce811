"""Time to an event in intervals: one logit per interval, of the hazard in it.

    h_k = sigmoid(output_k),   S(c_k) = prod_{j <= k} (1 - h_j)
    loss_i = - sum_{k <= b_i} [ e_ik log h_k + (1 - e_ik) log(1 - h_k) ]

The intervals are (0, c_1], (c_1, c_2], ... with the cuts c; b_i is the interval of patient i's time, and e_ik
is 1 if its event lies in interval k. So it is the logistic regression of person-periods (Brown 1975, doi
10.2307/2529811; Gensheimer and Narasimhan 2019, doi 10.7717/peerj.6257). As in the Kaplan-Meier estimate, a
patient who is censored in an interval counts as at risk in it; choose intervals that are short where
patients are censored. What happens after the last cut is left out.

A row's loss depends on that row alone. So mini-batches do not change the objective, and training can have
differential privacy of patients; neither holds for Cox's loss.

Metrics: cindex (of the cumulative hazard up to the last cut), hazard_loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.errors import InvalidInput
from jaxfed.core.meaning import survival_at
from jaxfed.core.metrics.concordance import cindex_by_segment
from jaxfed.core.metrics.segments import named_means
from jaxfed.core.task import Task
from jaxfed.core.tasks.survival import check


def discrete_hazard(cuts: Sequence[float]) -> Task:
    """The task of predicting the hazard in intervals of time.

    Args:
        cuts: the ends of the intervals, in ascending order and above 0, in the unit of the times; of all
            hospitals together, :meth:`jaxfed.evaluation.LifeTable.cuts` gives some.

    Raises:
        InvalidInput: cuts that are not so.

    >>> discrete_hazard([365, 730]).targets
    ('survival at 365', 'survival at 730')
    """
    try:
        given = np.asarray(cuts, np.float32).astype(float)
    except (TypeError, ValueError):
        given = np.zeros(0)
    if (
        given.ndim != 1
        or not len(given)
        or not np.isfinite(given).all()
        or (np.diff(given, prepend=0) <= 0).any()
    ):
        raise InvalidInput(
            f"discrete_hazard: cuts={cuts!r}; give ascending times above 0, such as [365, 730, 1825]"
        )
    ends = tuple(given.tolist())
    return Task(
        name="discrete-hazard",
        losses=_Losses(ends),
        loss="hazard_loss",
        measures=_measures,
        first="cindex",
        higher=("cindex",),
        labels=(("cindex", "C-index"), ("hazard_loss", "hazard loss")),
        check=check,
        output="one logit per interval of time",
        survival=True,
        targets=tuple(survival_at(end) for end in ends),
        link="hazard",
    )


def risk(outputs: Array) -> Array:
    """``[N]``: the cumulative hazard up to the last cut, ``-log S``; larger means an earlier event."""
    return -jax.nn.log_sigmoid(-outputs).sum(-1)


@dataclasses.dataclass(frozen=True)
class _Losses:
    """The loss of each row; equal for equal cuts."""

    cuts: tuple[float, ...]

    def __call__(self, outputs: Array, y: Array, mask: Array | None) -> Array:
        time, event = y[:, :1], y[:, 1:] > 0
        ends = jnp.asarray(self.cuts, time.dtype)
        begins = jnp.concatenate([jnp.full(1, -1, time.dtype), ends[:-1]])
        at_risk = time > begins  # an event at time 0 is in the first interval
        happened = event & at_risk & (time <= ends)
        losses = jax.nn.softplus(outputs) - jnp.where(happened, outputs, 0)
        return jnp.where(at_risk, losses, 0).sum(-1)


def _measures(outputs: Array, losses: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
    index = cindex_by_segment(risk(outputs), y[:, 0], y[:, 1], segment, segments)
    return {"cindex": index, **named_means(segment, segments, hazard_loss=losses)}
