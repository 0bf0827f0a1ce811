"""Time to an event, one score per patient: Cox's proportional hazards model.

Labels are ``(time, event)``, with event 1, or 0 where the patient was last seen at that time without one. The
score is the log relative hazard: larger means an earlier event. Metrics: cindex (Harrell's), cox_loss.

The loss of a row is its part of the negative log partial likelihood (:mod:`jaxfed.core.metrics.cox`), and the
loss of a batch is the mean over its rows, censored ones among them, as in FLamby. A batch without an event
has the loss 0 and the gradient 0. What is at risk depends on the batch:

- with ``batch_size``, the rows of the mini-batch. This is the objective of a case-control sample of its size
  (Goldstein and Langholz 1992, doi 10.1214/aos/1176348895), not the partial likelihood; its minimum is close
  to that of the latter for large batches, and its value is smaller, because fewer rows are at risk;
- with ``batch_size=None``, and for FedSGD, all training rows of a hospital. Hospitals weighted by their rows
  then minimise the partial likelihood that is stratified by hospital: each has a baseline hazard of its own.

Evaluated losses are those of all rows of a hospital and split. The pooled loss is their mean over the rows of
all hospitals, the stratified one; the pooled cindex compares patients of different hospitals too.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.metrics.concordance import cindex_by_segment
from jaxfed.core.metrics.cox import Ties, cox_losses
from jaxfed.core.metrics.segments import named_means
from jaxfed.core.task import Task


def check(y: np.ndarray) -> str | None:
    """The problem of the labels ``[n, 2]`` of a hospital, or None."""
    if y.ndim != 2 or y.shape[1] != 2:
        return f"y has rows of shape {y.shape[1:]}; give (time, event) for each row, shape [n, 2]"
    time, event = y.T
    if not np.isfinite(y).all():
        return f"y has {(~np.isfinite(y)).any(1).sum()} rows with a missing time or event; drop these rows"
    if (time < 0).any():
        return (
            f"y has {(time < 0).sum()} negative times (as {time.min():g}); give the time since entry, or "
            "drop these rows"
        )
    strange = np.unique(event[(event != 0) & (event != 1)])
    if len(strange):
        return (
            f"y has events that are neither 0 nor 1 (as {strange[0]:g}); give 1 for an event and 0 for a "
            "patient who was last seen without one, as (time, event) in this order"
        )
    return None


def _cox(ties: Ties, name: str) -> Task:
    def within(outputs: Array, y: Array, segment: Array, segments: int) -> Array:
        return cox_losses(outputs.reshape(len(outputs)), y[:, 0], y[:, 1], segment, segments, ties)

    def losses(outputs: Array, y: Array, mask: Array | None) -> Array:
        inside = jnp.ones(len(outputs), bool) if mask is None else mask > 0
        return within(outputs, y, jnp.where(inside, 0, 1).astype(jnp.int32), 1)

    return Task(
        name=name,
        losses=losses,
        loss="cox_loss",
        measures=_measures,
        first="cindex",
        higher=("cindex",),
        labels=(("cindex", "C-index"), ("cox_loss", "Cox loss")),
        check=check,
        output="one score, the log relative hazard",
        segment_losses=within,
        survival=True,
        targets=("risk",),
        link="risk",
    )


def _measures(outputs: Array, losses: Array, y: Array, segment: Array, segments: int) -> dict[str, Array]:
    score = outputs.reshape(len(outputs))
    index = cindex_by_segment(score, y[:, 0], y[:, 1], segment, segments)
    return {"cindex": index, **named_means(segment, segments, cox_loss=losses)}


SURVIVAL = _cox("breslow", "survival")
SURVIVAL_EFRON = _cox("efron", "survival-efron")
