"""Mimic: all attackers send what one honest client sends, so that its hospital counts too much.

    z = the direction in which honest updates differ most
    attackers send u_i* of i* = argmax_i |z . (u_i - mean)|

Karimireddy, He, Jaggi 2022, "Byzantine-robust learning on heterogeneous datasets via bucketing",
arXiv:2006.09365, section 3. Every upload is an honest one, so nothing gives attackers away; robust rules that
drop the rare hospitals are biased further.

Departure from the paper: it learns z over the first rounds and copies the same client in all later ones; here
z and i* are those of the round.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxfed.attacks.who import check_malicious
from jaxfed.core.aggregation import Attack
from jaxfed.core.eigenvector import first_eigenvector
from jaxfed.core.errors import Problems
from jaxfed.core.products import multiply
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Mimic(Attack):
    """Copies of the honest upload that is most extreme along the first principal direction.

    Of equally extreme ones the first hospital's is copied; extras are copied too. If no honest client is
    present, nothing is changed.

    Attributes:
        malicious: which hospitals copy, from :func:`jaxfed.attacks.malicious`.
    """

    malicious: Any

    def __post_init__(self) -> None:
        problems = Problems("Mimic")
        check_malicious("Mimic", self.malicious, problems)
        problems.raise_if_any()

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The uploads, those of attackers replaced by a copy of an honest one."""
        attackers = jnp.asarray(self.malicious) > 0
        honest = uploads.present & ~attackers
        attackers &= uploads.present & honest.any()
        copied = jnp.argmax(jnp.where(honest, jnp.abs(_first_component(uploads, honest)), -1))
        identity = jnp.eye(len(uploads))
        return uploads.mix(jnp.where(attackers[:, None], identity[copied], identity), uploads.weights)


def _first_component(uploads: Uploads, honest: Array) -> Array:
    """``[M]``: z . (u_i - mean) up to a factor: the first eigenvector of the honest updates' Gram matrix."""
    gram = uploads.centred_gram()
    inside = honest.astype(gram.dtype)
    centring = jnp.diag(inside) - jnp.outer(inside, inside) / jnp.maximum(inside.sum(), 1)
    product = multiply(centring, multiply(gram, centring))
    return first_eigenvector(product)
