"""Differential privacy of each hospital: DP-FedAvg, as one part of the road that belongs together.

    S <- sum_k clip(u_k, C) + N(0, (z C)^2);    update <- S / m

McMahan, Ramage, Talwar, Zhang 2018, arXiv:1710.06963: ``m`` is the expected number of hospitals of a round
and never the realised one; every hospital counts once, whatever its size; all of an upload is clipped
together, SCAFFOLD's controls included. An upload that is not finite counts as zero. With adaptive clipping
(Andrew, Thakkar, McMahan, Ramaswamy 2021, arXiv:1905.03871) the bound follows a quantile of the norms:

    b <- (sum_k 1[||u_k|| <= C] + N(0, sigma_b^2)) / m;    C <- C exp(-eta (b - gamma))

and the uploads get the noise multiplier (z^-2 - (2 sigma_b)^-2)^(-1/2), so that both together cost as much as
z alone. With local noise every hospital adds N(0, (z C)^2) itself, and no server has to be trusted. With a
correlation the noise of a round cancels some of that of earlier rounds, for hospitals that take turns.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core import checks, tree
from jaxfed.core.aggregation import Sender, Streamed, Transform
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Upload
from jaxfed.privacy import arguments
from jaxfed.privacy.accounting import Accountant, Adjacency
from jaxfed.privacy.correlated_noise import CorrelatedNoise
from jaxfed.privacy.correlation import Correlation
from jaxfed.privacy.noise import noisy
from jaxfed.privacy.patient import budget_problems

Where = Literal["central", "local"]
FEW = 1000  # hospitals below which a guarantee for whole hospitals is dear


@pytree
@dataclasses.dataclass(frozen=True)
class AdaptiveClip:
    """The clipping bound follows a quantile of the norms of uploads.

    Attributes:
        quantile: the share of uploads that are not clipped.
        learning_rate: eta, of the bound's logarithm.
        count_noise: sigma_b, the noise on the number of uploads below the bound; None for m / 20.
    """

    quantile: Number = 0.5
    learning_rate: Number = 0.2
    count_noise: Number | None = None

    def problems(self) -> list[str]:
        """Numbers out of range."""
        found = checks.shared("adaptive.quantile", self.quantile, 0, 1)
        found += checks.shared("adaptive.learning_rate", self.learning_rate)
        if self.count_noise is not None:
            found += checks.shared("adaptive.count_noise", self.count_noise, above=True)
            found += arguments.constant("adaptive.count_noise", self.count_noise)
        return found


@pytree
@dataclasses.dataclass(frozen=True)
class HospitalDP:
    """Hospital-level privacy, ``Simulation(..., privacy=HospitalDP(clip=1.0, noise_multiplier=2.0))``.

    It takes the place of the simulation's aggregator: clipping, denominator and noise belong together. With
    few hospitals it is dear; :class:`PatientDP` protects patients and not whole hospitals.

    Attributes:
        clip: the largest norm of an upload; with ``adaptive`` the first one. Can be swept.
        noise_multiplier: standard deviation of the noise on the sum of uploads, in units of ``clip``.
        epsilon: instead of ``noise_multiplier``: the least noise with which ``rounds`` rounds cost at most
            this; a run stops there too.
        delta: of the guarantee; well below 1 over the number of hospitals.
        rounds: static; the rounds for which ``epsilon`` chooses the noise.
        until_epsilon: the run goes on until the next round would exceed this; None for no end.
        where: static; ``"central"``, a trusted server adds the noise to the sum, or ``"local"``, each
            hospital to its upload.
        adaptive: None for a fixed bound.
        correlation: static; of the noise of different rounds: :class:`BandMF` or :class:`Tree`, for hospitals
            that take turns, ``participation=Cyclic(size)``; ``noise_multiplier`` is then that of a hospital's
            first turn. None for independent noise.
        adjacency: static; what a neighbouring federation is: a hospital more or less, or another one.
        accountant: static; ``"pld"`` or ``"rdp"``.
    """

    clip: Number = 1.0
    noise_multiplier: Number | None = None
    epsilon: Number | None = None
    delta: float = 1e-5
    rounds: int | None = dataclasses.field(default=None, metadata={"static": True})
    until_epsilon: Number | None = None
    where: Where = dataclasses.field(default="central", metadata={"static": True})
    adaptive: AdaptiveClip | None = None
    correlation: Correlation | None = dataclasses.field(default=None, metadata={"static": True})
    adjacency: Adjacency = dataclasses.field(default="add-or-remove", metadata={"static": True})
    accountant: Accountant = dataclasses.field(default="pld", metadata={"static": True})

    def problems(self) -> list[str]:
        """Numbers out of range, each with the remedy."""
        found = checks.shared("clip", self.clip, above=True) + budget_problems(self)
        for name in ("noise_multiplier", "epsilon", "until_epsilon"):
            if getattr(self, name) is not None:
                found += checks.shared(name, getattr(self, name))
        found += arguments.choice("where", self.where, Where)
        if self.adaptive is not None:
            found += self.adaptive.problems()
            if self.where == "local":
                found.append("adaptive: a bound for all needs a server that sees norms; give where='central'")
        if self.correlation is not None:
            found += self._correlation_problems()
        return found

    def _correlation_problems(self) -> list[str]:
        if not isinstance(self.correlation, Correlation):
            return [f"correlation={self.correlation!r}: give BandMF(), Tree(), or None for independent noise"]
        found = [f"correlation: {problem}" for problem in self.correlation.problems()]
        if self.where == "local":
            found.append("correlation: the server's noise is correlated; give where='central'")
        if self.adaptive is not None:
            found.append(
                "correlation: the noise of an adaptive bound is accounted where it is independent; leave "
                "adaptive out, or a schedule for clip"
            )
        return found

    def parts(
        self, noise_multiplier: Number, expected: float, correlation: Correlation | None = None
    ) -> list[Any]:
        """The parts of the road.

        Args:
            noise_multiplier: of the noise.
            expected: the expected number of hospitals of a round.
            correlation: with all that depends on the cycle of turns; None for independent noise, which an
                adaptive bound has in any case.
        """
        if correlation is not None and self.adaptive is None:
            noise = CorrelatedNoise(noise_multiplier, self.clip, expected, correlation)
            return [PrivateMean(self.clip, None, expected), noise]
        if self.where == "local":
            return [LocalNoise(self.clip, noise_multiplier), PrivateMean(jnp.inf, 0.0, expected)]
        return [PrivateMean(self.clip, noise_multiplier, expected, self.adaptive)]


class Bound(NamedTuple):
    """The clipping bound between rounds."""

    clip: Array


@pytree
@dataclasses.dataclass(frozen=True)
class PrivateMean(Streamed):
    """The sum of clipped uploads with noise, over the expected number of hospitals.

    Attributes:
        clip: the largest norm of an upload; with ``adaptive`` in the first round.
        noise_multiplier: standard deviation of the noise, in units of the bound; None if a later part adds
            it, for a fixed bound.
        expected: what the sum is divided by.
        adaptive: None for a fixed bound.
    """

    clip: Number
    noise_multiplier: Number | None
    expected: Number
    adaptive: AdaptiveClip | None = None
    averages: ClassVar[bool] = True
    steps_alone: ClassVar[bool] = True

    @property
    def public_count(self) -> Number:
        """The number of hospitals that the server may know of."""
        return self.expected

    def init(self, upload: Upload) -> Any:
        """The bound, where it changes."""
        return () if self.adaptive is None else Bound(jnp.asarray(self.clip, jnp.result_type(float)))

    def lift(self, upload: Upload, state: Any) -> Upload:
        """The clipped upload in float32 at least, and whether it was below the bound, where that is used."""
        update = jax.tree.map(
            lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), upload.update
        )
        bound = self.clip if self.adaptive is None else state.clip
        clipped, norm = clip(update, bound)
        below = () if self.adaptive is None else (norm <= bound).astype(jnp.result_type(float))
        return Upload((clipped, below))

    def lower(self, total: Upload, weight: Array, state: Any, key: Array) -> tuple[Upload, PyTree, Metrics]:
        """The noisy sum over ``expected``, and the next bound."""
        summed, below = total.update
        key, other = jax.random.split(key)
        if self.adaptive is None:
            bound, z, new = self.clip, self.noise_multiplier, state
        else:
            adaptive, bound = self.adaptive, state.clip
            sigma = self.expected / 20 if adaptive.count_noise is None else adaptive.count_noise
            z = split_noise(self.noise_multiplier, sigma)
            # the sum of 1[...] - 1/2 of all hospitals moves by 1/2 with one of them
            count = (
                below
                - 0.5 * weight
                + sigma * jax.random.normal(other) * (jnp.asarray(self.noise_multiplier) > 0)
            )
            share = count / self.expected + 0.5
            new = Bound(bound * jnp.exp(-adaptive.learning_rate * (share - adaptive.quantile)))
        if z is not None:
            summed = noisy(summed, jnp.where(jnp.asarray(z) > 0, z * bound, 0), key)
        return Upload(jax.tree.map(lambda leaf: leaf / self.expected, summed)), new, {}


@pytree
@dataclasses.dataclass(frozen=True)
class LocalNoise(Transform):
    """An upload that is clipped and gets noise before it leaves the hospital.

    Attributes:
        clip: the largest norm of an upload.
        noise_multiplier: standard deviation of the noise, in units of ``clip``.
    """

    clip: Number
    noise_multiplier: Number

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The clipped and noisy upload; one that is not finite is noise alone."""
        update = clip(upload.update, self.clip)[0]
        deviation = jnp.where(jnp.asarray(self.noise_multiplier) > 0, self.noise_multiplier * self.clip, 0)
        return upload._replace(update=noisy(update, deviation, sender.key)), state


def clip(update: PyTree, bound: Any) -> tuple[PyTree, Array]:
    """The update with at most the norm ``bound``, zero if it is not finite, and its norm."""
    norm = jnp.sqrt(tree.squared_norm(update))
    fine = jnp.isfinite(norm)
    factor = jnp.where(fine, jnp.minimum(1, bound / norm), 0)
    scaled = jax.tree.map(lambda leaf: jnp.where(fine, factor * leaf, 0).astype(leaf.dtype), update)
    return scaled, jnp.where(fine, norm, jnp.inf)


def split_noise(noise_multiplier: Any, count_noise: Any) -> Any:
    """The noise multiplier of the uploads, if the count of uploads below the bound gets ``count_noise``.

    >>> round(float(split_noise(1.0, 5.0)), 9)
    1.005037815

    NaN where the count's noise alone costs more than ``noise_multiplier`` allows.
    """
    if isinstance(noise_multiplier, (int, float)) and isinstance(count_noise, (int, float)):
        left = noise_multiplier**-2 - (2 * count_noise) ** -2 if noise_multiplier else math.inf
        return 0.0 if left == math.inf else (left**-0.5 if left > 0 else math.nan)
    z = jnp.asarray(noise_multiplier)
    safe = jnp.where(z > 0, z, 1)
    return jnp.where(z > 0, (safe**-2.0 - (2 * count_noise) ** -2.0) ** -0.5, 0)
