"""Divide and conquer: uploads far out along the direction of most variance are left out.

    repeat ``draws`` times, on ``size`` random coordinates:
        s_i  = <v, u_i - mean>^2    with v the first right singular vector of the centred uploads
        good = the n - c f uploads of the least s_i
    aggregate = the mean of the uploads that were good every time

Shejwalkar, Houmansadr 2021, "Manipulating the Byzantine: optimizing model poisoning attacks and defenses for
federated learning", NDSS, algorithm 2.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import limits, order_statistics, spectral
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.permutation import permute
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class DnC(Rule):
    """Divide and conquer.

    Weights n_k are ignored: whoever takes part has one voice. Of equal scores the first hospital's counts.
    There is no answer (the aggregate is NaN) where 2 f or fewer take part, or where nobody was good every
    time.

    Attributes:
        f: how many uploads of a round may be malicious; may be traced.
        factor: the number of uploads left out in a draw is ``factor`` f, rounded down; the paper's c. May be
            traced.
        draws: static; how often coordinates are drawn, the paper's niters; once if a draw has all of them.
        size: static; coordinates of a draw, the paper's b; all of them if there are fewer.
    """

    f: Number = 1
    factor: Number = 1.0
    draws: int = dataclasses.field(default=1, metadata={"static": True})
    size: int = dataclasses.field(default=10_000, metadata={"static": True})

    def __post_init__(self) -> None:
        problems = Problems("DnC")
        problems.extend(checks.shared_count("f", self.f, 0))
        problems.extend(checks.shared("factor", self.factor, above=True))
        problems.extend(checks.shared_count("draws", self.draws))
        problems.extend(checks.shared_count("size", self.size))
        problems.raise_if_any()

    def problems(self, clients: int) -> list[str]:
        """No majority of honest uploads, or nobody left."""
        problems = limits.no_majority(self.f, clients)
        f, factor = checks.known(self.f), checks.known(self.factor)
        if f is not None and factor is not None and not problems and int(f * factor) >= clients:
            problems.append(
                f"factor={self.factor} with f={self.f} leaves out all of {clients} uploads: give "
                f"factor < {clients / f:.3g}"
            )
        return problems

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean of those left; metrics ``selected``, ``[M]`` bool, and ``influence``, ``[K]``."""
        present, f = uploads.present, limits.whole(self.f)
        count, everyone = present.sum(), present.astype(uploads.weights.dtype)
        remaining = count - jnp.floor(self.factor * f.astype(everyone.dtype) + 1e-4).astype(jnp.int32)
        selected, some = present, uploads
        for i in range(self.draws if self.size < uploads.size else 1):
            if self.size < uploads.size:
                index = permute(key, jnp.arange(self.size), uploads.size, i)
                some = Uploads(uploads.columns(index), uploads.aux[:, :0], uploads.weights)
            _, score = spectral.main_direction(some.centred_gram(), everyone)
            score = jnp.where(present, score, jnp.inf)
            good = order_statistics.least(score[:, None], jnp.clip(remaining, 1, len(uploads)))[:, 0]
            selected &= good & (remaining > 0)
        answer = (count > 2 * f) & selected.any()
        weights = jnp.where(answer, selected.astype(uploads.aux.dtype), jnp.nan)
        return (
            uploads.mean(weights),
            state,
            {"selected": selected, "influence": uploads.influence(selected.astype(everyone.dtype))},
        )
