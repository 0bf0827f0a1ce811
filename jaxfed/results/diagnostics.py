"""How far hospitals pull from the mean in each round, and which of them are rejected.

    B^2 = sum_k share_k ||u_k||^2 / ||sum_k share_k u_k||^2 - 1

is 0 if all hospitals send the same update, and the larger the more they differ: the dissimilarity of Li et
al. 2020, arXiv:1812.06127, definition 3 (there B^2 + 1), of the updates that were sent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.core.diagnostics import COSINE, MEAN_NORM, NORM, SHARE
from jaxfed.core.errors import InvalidInput
from jaxfed.records.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("present", "rejected", "loss", NORM, COSINE, SHARE, "influence")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """What is known of each hospital's update in each round.

    Attributes:
        table: one row per round and hospital: ``present``, ``rejected``, ``loss`` (of training),
            ``update_norm`` (how far the hospital moves from the model that it was sent), ``update_cosine`` to
            the weighted mean update, ``update_share`` (its weight in that mean) and, of rules that tell,
            ``influence``.
        rounds: one row per round: ``b_squared``, ``mean_norm`` (of the weighted mean update), ``present``,
            ``rejected`` and ``refused`` (the server kept its model).
    """

    table: pd.DataFrame
    rounds: pd.DataFrame

    @property
    def hospitals(self) -> pd.DataFrame:
        """One row per hospital: means over its rounds, and how many of its updates were rejected."""
        groups = self.table.groupby("hospital", sort=False)
        means = groups[[name for name in (NORM, COSINE, SHARE, "influence") if name in self.table]].mean()
        return groups[["present", "rejected"]].sum().join(means)

    def plot(self) -> Figure:
        """Norms, cosines and B^2 over the rounds, and who took part and was rejected."""
        from jaxfed.figures.diagnostics import diagnostics_figure

        return diagnostics_figure(self.table, self.rounds)

    def __repr__(self) -> str:
        rounds, table = self.rounds, self.table
        return (
            f"Diagnostics({len(rounds)} rounds; B^2 {rounds['b_squared'].iloc[0]:.2f} in the first, "
            f"{rounds['b_squared'].iloc[-1]:.2f} in the last; mean cosine to the mean update "
            f"{table[COSINE].mean():.2f}; {int(table['rejected'].sum())} updates rejected)"
        )


def diagnose(history: History) -> Diagnostics:
    """Read the diagnostics of a run.

    Raises:
        InvalidInput: the run has none.
    """
    training = history.training
    if NORM not in training:
        raise InvalidInput(
            "diagnostics: this run has recorded none; run sim.replace(diagnostics=True).run(...)"
        )
    rounds, hospitals = training[NORM].shape
    names = np.array(history.trainees)
    table = pd.DataFrame(
        {
            "round": np.repeat(np.arange(1, rounds + 1), hospitals),
            "hospital": np.tile(names, rounds),
            **{name: training[name].ravel() for name in COLUMNS if name in training},
        }
    )
    square = np.nansum(training[SHARE] * training[NORM].astype(float) ** 2, axis=1)
    length = _of_round(training[MEAN_NORM])
    with np.errstate(divide="ignore", invalid="ignore"):
        b_squared = np.where(length > 0, square / length**2 - 1, np.nan)
    by_round = pd.DataFrame(
        {
            "b_squared": b_squared,
            "mean_norm": length,
            "present": training["present"].sum(1).astype(int),
            "rejected": training["rejected"].sum(1).astype(int),
            "refused": history.refused,
        },
        index=pd.RangeIndex(1, rounds + 1, name="round"),
    )
    return Diagnostics(table, by_round)


def _of_round(values: np.ndarray) -> np.ndarray:
    """``[R]`` the number that all present hospitals of a round have, of ``[R, C]``; NaN if none was used."""
    known = np.isfinite(values)
    first = np.take_along_axis(values, known.argmax(1)[:, None], axis=1)[:, 0]
    return np.where(known.any(1), first, np.nan).astype(float)
