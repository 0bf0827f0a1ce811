"""Mimic: all attackers send what one honest client sends, so that its hospital counts too much.

    z = the direction in which honest updates differ most
    attackers send u_i* of i* = argmax_i |z . (u_i - mean)|

Karimireddy, He, Jaggi 2022, "Byzantine-robust learning on heterogeneous datasets via bucketing",
arXiv:2006.09365, section 3. Every upload is an honest one, so nothing gives attackers away; robust rules that
drop the rare hospitals are biased further.

Departure from the paper: it learns z over the first rounds and copies the same client in all later ones; here
z and i* are those of the round. With ``copied`` it is one client in all rounds, given and not learnt.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxfed.attacks.who import check_malicious
from jaxfed.core import checks
from jaxfed.core.aggregation import Attack
from jaxfed.core.eigenvector import first_eigenvector
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number, PerHospital
from jaxfed.core.products import multiply
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads


@pytree
@dataclasses.dataclass(frozen=True)
class Mimic(Attack):
    """Copies of an honest upload: that of one hospital, or in each round the most extreme one.

    The most extreme is the one farthest along the first principal direction, of equal ones the first
    hospital's. Extras are copied too. In a round without an honest client, or without the one that is given,
    nothing is changed.

    Attributes:
        malicious: which hospitals copy, from :func:`jaxfed.attacks.malicious`.
        copied: the number of the hospital that is copied in all rounds, ``data.hospitals.index(name)``, may
            be traced; None for the most extreme one of each round.
    """

    malicious: Any
    copied: Number | None = None

    def __post_init__(self) -> None:
        problems = Problems("Mimic")
        check_malicious("Mimic", self.malicious, problems)
        if self.copied is not None:
            problems.extend(checks.shared_count("copied", self.copied, 0))
        problems.raise_if_any()
        problems.extend(_not_honest(self.malicious, self.copied))
        problems.raise_if_any()

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The uploads, those of attackers replaced by a copy of an honest one."""
        attackers = jnp.asarray(self.malicious) > 0
        honest = uploads.present & ~attackers
        if self.copied is None:
            copied = jnp.argmax(jnp.where(honest, jnp.abs(_first_component(uploads, honest)), -1))
        else:
            copied = jnp.asarray(self.copied).astype(jnp.int32)
        attackers &= uploads.present & honest[copied]
        identity = jnp.eye(len(uploads))
        return uploads.mix(jnp.where(attackers[:, None], identity[copied], identity), uploads.weights)


def _not_honest(malicious: Any, copied: Any) -> list[str]:
    """The problem that there is no such hospital, or that it is malicious, as far as both are known here.

    Marks by name are in the order of the data set, in which hospitals have numbers, only inside a simulation.
    """
    marks, number = checks.known(malicious), checks.known(copied)
    if copied is None or marks is None or number is None or marks.ndim != 1 or number.ndim:
        return []
    if unknown := checks.hospital_number("copied", copied, len(marks)):
        return unknown
    ordered = not (isinstance(malicious, PerHospital) and malicious.names)
    if not ordered or not marks[int(number)]:
        return []
    return [f"copied={copied}: this hospital is malicious; give an honest one, such as {marks.argmin()}"]


def _first_component(uploads: Uploads, honest: Array) -> Array:
    """``[M]``: z . (u_i - mean) up to a factor: the first eigenvector of the honest updates' Gram matrix."""
    gram = uploads.centred_gram()
    inside = honest.astype(gram.dtype)
    centring = jnp.diag(inside) - jnp.outer(inside, inside) / jnp.maximum(inside.sum(), 1)
    product = multiply(centring, multiply(gram, centring))
    return first_eigenvector(product)
