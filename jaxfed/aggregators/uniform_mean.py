"""The plain mean: every hospital that takes part has one voice, whatever the algorithm's weights.

    aggregate = (1/n) sum_k u_k

Robust rules without attackers are to be compared with it, because they ignore weights too. It stores the
uploads; ``WeightedMean()`` with ``weighting="uniform"`` of the algorithm is the same number and does not.
"""

from __future__ import annotations

import dataclasses

from jax import Array

from jaxfed.core.aggregation import Rule
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class UniformMean(Rule):
    """The mean with equal weights; a single malicious upload moves it as far as it likes.

    Weights n_k are ignored: whoever takes part has one voice. 0 where nobody does.
    """

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean over the uploads with a weight above 0."""
        return uploads.mean(uploads.present.astype(uploads.weights.dtype)), state, {}
