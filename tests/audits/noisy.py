"""Small private methods, right and broken on purpose, for audits to judge."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from scipy.optimize import brentq
from scipy.stats import norm

from jaxfed.algorithms import FedSGD
from jaxfed.core import tree
from jaxfed.core.optimizer import optimizer
from jaxfed.core.problem import Batch
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Upload, Variables

BROKEN = ("no noise", "no clip", "wrong denominator")


def gaussian_epsilon(multiplier: float, delta: float, steps: int = 1) -> float:
    """The exact epsilon of some Gaussian mechanisms of sensitivity 1 (Balle and Wang 2018, Theorem 8)."""
    mu = np.sqrt(steps) / multiplier

    def gap(epsilon: float) -> float:
        low, high = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return norm.cdf(low) - np.exp(epsilon) * norm.cdf(high) - delta

    return brentq(gap, 0, 500)


def noisy_sums(fault: str = "", multiplier: float = 1.0, length: float = 20.0) -> Any:
    """A mechanism of NumPy: each canary is a vector of its own direction; clip, sum, noise, mean of 100."""

    def mechanism(included: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 7])
        clipped = length if fault == "no clip" else min(length, 1.0)
        noise = 0.0 if fault == "no noise" else multiplier
        if fault == "wrong denominator":
            noise /= 100  # of the mean, on the sum
        return (included * clipped + noise * rng.normal(size=len(included))) / 100

    return mechanism


@pytree
@dataclasses.dataclass(frozen=True)
class NoisySGD(FedSGD):
    """FedSGD whose hospitals clip every patient's gradient and add noise to the sum; all numbers are traced.

    Attributes:
        bound: the largest norm.
        noise: standard deviation of the noise on the sum.
        expected: what the sum is divided by.
    """

    bound: float = 1.0
    noise: float = 1.0
    expected: float = 100.0

    def client_update(self, local, server, client, shard, key):  # type: ignore[no-untyped-def]
        """Upload the negative noisy mean."""
        problem, variables = local.problem, server.variables

        def of_row(x: Any, y: Any, use: Any) -> Any:
            batch = Batch(jax.tree.map(lambda leaf: leaf[None], x), y[None], jnp.ones(1), key)
            grads = problem.gradient(variables, batch).params
            factor = jnp.minimum(1, self.bound / jnp.sqrt(tree.squared_norm(grads)))
            return tree.scale(jnp.where(use, factor, 0), grads)

        def add(total: Any, x: Any, y: Any, mask: Any, c: Any) -> Any:
            rows = jax.vmap(of_row)(x, y, mask)
            return tree.add(total, jax.tree.map(lambda leaf: leaf.sum(0), rows))

        total = shard.fold(problem.chunk, add, tree.zeros_like(variables.params))
        flat, unravel = ravel_pytree(total)
        flat = flat + self.noise * jax.random.normal(jax.random.fold_in(key, 1), flat.shape)
        step = tree.scale(-1 / self.expected, unravel(flat))
        return Upload(Variables(step, tree.zeros_like(variables.stats))), client, {}


def noisy_sgd(multiplier: float, fault: str = "") -> NoisySGD:
    """With noise ``multiplier`` on gradients of norm 1; or broken."""
    noise = {"no noise": 0.0, "wrong denominator": multiplier / 100}.get(fault, multiplier)
    step = optimizer(optax.sgd, learning_rate=1.0)
    return NoisySGD(step, "uniform", 1e9 if fault == "no clip" else 1.0, noise)
