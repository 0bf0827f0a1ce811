"""Momentum in hospitals: a hospital sends the running mean of its updates instead of the last.

    m_k <- beta m_k + (1 - beta) u_k,    send m_k

Karimireddy, He, Jaggi 2021, "Learning from history for Byzantine robust optimization", arXiv:2012.10333:
attackers that hide in the spread of honest uploads add up their harm over rounds, and the running mean
makes that spread smaller. (El Mhamdi, Guerraoui, Rouault 2021, arXiv:2003.00010, send the sum without
``1 - beta``.) With ``FedAvg(weighting="uniform")``, ``steps=1`` and ``local_learning_rate`` eta it is
distributed SGD with momentum at the workers and step size eta.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxfed.core import checks
from jaxfed.core.aggregation import Sender, Transform
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree, Upload


@pytree
@dataclasses.dataclass(frozen=True)
class Momentum(Transform):
    """Send the exponential moving average of a hospital's updates, which starts with zero.

    A hospital that is absent keeps its average until it takes part again.

    Attributes:
        beta: the share of the old average in the new one, in [0, 1); 0 sends the update itself. May be
            traced and differ between hospitals.
    """

    beta: Number = 0.9

    def __post_init__(self) -> None:
        problems = Problems("Momentum")
        problems.extend(checks.number("beta", self.beta, 0, 1, below=True))
        problems.raise_if_any()

    def init(self, upload: Upload) -> PyTree:
        """Zeros, as the update."""
        return jax.tree.map(jnp.zeros_like, upload.update)

    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The new average, which is both sent and kept."""

        def average(old: jax.Array, new: jax.Array) -> jax.Array:
            return (self.beta * old + (1 - self.beta) * new).astype(new.dtype)

        averaged = jax.tree.map(average, state, upload.update)
        return upload._replace(update=averaged), averaged
