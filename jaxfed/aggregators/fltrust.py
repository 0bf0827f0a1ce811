"""FLTrust: uploads count as far as they point where the server's update points, and are as long as that.

    trust_k   = max(0, cos(u_k, u_0))
    aggregate = sum_k trust_k (||u_0|| / ||u_k||) u_k / sum_k trust_k

Cao, Fang, Liu, Gong 2021, "FLTrust: Byzantine-robust federated learning via trust bootstrapping",
arXiv:2012.13995. u_0 is the update of the server's rows, the root set. Here these rows are a hospital of the
data set like the others, so that u_0 is computed by the same local training as every upload, and ``trusted``
says which hospital that is. As in the paper u_0 is only compared with and is not part of the aggregate.

A poor choice where uploads are no differences from the server's model, and where the root set does not
resemble the hospitals' patients: honest hospitals that differ from it lose their voice.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from jaxfed.aggregators import limits
from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class FLTrust(Rule):
    """FLTrust, with a hospital that has the server's rows.

    Weights n_k are ignored: whoever takes part has the voice that its direction gives it. Extras are the mean
    with the weights ``trust``. The update is 0 where nobody is trusted, and an upload whose square overflows
    is not trusted. There is no answer (the aggregate is NaN) where the trusted hospital is absent.

    Attributes:
        trusted: the number of the hospital with the server's rows, ``data.hospitals.index(name)``; may be
            traced.
    """

    trusted: Number = 0
    names_hospital: ClassVar[bool] = True

    def __post_init__(self) -> None:
        problems = Problems("FLTrust")
        problems.extend(checks.shared_count("trusted", self.trusted, 0))
        problems.raise_if_any()

    def hospital_problems(self, hospitals: int) -> list[str]:
        """No such hospital."""
        return checks.hospital_number("trusted", self.trusted, hospitals)

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean by trust; metrics ``trust``, ``[M]`` from 0 to 1, and ``influence``, ``[K]``."""
        trusted = limits.whole(self.trusted)
        root = jnp.arange(len(uploads)) == trusted
        point = uploads.mean(root.astype(uploads.weights.dtype)).update
        norms = jnp.sqrt(uploads.squared_norms())
        lengths = norms * norms[trusted]
        known = uploads.present & ~root & (lengths > 0) & jnp.isfinite(lengths)
        cosine = jnp.where(known, uploads.dot(point) / jnp.where(known, lengths, 1), 0)
        trust = jnp.clip(cosine, 0, 1)
        weights = trust * jnp.where(known, norms[trusted] / jnp.where(known, norms, 1), 0)
        total = jnp.where(trust.sum() > 0, trust.sum(), 1)
        answer = jnp.where(uploads.present[trusted], 1, jnp.nan).astype(point.dtype)
        update = uploads.mean(weights).update * (weights.sum() / total).astype(point.dtype)
        aggregate = Aggregate(answer * update, answer * uploads.mean(trust).aux)
        return aggregate, state, {"trust": trust, "influence": uploads.influence(trust)}
