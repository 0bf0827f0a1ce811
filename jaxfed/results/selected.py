"""The model of the round that a run shows, with the outputs and the baseline hazard that follow from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

from jaxfed.core.types import Variables
from jaxfed.evaluation.baseline import BaselineHazard
from jaxfed.records.predictions import Predictions


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """The model of the round that a run's tables, figures and files show.

    Attributes:
        round: rounds of training: those with the lowest pooled validation loss, or all of them if no
            validation rows were evaluated.
        variables: the model then, as in ``Run.variables``.
        outputs: makes :attr:`predictions`; None in files without them.
        hazard: makes :attr:`baseline`; None if there is none.
    """

    round: int
    variables: Variables
    outputs: Callable[[], Predictions] | None = None
    hazard: Callable[[], BaselineHazard] | None = None

    @cached_property
    def predictions(self) -> Predictions | None:
        """Outputs for the validation and test rows, computed when first asked for."""
        return None if self.outputs is None else self.outputs()

    @cached_property
    def baseline(self) -> BaselineHazard | None:
        """The baseline hazard of a Cox model on the training rows, computed when first asked for.

        None for other models, for algorithms that adapt the model before use, and with differential privacy,
        whose guarantee it would not have.
        """
        return None if self.hazard is None else self.hazard()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has what was computed already, and neither the devices nor the rows for the rest."""
        return {**self.__dict__, "outputs": None, "hazard": None}

    def __repr__(self) -> str:
        return f"Selected(round={self.round})"
