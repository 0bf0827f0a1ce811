"""Which hospitals a rule leaves out, against those that were malicious, and which honest ones it silences.

    influence_k   = the part of hospital k's upload in the aggregate, from 0 to 1, in every round
    voice_k       = mean over its rounds of influence_k times the uploads used: 1 is an equal share
    silenced_k    = the share of its rounds in which that is below a tenth

A detector that calls the hospitals of the least voice malicious has the ROC curve here. Whoever is honest and
silenced differs from the others: that is the price of robustness under heterogeneity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.core.errors import InvalidInput, did_you_mean
from jaxfed.core.hyperparameters import PerHospital, in_order
from jaxfed.records.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SILENT = 0.1  # of an equal share


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Detection:
    """What a rule's choices say about hospitals.

    Attributes:
        table: one row per hospital: ``malicious``, ``rounds``, ``influence``, ``voice`` and ``silenced``; NaN
            for hospitals that took part in no round.
        roc: ``false_alarms`` and ``detected``, shares of the honest and the malicious hospitals, for every
            threshold of the voice, from (0, 0) to (1, 1); no rows if all or none are malicious.
        auroc: the area below that curve: .5 is no better than chance; NaN if all or none are malicious.
    """

    table: pd.DataFrame
    roc: pd.DataFrame
    auroc: float

    @property
    def silenced(self) -> tuple[str, ...]:
        """Honest hospitals that were left out in more than half of their rounds."""
        left_out = ~self.table["malicious"] & (self.table["silenced"] > 0.5)
        return tuple(self.table.index[left_out])

    def plot(self) -> Figure:
        """The voice of every hospital, and the ROC curve."""
        from jaxfed.figures.detection import detection_figure

        return detection_figure(self.table, self.roc, self.auroc)

    def __repr__(self) -> str:
        names = ", ".join(self.silenced) or "none"
        return (
            f"Detection({int(self.table['malicious'].sum())} of {len(self.table)} hospitals malicious, AUROC "
            f"{self.auroc:.3f}; honest hospitals silenced: {names})"
        )


def detect(history: History, malicious: Iterable[str] | PerHospital = ()) -> Detection:
    """Compare the rule's choices with who was malicious.

    Args:
        history: of a run whose rule tells how much each hospital counts.
        malicious: names of the malicious hospitals, or marks as :func:`jaxfed.attacks.malicious` gives.

    Raises:
        InvalidInput: the rule does not tell, or there is no such hospital.
    """
    if "influence" not in history.training:
        raise InvalidInput(
            "detection: the aggregator of this run tells nothing of single hospitals; take a rule that "
            "leaves hospitals out or weighs them, such as Krum(f), TrimmedMean(...) or GeometricMedian()"
        )
    if isinstance(malicious, PerHospital):
        marks: PerHospital = in_order(malicious, history.trainees)
        malicious = [name for name, mark in zip(history.trainees, marks.values, strict=True) if mark]
    names = [malicious] if isinstance(malicious, str) else [*malicious]
    for name in names:
        if name not in history.trainees:
            raise InvalidInput(
                f"detection: malicious={name!r} is no hospital; {did_you_mean(name, history.trainees)}"
            )
    present = history.training["present"].astype(bool)
    used = present & ~history.training["rejected"].astype(bool)
    influence = np.where(present, np.nan_to_num(history.training["influence"]), np.nan)
    voice = influence * used.sum(1, keepdims=True)
    silent = np.where(present, voice < SILENT, np.nan)
    rounds = present.sum(0)
    table = pd.DataFrame(
        {
            "malicious": np.isin(history.trainees, names),
            "rounds": rounds,
            **{
                name: np.where(rounds > 0, np.nansum(values, 0) / np.maximum(rounds, 1), np.nan)
                for name, values in (("influence", influence), ("voice", voice), ("silenced", silent))
            },
        },
        index=pd.Index(history.trainees, name="hospital"),
    )
    seen = table[table["rounds"] > 0]
    return Detection(table, *_roc(-seen["voice"].to_numpy(), seen["malicious"].to_numpy()))


def _roc(score: np.ndarray, positive: np.ndarray) -> tuple[pd.DataFrame, float]:
    """The curve over all thresholds of ``score``, the larger the more suspicious, and its area."""
    if not positive.any() or positive.all():
        return pd.DataFrame({"false_alarms": [], "detected": []}), float("nan")
    thresholds = [np.inf, *np.unique(score)[::-1]]
    called = score[None, :] >= np.array(thresholds)[:, None]
    curve = {"false_alarms": called[:, ~positive].mean(1), "detected": called[:, positive].mean(1)}
    area = np.trapezoid(curve["detected"], curve["false_alarms"])
    return pd.DataFrame(curve), float(area)
