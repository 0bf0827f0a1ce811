"""Noise that is correlated over rounds, so that a round's noise cancels some of that of the rounds before.

The server releases x_t + z'_t with z' = C^-1 z, which is C x + z decoded: the matrix mechanism of Li et al.
2015, doi:10.1007/s00778-015-0398-x; for updates that depend on earlier releases Denisov et al. 2022,
arXiv:2202.08312. C is lower triangular, so that rounds are released one after another, and not negative, so
that aligned updates are the worst case: a hospital whose turns are the rounds p_1, p_2, ... and whose uploads
have at most the norm 1 moves C x by at most

    || sum_i C[:, p_i] ||

and the release is a Gaussian mechanism of this sensitivity. Here the largest column of C has the norm 1, so
that a hospital's first turn costs as much as a round of independent noise of the same ``noise_multiplier``.
A model is a sum of updates, and correlation lessens the noise of such sums. In a cycle of turns that costs
nothing; a hospital that takes part in every round pays as much as is gained. The noise of a single round is
larger than independent noise, so that nothing is gained either where a round's training forgets the noise of
the round before, as with large steps.
"""

from __future__ import annotations

import abc
from typing import Self

import numpy as np

from jaxfed.core.types import PyTree


class Correlation(abc.ABC):
    """How the noise of a round depends on that of earlier rounds: the matrix C. A pytree without leaves."""

    @abc.abstractmethod
    def for_cycle(self, cycle: int) -> Self:
        """This correlation, with what was None chosen for turns that come back after ``cycle`` rounds."""

    @abc.abstractmethod
    def problems(self) -> list[str]:
        """Arguments out of range, each with the remedy."""

    @abc.abstractmethod
    def init(self, update: PyTree) -> PyTree:
        """The state before the first round; for updates of these shapes, in float32 at least."""

    @abc.abstractmethod
    def apply(self, fresh: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        """The noise of a round, a row of C^-1 z, from its independent noise z_t; and the next state."""

    @abc.abstractmethod
    def charges(self, present: np.ndarray) -> np.ndarray:
        """``[R, C]``: squared sensitivities after each round, for hospitals ``present`` ``[R, C]`` in it.

        The charge for a turn is that of its whole column at once, also of entries of later rounds. 1 is a
        round of independent noise: k turns that share no row of C charge at most k.
        """

    @abc.abstractmethod
    def variances(self, rounds: int) -> np.ndarray:
        """``[R]``: the variance of the sum of the noise of the first 1, 2, ... rounds; R for independent."""

    @abc.abstractmethod
    def __str__(self) -> str:
        """A phrase for a report."""

    def largest_charges(self, cycle: int, rounds: int) -> np.ndarray:
        """``[R]``: the largest charge of a hospital after each round, if hospitals take turns."""
        turns = np.arange(rounds)[:, None] % cycle == np.arange(min(cycle, rounds))
        return self.charges(turns).max(1)

    def relative_error(self, cycle: int, rounds: int) -> float:
        """The mean squared error of sums of updates, relative to independent noise of the same epsilon.

        The mean is over the sums of the first 1, 2, ..., ``rounds`` updates.

        >>> from jaxfed.privacy import BandMF
        >>> round(BandMF(bands=10).relative_error(cycle=10, rounds=100), 3)
        0.183
        """
        alone = (rounds + 1) / 2 * -(-rounds // cycle)
        return float(self.variances(rounds).mean() * self.largest_charges(cycle, rounds)[-1] / alone)
