"""Mean around the median, coordinate by coordinate.

    update_j = mean of the n - f numbers of {u_kj : k takes part} nearest to their median

Xie, Koyejo, Gupta 2018, "Generalized Byzantine-tolerant SGD", arXiv:1802.10116, section 3.3.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import influence, limits, order_statistics
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Meamed(Rule):
    """The mean around the median.

    Weights n_k are ignored: whoever takes part has one voice. Of equally near numbers the first hospital's
    counts. There is no answer (the aggregate is NaN) where 2 f or fewer take part.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
    """

    f: Number = 1

    def __post_init__(self) -> None:
        problems = Problems("Meamed")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads."""
        return limits.no_majority(self.f, clients)

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The means over the uploads with a weight above 0; metrics ``influence``, ``[K]``."""
        present, f = uploads.present, limits.whole(self.f)
        count = present.sum() - f
        aggregate = around_median(uploads, present, count)
        answer = jnp.where(count > f, 1, jnp.nan).astype(uploads.aux.dtype)
        seen = {"influence": influence.by_coordinate(uploads, lambda x: near_median(x, present, count))}
        return Aggregate(answer * aggregate.update, answer * aggregate.aux), state, seen


def around_median(uploads: Uploads, chosen: Array, count: Array) -> Aggregate:
    """In every coordinate the mean of those ``count`` of the ``chosen [M]`` nearest to their median."""
    update, aux = (order_statistics.mean_near_median(x, chosen, count) for x in (uploads.update, uploads.aux))
    return Aggregate(update, aux)


def near_median(x: Array, chosen: Array, count: Array) -> Array:
    """``[M, b]`` bool: which numbers of ``x`` lie in the range of which :func:`around_median` is the mean."""
    far = jnp.abs(x - order_statistics.median(x, chosen))
    return chosen[:, None] & (far <= order_statistics.element(far, chosen, count - 1))
