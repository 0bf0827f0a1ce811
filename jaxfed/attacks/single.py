"""Attacks of a client that only knows its own update; they work with every aggregator, streamed ones too.

    sign flip          u_k <- -scale u_k
    model replacement  u_k <-  scale u_k                the training rows are poisoned, see ``backdoor``
    constant           u_k <-  (value, ..., value)      zeros, infinities, NaN
    Gaussian           u_k <-  N(0, sd^2) in every coordinate

Sign flip: Li, Xu, Chen, Giannakis, Ling 2019 (RSA), arXiv:1811.03761. Model replacement: Bagdasaryan, Veit,
Hua, Estrin, Shmatikov 2020, "How to backdoor federated learning", arXiv:1807.00459. Gaussian: Blanchard et
al. 2017, arXiv:1703.02757.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.attacks.who import check_malicious
from jaxfed.core import checks
from jaxfed.core.aggregation import Sender, Transform
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Upload


@pytree
@dataclasses.dataclass(frozen=True)
class SignFlip(Transform):
    """Send the opposite of one's update; the other sign flip, of the honest mean, is ``IPM(malicious, 1.0)``.

    Attributes:
        malicious: which hospitals do, from :func:`jaxfed.attacks.malicious`.
        scale: the factor, at least 0; may be traced and differ between hospitals.
    """

    malicious: Any
    scale: Number = 1.0

    def __post_init__(self) -> None:
        problems = Problems("SignFlip")
        check_malicious("SignFlip", self.malicious, problems)
        problems.extend(checks.number("scale", self.scale))
        problems.raise_if_any()

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The update, or its opposite."""
        return _scaled(upload, jnp.where(_is(self.malicious), -self.scale, 1.0)), state


@pytree
@dataclasses.dataclass(frozen=True)
class ModelReplacement(Transform):
    """Send one's update times a factor, so that the mean of all updates is about the attacker's.

    Attributes:
        malicious: which hospitals do, from :func:`jaxfed.attacks.malicious`.
        scale: the paper's gamma; the number of hospitals over that of the attackers replaces the model. May
            be traced.
    """

    malicious: Any
    scale: Number = 10.0

    def __post_init__(self) -> None:
        problems = Problems("ModelReplacement")
        check_malicious("ModelReplacement", self.malicious, problems)
        problems.extend(checks.number("scale", self.scale))
        problems.raise_if_any()

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The update, or a multiple of it."""
        return _scaled(upload, jnp.where(_is(self.malicious), self.scale, 1.0)), state


@pytree
@dataclasses.dataclass(frozen=True)
class Constant(Transform):
    """Send the same number everywhere: 0.0, ``float("inf")`` or ``float("nan")``.

    An update that is not finite is refused by the server, counted in the run's ``rejected``, and has no
    weight.

    Attributes:
        malicious: which hospitals do, from :func:`jaxfed.attacks.malicious`.
        value: the number; may be traced.
    """

    malicious: Any
    value: Number = 0.0

    def __post_init__(self) -> None:
        problems = Problems("Constant")
        check_malicious("Constant", self.malicious, problems)
        known = checks.known(self.value)
        fine = known is None or np.issubdtype(known.dtype, np.number)
        problems.check(fine, f"value={self.value!r}: give a number, such as 0.0 or float('inf')")
        problems.raise_if_any()

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The update, or the constant."""

        def sent(leaf: Array) -> Array:
            return jnp.where(_is(self.malicious), jnp.asarray(self.value, leaf.dtype), leaf)

        return upload._replace(update=jax.tree.map(sent, upload.update)), state


@pytree
@dataclasses.dataclass(frozen=True)
class Gaussian(Transform):
    """Send noise instead of an update.

    Attributes:
        malicious: which hospitals do, from :func:`jaxfed.attacks.malicious`.
        sd: standard deviation of every coordinate; may be traced.
    """

    malicious: Any
    sd: Number = 1.0

    def __post_init__(self) -> None:
        problems = Problems("Gaussian")
        check_malicious("Gaussian", self.malicious, problems)
        problems.extend(checks.number("sd", self.sd))
        problems.raise_if_any()

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The update, or noise."""
        leaves, structure = jax.tree.flatten(upload.update)
        keys = jax.random.split(sender.key, max(len(leaves), 1))
        sent = [
            jnp.where(_is(self.malicious), self.sd * jax.random.normal(k, leaf.shape, leaf.dtype), leaf)
            for leaf, k in zip(leaves, keys, strict=False)
        ]
        return upload._replace(update=jax.tree.unflatten(structure, sent)), state


def _is(malicious: Any) -> Array:
    return jnp.asarray(malicious) > 0


def _scaled(upload: Upload, factor: Array) -> Upload:
    scaled = jax.tree.map(lambda leaf: (factor * leaf).astype(leaf.dtype), upload.update)
    return upload._replace(update=scaled)
