"""Federations of one parameter w, where hospital k minimises f_k(w) = a w^2 + b w + c.

What federated algorithms do there can be worked out on paper.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from federations import Lab, recipe, server_in

from jaxfed.core.dataset import Dataset
from jaxfed.core.optimizer import optimizer
from jaxfed.core.types import Variables

CAPACITY = 1000  # one for all, so that programs are shared


class Point(nn.Module):
    """The value of each row's parabola at w."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.ones, ())
        return x[:, 0] * w**2 + x[:, 1] * w + x[:, 2]


def height(outputs, y):
    return outputs


def parabolas(*coefficients: tuple[float, float, float], rows: Any = None) -> Dataset:
    """Hospitals with these (a, b, c), each in so many equal rows."""
    size = np.asarray(rows or [1] * len(coefficients))
    n = int(size.sum())
    return Dataset(
        x=np.repeat(np.asarray(coefficients, np.float64), size, axis=0),
        y=np.zeros(n),
        size=size,
        split=np.zeros(n, np.int8),
        hospitals=tuple(f"hospital {k}" for k in range(len(size))),
        task="regression",
    )


def valley(b: float, curvature: float = 1.0) -> tuple[float, float, float]:
    """curvature / 2 (w - b)^2."""
    return curvature / 2, -curvature * b, curvature / 2 * b**2


def lab(algorithm: Any, data: Dataset, *, rate: float = 0.1, momentum: Any = None, **how: Any) -> Lab:
    """Whole batches of one row or of equal rows, with sgd."""
    numbers = {} if momentum is None else {"momentum": momentum}
    client = optimizer(optax.sgd, learning_rate=rate, **numbers)
    what = recipe(data, algorithm=algorithm, model=Point(), client=client, **{"batch_size": None, **how})
    (local,) = what.locals
    local = dataclasses.replace(local, problem=dataclasses.replace(local.problem, loss=height))
    return Lab(dataclasses.replace(what, locals=(local,)), data)


def at(w: float) -> Variables:
    """The model w."""
    return Variables({"w": jnp.asarray(w, jnp.result_type(float))}, {})


def run(algorithm: Any, data: Dataset, rounds: int, *, start: float = 1.0, **how: Any) -> Any:
    """Server state, client states and what is seen of the rounds."""
    return lab(algorithm, data, **how).rounds(rounds, initial=at(start), capacity=CAPACITY)


def path(algorithm: Any, data: Dataset, rounds: int, *, start: float = 1.0, **how: Any) -> list[float]:
    """w after every round."""
    one = lab(algorithm, data, **how)
    state, found = one.start(initial=at(start)), []
    for _ in range(rounds):
        state, _ = one.advance(state, 1, CAPACITY)
        found.append(float(server_in(state).variables.params["w"]))
    return found


def end(algorithm: Any, data: Dataset, rounds: int, **how: Any) -> float:
    """w after the last round."""
    return float(run(algorithm, data, rounds, **how)[0].variables.params["w"])


def slopes(data: Dataset, w: float) -> np.ndarray:
    """``[C]`` derivatives of the hospitals' parabolas at w."""
    a, b, _ = data.x[data.start].T
    return 2 * a * w + b


def values(data: Dataset, w: float) -> np.ndarray:
    """``[C]`` heights of the hospitals' parabolas at w."""
    a, b, c = data.x[data.start].T
    return a * w**2 + b * w + c


def opposed(G: float, mu: float = 1.0) -> Dataset:
    """f_1 = mu w^2 + G w and f_2 = -G w: hospitals that differ by G, and their mean that does not.

    (Karimireddy et al. 2020, arXiv:1910.06378, the setting of their lower bound for FedAvg.)
    """
    return parabolas((mu, G, 0), (0, -G, 0))


def leaves(tree: Any) -> list[Any]:
    """Leaves as NumPy."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
