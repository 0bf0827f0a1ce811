"""Several outcomes of the same patient, each with or without: one logit per outcome.

Labels are ``[n, L]``: 1, 0, or -1 where an outcome is not known of a patient. The loss of a row is the sum of
the cross-entropies of its known outcomes over L, so that an outcome that is seldom known counts seldom.

Metrics: auroc (the mean over the outcomes that have one), auroc of each outcome by its name, log_loss (nats),
brier, accuracy (at one half, over known outcomes).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxfed.core.errors import InvalidInput
from jaxfed.core.metrics.auroc import auroc_by_segment
from jaxfed.core.metrics.segments import named_means
from jaxfed.core.task import Task

UNKNOWN = -1


def multilabel(outcomes: Iterable[str]) -> Task:
    """The task of predicting several outcomes at once.

    Args:
        outcomes: their names, at least two, in the order of the columns of ``y``.

    Raises:
        InvalidInput: a name is given twice, or is not made of letters, digits and underscores.

    >>> multilabel(["died", "sepsis"]).targets
    ('died', 'sepsis')
    """
    names = tuple(map(str, (outcomes,) if isinstance(outcomes, str) else outcomes))
    strange = [name for name in names if not f"x{name}".isidentifier()]
    if len(names) < 2 or len(set(names)) < len(names) or strange:
        raise InvalidInput(
            f"multilabel: outcomes={list(names)}; give at least two names of letters, digits and "
            "underscores, each once, such as ['died', 'sepsis']"
        )
    return Task(
        name="multilabel",
        losses=losses,
        loss="log_loss",
        measures=_Measures(names),
        first="auroc",
        higher=("auroc", "accuracy", *(f"auroc_{name}" for name in names)),
        labels=(
            ("auroc", "mean AUROC"), ("log_loss", "log loss"), ("brier", "Brier score"),
            *((f"auroc_{name}", f"AUROC {name}") for name in names),
        ),
        check=_Check(len(names)),
        soft=soft,
        output="one logit per outcome",
        targets=names,
        link="sigmoid",
    )  # fmt: skip


def losses(outputs: Array, y: Array, mask: Array | None) -> Array:
    """The mean over outcomes of each row's cross-entropies, 0 for unknown ones."""
    known = y >= 0
    each = optax.sigmoid_binary_cross_entropy(outputs, jnp.where(known, y, 0).astype(outputs.dtype))
    return jnp.where(known, each, 0).mean(-1)


def soft(outputs: Array, targets: Array) -> Array:
    """The cross-entropy with the targets' probabilities."""
    return optax.sigmoid_binary_cross_entropy(outputs, jax.nn.sigmoid(targets)).mean(-1)


@dataclasses.dataclass(frozen=True)
class _Measures:
    """Metrics of each segment; equal for equal names."""

    outcomes: tuple[str, ...]

    def __call__(
        self, outputs: Array, losses: Array, y: Array, segment: Array, segments: int
    ) -> dict[str, Array]:
        known = y >= 0
        probability = jax.nn.sigmoid(outputs)
        error = jnp.where(known, jnp.square(probability - y), 0)
        broken = jnp.isnan(outputs)
        right = jnp.where(broken, jnp.nan, ((outputs > 0) == (y > 0)).astype(outputs.dtype))
        sums = named_means(
            segment,
            segments,
            log_loss=losses,
            known=known.mean(-1).astype(outputs.dtype),
            brier=jnp.where(broken & known, jnp.nan, error).mean(-1),
            accuracy=jnp.where(known, right, 0).mean(-1),
        )
        share = sums.pop("known")
        share = jnp.where(share > 0, share, jnp.nan)  # nothing is known: undefined
        of_outcome = {
            f"auroc_{name}": auroc_by_segment(
                outputs[:, j], y[:, j], jnp.where(known[:, j], segment, segments), segments
            )
            for j, name in enumerate(self.outcomes)
        }
        areas = jnp.stack([*of_outcome.values()])
        defined = ~jnp.isnan(areas)
        mean = jnp.where(defined, areas, 0).sum(0) / defined.sum(0)
        means = {
            "log_loss": sums["log_loss"],
            "brier": sums["brier"] / share,
            "accuracy": sums["accuracy"] / share,
        }
        return {"auroc": jnp.where(defined.any(0), mean, jnp.nan), **means, **of_outcome}


@dataclasses.dataclass(frozen=True)
class _Check:
    """What is wrong with the labels of a hospital; equal for equal numbers of outcomes."""

    outcomes: int

    def __call__(self, y: np.ndarray) -> str | None:
        if y.shape[1:] != (self.outcomes,):
            return f"y has rows of shape {y.shape[1:]}; give a column for each outcome, [n, {self.outcomes}]"
        strange = np.unique(y[~np.isin(y, (0, 1, UNKNOWN))])
        if len(strange):
            return f"y has labels such as {strange[0]:g}; give 1, 0, or -1 where an outcome is not known"
        return None
