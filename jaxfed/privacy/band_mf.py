"""Banded matrix factorisation with Toeplitz matrices.

    z'_t = (z_t - sum_{j=1}^{b-1} c_j z'_{t-j}) / c_0

Choquette-Choo et al. 2023, arXiv:2306.08153: with at least b rounds from a hospital's turn to its next, the
columns of its turns share no row of C, so that k turns cost sqrt(k) times the norm of a column and no more.
C has the coefficients c_0, ..., c_{b-1} in every column, so that the noise goes on for any number of rounds:
those of the square root of the matrix of sums, c_j = binom(2j, j) / 4^j (Kalinin, Lampert 2024,
arXiv:2405.13763), or those of least error over a number of rounds (McKenna 2024, arXiv:2405.15913).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.core.pytree import pytree
from jaxfed.core.types import PyTree
from jaxfed.privacy import arguments
from jaxfed.privacy.correlation import Correlation

MOST = 32  # bands, unless more are asked for: each but one is a copy of the model on the server


class Past(NamedTuple):
    """The noise of the last b - 1 rounds, ``[b - 1, ...]`` in a ring, and the number of rounds so far."""

    noise: PyTree
    round: Array


@pytree
@dataclasses.dataclass(frozen=True)
class BandMF(Correlation):
    """Noise whose sums over rounds grow more slowly, by a banded Toeplitz matrix.

    For hospitals that take turns: ``HospitalDP(..., correlation=BandMF())`` with ``Cyclic(size)``.

    Attributes:
        bands: static; b, of which b - 1 copies of an update are the server's state. None for the rounds of a
            cycle of turns, at most 32. More bands than that are accounted, and cost what they gain.
        rounds: static; the coefficients have the least mean squared error of the sums over this number of
            rounds. None for the square root's.
    """

    bands: int | None = dataclasses.field(default=None, metadata={"static": True})
    rounds: int | None = dataclasses.field(default=None, metadata={"static": True})

    def for_cycle(self, cycle: int) -> Self:
        """With as many bands as a cycle has rounds, at most 32."""
        return self if self.bands is not None else dataclasses.replace(self, bands=min(cycle, MOST))

    def problems(self) -> list[str]:
        """Numbers that are no whole numbers."""
        result = [] if self.bands is None else arguments.whole("bands", self.bands)
        return result + ([] if self.rounds is None else arguments.whole("rounds", self.rounds))

    @property
    def coefficients(self) -> np.ndarray:
        """``[b]``: c_0, ..., c_{b-1}, of norm 1."""
        assert self.bands is not None
        return _coefficients(self.bands, self.rounds)

    def init(self, update: PyTree) -> PyTree:
        """No noise yet."""
        count = len(self.coefficients) - 1

        def zeros(leaf: Array) -> Array:
            return jnp.zeros((count, *leaf.shape), jnp.promote_types(leaf.dtype, jnp.float32))

        return Past(jax.tree.map(zeros, update), jnp.zeros((), jnp.int32)) if count else ()

    def apply(self, fresh: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        """A row of C^-1 z."""
        first, *rest = self.coefficients.tolist()
        if not rest:  # independent, and first is 1
            return fresh, state
        count = len(rest)
        place = state.round % count  # of this round in the ring, so far of the oldest
        age = (place - 1 - jnp.arange(count)) % count
        factors = jnp.asarray(rest)[age]

        def row(z: Array, past: Array) -> Array:
            earlier = jnp.tensordot(factors.astype(past.dtype), past, axes=1, precision="highest")
            return ((z - earlier) / first).astype(past.dtype)

        noise = jax.tree.map(row, fresh, state.noise)
        ring = jax.tree.map(lambda past, new: past.at[place].set(new), state.noise, noise)
        return noise, Past(ring, state.round + 1)

    def charges(self, present: np.ndarray) -> np.ndarray:
        """By the inner products of columns, which are 0 from a distance of ``bands`` on."""
        c = self.coefficients
        here = np.asarray(present, float)
        products = here.copy()
        for distance in range(1, min(len(c), len(here))):
            products[distance:] += 2 * (c[distance:] @ c[:-distance]) * here[:-distance]
        return np.cumsum(here * products, axis=0)

    def variances(self, rounds: int) -> np.ndarray:
        """Of the rows of A C^-1, where A is the matrix of sums: Toeplitz, with the first column C^-1 1."""
        return np.cumsum(_solved(self.coefficients, np.ones(rounds)) ** 2)

    def __str__(self) -> str:
        if self.bands == 1:
            return "independent noise in every round"
        kind = "square root" if self.rounds is None else f"least error over {self.rounds} rounds"
        return f"banded matrix factorisation, {self.bands} bands ({kind})"


@functools.lru_cache(maxsize=64)
def _coefficients(bands: int, rounds: int | None) -> np.ndarray:
    j = np.arange(1, bands)
    c = np.cumprod([1.0, *((2 * j - 1) / (2 * j))])
    if rounds is not None and bands > 1:
        from scipy.optimize import minimize  # type: ignore[import-untyped]

        count = min(bands, rounds)  # later coefficients meet no round
        best = minimize(_loss, c[1:count], (rounds,), "L-BFGS-B", jac=True, bounds=[(0, None)] * (count - 1))
        c = np.array([1.0, *best.x, *[0.0] * (bands - count)])
    c = c / np.linalg.norm(c)
    c.setflags(write=False)
    return c


def _loss(rest: np.ndarray, rounds: int) -> tuple[float, np.ndarray]:
    """The logarithm of the mean squared error of sums at equal epsilon, and its gradient in c_1, ..."""
    c = np.array([1.0, *rest])
    sums = _solved(c, np.ones(rounds))
    left = np.arange(rounds, 0, -1)  # row t of A C^-1 is the first t of its first column, backwards
    error, norm = left @ sums**2, c @ c
    back = _solved(c, (2 * left * sums)[::-1])[::-1]
    gradient = -np.array([back[j:] @ sums[: rounds - j] for j in range(1, len(c))])
    return float(np.log(error * norm)), gradient / error + 2 * rest / norm


def _solved(c: np.ndarray, values: np.ndarray) -> np.ndarray:
    """C^-1 values."""
    from scipy.linalg import solve_banded  # type: ignore[import-untyped]

    c = c[: len(values)]
    return solve_banded((len(c) - 1, 0), np.repeat(c[:, None], len(values), axis=1), values)
