"""What the loop of a run needs of what it drives."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from jaxfed.core.types import Variables
from jaxfed.records.history import Arrays, History


class Trainer(Protocol):
    """What trains in rounds.

    Its state is any tree of jax arrays; the loop never looks inside.
    """

    @property
    def name(self) -> str:
        """What the run is called."""
        ...

    @property
    def personal(self) -> bool:
        """Whether every hospital has its own model."""
        ...

    @property
    def devices(self) -> int:
        """How many jax devices it uses."""
        ...

    def describe(self) -> dict[str, Any]:
        """The configuration as plain text and numbers."""
        ...

    def identity(self) -> dict[str, str]:
        """What must be the same for a checkpoint to be continued, in words:
        :mod:`jaxfed.storage.fingerprint`.

        All that was asked for, but not what was chosen for it: that is ``layout``.
        """
        ...

    def layout(self) -> dict[str, Any]:
        """How the work is laid on devices, as chosen here (plain numbers)."""
        ...

    def laid_out(self, layout: dict[str, Any]) -> Trainer:
        """This trainer with the layout of a checkpoint."""
        ...

    def prepared(self, rounds: int, capacity: int) -> Trainer:
        """This trainer with a layout that may be measured for so many rounds."""
        ...

    def check(self, state: Any, capacity: int) -> None:
        """Raise InvalidInput where rounds from ``state`` do not fit into memory."""
        ...

    def history(self) -> History:
        """A history with nothing in it."""
        ...

    def start(self, seed: int, initial: Any) -> Any:
        """The state before the first round, from initial variables or, where None, drawn from ``seed``."""
        ...

    def advance(self, state: Any, rounds: int, capacity: int) -> tuple[Any, Any]:
        """The state ``rounds`` later (at most ``capacity``, which is static), and their log.

        Takes the old state for good: it is donated. Must give the same for 3 rounds and 4 as for 7.
        """
        ...

    def logged(self, log: Any, count: int) -> tuple[Arrays, np.ndarray]:
        """A log's first ``count`` rounds as :meth:`History.trained` takes them."""
        ...

    def measure(self, state: Any) -> tuple[Arrays, Arrays]:
        """An evaluation for :meth:`History.evaluation`: ``name: [C, S]`` and ``name: [S]``."""
        ...

    def variables(self, state: Any) -> Variables:
        """The model of a state, on the host."""
        ...
