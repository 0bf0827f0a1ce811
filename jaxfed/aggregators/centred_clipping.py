"""Centred clipping: differences from the last aggregate are clipped, and their mean is added to it.

    v <- v + (1/n) sum_k (u_k - v) min(1, tau / ||u_k - v||),    aggregate = v

Karimireddy, He, Jaggi 2021, "Learning from history for Byzantine robust optimization", arXiv:2012.10333. v
starts from the last round's aggregate (0 in the first round), so a malicious upload moves it by at most tau /
n in a step. The paper's hospitals send momentum, which changes slowly between rounds; a rule with memory is a
poor choice where updates do not resemble those of the round before.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class CentredClipping(Rule):
    """Centred clipping.

    Weights n_k are ignored: whoever takes part has one voice. Extras are the mean with weights
    min(1, tau / ||u_k - v||). Where nobody took part the aggregate is 0.

    Attributes:
        tau: how far from v an upload may pull, in units of the updates; may be traced.
        steps: static; the paper's L.
    """

    tau: Number = 10.0
    steps: int = dataclasses.field(default=1, metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("CentredClipping")
        problems.extend(checks.shared("tau", self.tau, above=True))
        problems.extend(checks.shared_count("steps", self.steps))
        problems.raise_if_any()

    def init(self, update: Array) -> Array:
        """v = 0, ``[N]``."""
        return jnp.zeros_like(update)

    def reduce(self, uploads: Uploads, state: Array, key: Array) -> tuple[Aggregate, Array, Metrics]:
        """The new v, which is the state too.

        Metrics ``factor [M]``: what differences were multiplied by; ``influence [K]``: the part of each
        upload in the last step, of sum 1 or less, because the rest is what v was before.
        """
        present = uploads.present
        count = jnp.maximum(present.sum(), 1)

        def factors(v: Array) -> Array:
            far = jnp.sqrt(uploads.squared_distances_to(v))
            return jnp.where(present, jnp.minimum(1, self.tau / jnp.maximum(far, self.tau)), 0)

        def step(_: Array, moving: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            v = moving[0]
            factor = factors(v)
            mean = uploads.mean(factor)
            return (
                v + (factor.sum() / count.astype(factor.dtype)).astype(v.dtype) * (mean.update - v),
                mean.aux,
                factor,
            )

        v = uploads.share(state)
        moving = (v, jnp.zeros_like(uploads.aux, shape=uploads.aux.shape[1:]), factors(v))
        new, aux, factor = step(jnp.zeros(()), moving)
        if self.steps > 1:
            new, aux, factor = jax.lax.fori_loop(1, self.steps, step, (new, aux, factor))
        answer = uploads.sum_over_devices((~jnp.isfinite(new)).sum()) == 0
        kept = uploads.whole(jnp.where(answer, new, v))
        part = uploads.influence(factor) * (factor.sum() / count.astype(factor.dtype))
        seen = {"factor": factor, "influence": part}
        return Aggregate(jnp.where(present.any(), new, 0), aux), kept, seen
