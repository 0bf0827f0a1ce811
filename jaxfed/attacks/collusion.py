"""Attackers that know all honest updates, agree on one vector, and all send it.

    IPM    -factor mean                     inner-product manipulation
    ALIE   mean - z sd                      a little is enough; sd coordinate by coordinate

Mean and standard deviation (over n, not n - 1) are those of the honest updates of the round, without weights.

Xie, Koyejo, Gupta 2019, "Fall of empires: breaking Byzantine-tolerant SGD by inner product manipulation",
arXiv:1903.03936; factor 1 is the sign flip of other libraries, and a small factor hides behind the median.
Baruch, Baruch, Goldberg 2019, "A little is enough: circumventing defenses for distributed learning",
arXiv:1902.06156.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from jaxfed.attacks.who import check_malicious
from jaxfed.core import checks
from jaxfed.core.aggregation import Attack
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.uploads import Uploads


class Collusion(Attack):
    """Abstract: all malicious clients that are present send ``point + strength direction``.

    Extras of uploads (``aux``) stay honest. If no honest client is present, nothing is changed. An update
    that is not finite is refused, as one that a client sends.

    Attributes:
        malicious: which hospitals collude, from :func:`jaxfed.attacks.malicious`.
    """

    malicious: Any

    @abc.abstractmethod
    def line(self, uploads: Uploads, honest: Array) -> tuple[Array, Array]:
        """This device's share of point and direction, ``[n]`` each; ``honest [M]`` is not empty."""

    @abc.abstractmethod
    def strength(self, uploads: Uploads, honest: Array, point: Array, direction: Array) -> Array:
        """The attack's own strength, a scalar that is the same on every device."""

    def sides(self, uploads: Uploads) -> tuple[Array, Array]:
        """``[M]`` bool each: the malicious and the honest clients that are present."""
        attackers = jnp.asarray(self.malicious) > 0
        honest = uploads.present & ~attackers
        return uploads.present & attackers & honest.any(), honest

    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The uploads with the same vector from each malicious client."""
        attackers, honest = self.sides(uploads)
        point, direction = self.line(uploads, honest)
        strength = self.strength(uploads, honest, point, direction).astype(point.dtype)
        return uploads.replace(attackers, point + strength * direction)


@pytree
@dataclasses.dataclass(frozen=True)
class IPM(Collusion):
    """Inner-product manipulation: the honest mean, turned around.

    Attributes:
        malicious: which hospitals collude, from :func:`jaxfed.attacks.malicious`.
        factor: the paper's epsilon; may be traced.
    """

    malicious: Any
    factor: Number = 1.0

    def __post_init__(self) -> None:
        problems = Problems("IPM")
        check_malicious("IPM", self.malicious, problems)
        problems.extend(checks.shared("factor", self.factor))
        problems.raise_if_any()

    def line(self, uploads: Uploads, honest: Array) -> tuple[Array, Array]:
        """From 0 against the honest mean."""
        mean = honest_mean(uploads, honest)
        return jnp.zeros_like(mean), -mean

    def strength(self, uploads: Uploads, honest: Array, point: Array, direction: Array) -> Array:
        """The factor."""
        return jnp.asarray(self.factor)


@pytree
@dataclasses.dataclass(frozen=True)
class ALIE(Collusion):
    """A little is enough: the honest mean, moved by z standard deviations in every coordinate.

    Attributes:
        malicious: which hospitals collude, from :func:`jaxfed.attacks.malicious`.
        z: the number of standard deviations, may be traced; None for the paper's: with f of n clients
            malicious, the quantile (n - f - s) / (n - f) of a normal variable, s = n // 2 + 1 - f.
    """

    malicious: Any
    z: Number | None = None

    def __post_init__(self) -> None:
        problems = Problems("ALIE")
        check_malicious("ALIE", self.malicious, problems)
        if self.z is not None:
            problems.extend(checks.shared("z", self.z))
        problems.raise_if_any()

    def line(self, uploads: Uploads, honest: Array) -> tuple[Array, Array]:
        """From the honest mean against the standard deviations."""
        mean = honest_mean(uploads, honest)
        return mean, -honest_sd(uploads, honest, mean)

    def strength(self, uploads: Uploads, honest: Array, point: Array, direction: Array) -> Array:
        """z."""
        if self.z is not None:
            return jnp.asarray(self.z)
        good, present = honest.sum(), uploads.present.sum()
        supporters = present // 2 + 1 - (present - good)
        share = (good - supporters) / jnp.maximum(good, 1)
        return ndtri(jnp.clip(share, 1e-6, 1 - 1e-6))


def honest_mean(uploads: Uploads, honest: Array) -> Array:
    """``[n]``: the mean of the honest updates, each with the same weight."""
    return uploads.mean(honest.astype(uploads.aux.dtype)).update


def honest_sd(uploads: Uploads, honest: Array, mean: Array) -> Array:
    """``[n]``: the standard deviation of the honest updates in every coordinate."""
    squares = jnp.where(honest[:, None], jnp.square(uploads.update - mean), 0)
    return jnp.sqrt(squares.sum(0) / jnp.maximum(honest.sum(), 1).astype(squares.dtype))
