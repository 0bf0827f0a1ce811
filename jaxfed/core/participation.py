"""The interface of participation: which hospitals take part in a round."""

from __future__ import annotations

import abc

from jax import Array

from jaxfed.core.types import PyTree


class Participation(abc.ABC):
    """Draws the hospitals that take part in a round; like an algorithm, a frozen dataclass and a pytree."""

    def init(self, sizes: Array) -> PyTree:
        """The state before the first round, or ``()``, for hospitals with ``sizes [C]`` training rows."""
        return ()

    @abc.abstractmethod
    def draw(self, state: PyTree, keys: Array, round: Array, sizes: Array) -> tuple[Array, PyTree]:
        """Presence ``[C]``, 0 for an absent hospital, and the state for the next round.

        Args:
            state: of the previous round, in the first round that of :meth:`init`.
            keys: ``[C]``, one key for each hospital, the same in all rounds, so that a hospital's draws do
                not depend on its position.
            round: int32; fold it into a key for a draw of this round.
            sizes: ``[C]`` training rows; hospitals without any never take part.
        """

    def at_most(self, hospitals: int) -> int:
        """The largest number of the ``hospitals`` with training rows that take part in a round."""
        return hospitals

    def cycle(self, hospitals: int) -> int | None:
        """The rounds from a hospital's turn to its next, if turns are fixed before the first round.

        None where hospitals are drawn in every round.
        """
        return None

    @abc.abstractmethod
    def problems(self, hospitals: int) -> list[str]:
        """Problems of its arguments for this number of hospitals, each with the remedy."""
