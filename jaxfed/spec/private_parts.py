"""The private parts of a recipe, as privacy of patients and privacy of hospitals make them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxfed.core.aggregation import Part
from jaxfed.core.dataset import Dataset
from jaxfed.core.local import LocalTraining
from jaxfed.core.participation import Participation
from jaxfed.privacy.ledger import Ledger


@dataclasses.dataclass(frozen=True, eq=False)
class Private:
    """The private parts of a recipe.

    Attributes:
        trainings: of each group.
        road: the parts that process uploads; None for those of the simulation.
        participation: which stops hospitals at their budgets.
        ledger: what is spent.
        noise: ``[C]`` the noise multiplier of each hospital.
        lasts: rounds after which the whole run ends; None if hospitals stop one by one, or never.
        cycle: the rounds from a hospital's turn to its next, where the hospitals' privacy is by turns.
    """

    trainings: tuple[LocalTraining, ...]
    road: tuple[Part, ...] | None
    participation: Participation
    ledger: Ledger
    noise: np.ndarray
    lasts: int | None = None
    cycle: int = 1


def model_shapes(local: LocalTraining, data: Dataset) -> Any:
    """The shapes of a model's variables on these hospitals' rows."""
    row = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)),
        data.x,
    )
    return jax.eval_shape(local.problem.init, jax.random.key(0), row)
