"""Who takes part in a round."""

from __future__ import annotations

import abc

from jax import Array

from jaxfed.core.types import PyTree


class Participation(abc.ABC):
    """Who takes part in a round: a frozen dataclass that is a pytree, like an algorithm."""

    def init(self, sizes: Array) -> PyTree:
        """What is kept from round to round, for hospitals with ``sizes [C]`` training rows; ``()`` for
        none."""
        return ()

    @abc.abstractmethod
    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """Presence ``[C]``, 0 for who is absent, and what is kept for the next round.

        Args:
            state: what was kept, at first that of :meth:`init`.
            keys: ``[C]``, one key for each hospital, the same in all rounds; draws follow the hospital.
            round: int32; fold it into a key for a draw of this round.
            sizes: ``[C]`` training rows; hospitals with none never count.
        """

    def at_most(self, hospitals: int) -> int:
        """How many of the ``hospitals`` with training rows take part in a round at most."""
        return hospitals

    @abc.abstractmethod
    def problems(self, hospitals: int) -> list[str]:
        """What is wrong with its arguments for that many hospitals, with the remedy."""
