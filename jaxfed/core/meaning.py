"""What the outputs of a model mean to users: probabilities, numbers, quantiles, risks."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Link = Literal["number", "logit", "softmax", "sigmoid", "sort", "risk", "hazard"]


@dataclasses.dataclass(frozen=True)
class Meaning:
    """How outputs ``[n, m]`` become the columns of a table of predictions.

    Attributes:
        link: ``"number"``, the outputs themselves; ``"logit"``, one logit for the second of two classes;
            ``"softmax"``, a logit for each class; ``"sigmoid"``, a logit for each outcome; ``"sort"``,
            quantiles, put in ascending order; ``"risk"``, the log relative hazard; ``"hazard"``, logits of
            the hazards in intervals of time.
        names: of the columns, but of ``"risk"``; for ``"number"`` they may be left out.
    """

    link: Link = "number"
    names: tuple[str, ...] = ()

    def columns(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """``{name: [n]}``."""
        if self.link == "logit":
            positive = np.asarray(jax.nn.sigmoid(outputs[:, 0]))
            return {self.names[0]: 1 - positive, self.names[1]: positive}
        if self.link == "risk":
            return {"risk": outputs[:, 0]}
        if self.link == "hazard":
            # the cumulative hazard up to the last cut orders patients as the survival there does
            survived = np.cumsum(np.asarray(jax.nn.log_sigmoid(-jnp.asarray(outputs))), axis=-1)
            return {"risk": -survived[:, -1], **dict(zip(self.names, np.exp(survived).T, strict=True))}
        values = np.asarray(outputs)
        if self.link == "softmax":
            values = np.asarray(jax.nn.softmax(values, -1))
        elif self.link == "sigmoid":
            values = np.asarray(jax.nn.sigmoid(values))
        elif self.link == "sort":
            values = np.sort(values, axis=-1)
        count = values.shape[1]
        names = self.names or (("prediction",) if count == 1 else [f"prediction {j}" for j in range(count)])
        return dict(zip(names, values.T, strict=True))


def survival_at(time: float) -> str:
    """The column with the probability to have had no event up to a time."""
    return f"survival at {np.format_float_positional(np.float32(time), trim='-')}"


def of_classes(classes: tuple[str, ...], outputs: int) -> Meaning:
    """The meaning of ``outputs`` outputs for these classes, or of numbers without classes."""
    if len(classes) == 2 and outputs == 1:
        return Meaning("logit", classes)
    return Meaning("softmax", classes) if classes else Meaning()
