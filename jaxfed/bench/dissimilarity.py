"""How much honest hospitals differ, and the share of attackers from which no rule has a guarantee.

    1/|H| sum_k ||g_k - g||^2  <=  G^2 + B^2 ||g||^2,    g = mean of the honest gradients g_k

(G, B)-gradient dissimilarity; whatever the rule, a share of attackers of 1 / (2 + B^2) or more can prevent
learning: Allouah, Guerraoui, Gupta, Pinot, Rizk 2023, "Robust distributed learning: tight error bounds and
breakdown point under data heterogeneity", arXiv:2309.13591.

The inequality is to hold at every model; here it is measured at those that gradient descent on the honest
hospitals passes. B^2 is the slope of the least-squares line through (||g||^2, mean ||g_k - g||^2), and G^2
the least number with which the inequality holds at all of them.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxfed.core import keys
from jaxfed.core.dataset import TRAIN
from jaxfed.core.problem import Batch
from jaxfed.core.products import multiply
from jaxfed.core.types import PyTree, Variables
from jaxfed.spec.spec import Spec

STEPS, RATE = 60, 0.5  # of gradient descent


@dataclasses.dataclass(frozen=True)
class Dissimilarity:
    """The measured constants of gradients, or of updates.

    Attributes:
        b_squared: B^2, without unit.
        g_squared: G^2, in squared units of a gradient or an update.
    """

    b_squared: float
    g_squared: float

    @property
    def share(self) -> float:
        """1 / (2 + B^2): the share of attackers from which on no rule is guaranteed to learn."""
        return 1 / (2 + self.b_squared)

    def bound(self, n: int, f: int) -> float:
        """f / (n - (2 + B^2) f), or infinite from that share on; times G^2 a rule's error at the best."""
        left = n - (2 + self.b_squared) * f
        return f / left if left > 0 else np.inf


def dissimilarity(spec: Spec, honest: np.ndarray, seed: int = 0) -> Dissimilarity:
    """Measure (G, B) along gradient descent on the mean loss of the honest hospitals.

    Args:
        spec: a simulation with one model.
        honest: ``[C]`` bool.
        seed: of the initial model.
    """
    spread, norm = (np.asarray(values, float) for values in _trajectory(spec, honest, seed))
    return Dissimilarity(*line(spread, norm))


def line(spread: np.ndarray, norm: np.ndarray) -> tuple[float, float]:
    """B^2, the slope of the least-squares line but at least 0, and the least G^2 that holds everywhere.

    Args:
        spread: ``[T]`` mean squared distances from the mean; norm: ``[T]`` squared norms of the mean.
    """
    away = norm - norm.mean()
    variance = away @ away
    slope = max(float(away @ (spread - spread.mean()) / variance), 0.0) if variance > 0 else 0.0
    return slope, max(float((spread - slope * norm).max()), 0.0)


def _trajectory(spec: Spec, honest: np.ndarray, seed: int) -> tuple[Array, Array]:
    """``[STEPS]`` each: mean ||g_k - g||^2 and ||g||^2."""
    data, problem = spec.hospitals, spec.local_trainings["all"].problem
    numbers = np.flatnonzero(np.asarray(honest) & (data.counts[:, TRAIN] > 0))
    training = [np.flatnonzero((data.owner == c) & (data.split == TRAIN)) for c in numbers]
    most = max(map(len, training))
    index = np.stack([np.pad(rows, (0, most - len(rows))) for rows in training])
    mask = jnp.asarray([[i < len(rows) for i in range(most)] for rows in training], jnp.float32)
    x, y = (jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), part) for part in (data.x, data.target))
    key = keys.purpose(keys.run_key(seed), keys.INIT)
    start = problem.init(key, jax.tree.map(lambda leaf: leaf[0, :1], x))
    flat, unravel = ravel_pytree(start.params)

    def gradient(params: PyTree, x: PyTree, y: Array, mask: Array) -> Array:
        batch = Batch(x, y, mask, key)
        return ravel_pytree(problem.gradient(Variables(params, start.stats), batch).params)[0]

    def step(params: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        gradients = jax.vmap(gradient, (None, 0, 0, 0))(unravel(params), x, y, mask)
        mean = gradients.mean(0)
        return params - RATE * mean, (jnp.square(gradients - mean).sum(1).mean(), multiply(mean, mean))

    return jax.jit(lambda params: jax.lax.scan(step, params, None, length=STEPS))(flat)[1]
