"""What a run with differential privacy guarantees, and what it does not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

SIMULATED = (
    "simulated: the noise comes from a seed and protects nobody; epsilon is that of the algorithm run with "
    "fresh, secure noise"
)


@dataclasses.dataclass(frozen=True)
class PrivacyStatement:
    """The guarantee of a run. Saved with it; its text is in the run's.

    Attributes:
        unit: what is protected: ``"patient"`` or ``"hospital"``.
        adjacency: what neighbouring data sets are.
        sampling: how those who contribute to a step are drawn.
        accountant: the name and version of what computed epsilon.
        delta: of the guarantee.
        clip: the clipping bound, as text.
        epsilon: ``{hospital: epsilon}`` at the end of the run.
        noise_multiplier, rate: ``{hospital: number}``.
        compositions: ``{hospital: number}`` of noisy steps.
        curve: the accountant of the epsilons of each round in the history.
        shared_patients: patients who are in several hospitals; epsilons of hospitals do not hold for them.
        shared_epsilon: the largest epsilon of those; None if there are none.
        rows_per_patient: the most rows of a patient in a hospital; the guarantee is for a row.
        noise: how the noise of different steps depends on each other.
        outside: what leaves a hospital beside its uploads, for which nothing is guaranteed.
    """

    unit: str
    adjacency: str
    sampling: str
    accountant: str
    delta: float
    clip: str
    epsilon: Mapping[str, float]
    noise_multiplier: Mapping[str, float]
    rate: Mapping[str, float]
    compositions: Mapping[str, int]
    curve: str
    shared_patients: int = 0
    shared_epsilon: float | None = None
    rows_per_patient: int = 1
    noise: str = "independent in every step"
    outside: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest epsilon of a hospital, and of a patient who is in several."""
        return max([*self.epsilon.values(), self.shared_epsilon or 0.0], default=0.0)

    def short(self) -> str:
        """One phrase: the largest epsilon, with all that it depends on."""
        return (
            f"({self.worst:.3g}, {self.delta:g})-DP of a {self.unit}, {self.adjacency}, "
            f"{self.accountant}; {SIMULATED.split(';')[0]}"
        )

    def __str__(self) -> str:
        lines = [
            f"Differential privacy of a {self.unit} ({self.adjacency}): epsilon {_span(self.epsilon)} at "
            f"delta {self.delta:g}",
            f"  accounting: {self.accountant}, {self.sampling}, {_span(self.compositions)} compositions",
            f"  noise multiplier {_span(self.noise_multiplier)}, rate {_span(self.rate)}, clip {self.clip}",
            f"  noise: {self.noise}",
        ]
        if self.shared_patients:
            lines.append(
                f"  {self.shared_patients} patients are in several hospitals; for them epsilon is up to "
                f"{self.shared_epsilon:.3g}"
            )
        if self.rows_per_patient > 1:
            lines.append(
                f"  a patient has up to {self.rows_per_patient} rows in a hospital; this holds for one row"
            )
        lines += [f"  outside of it: {what}" for what in self.outside]
        return "\n".join([*lines, f"  {SIMULATED}"])

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text; an infinite epsilon is the text ``"inf"``."""
        record = dataclasses.asdict(self)
        record["epsilon"] = {name: _plain(value) for name, value in self.epsilon.items()}
        record["shared_epsilon"] = None if self.shared_epsilon is None else _plain(self.shared_epsilon)
        return {**record, "simulated": SIMULATED}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PrivacyStatement:
        """What :meth:`to_json` gave."""
        known = {field.name: record[field.name] for field in dataclasses.fields(cls) if field.name in record}
        known["epsilon"] = {name: float(value) for name, value in known["epsilon"].items()}
        if known.get("shared_epsilon") is not None:
            known["shared_epsilon"] = float(known["shared_epsilon"])
        return cls(**{**known, "outside": tuple(known.get("outside", ()))})


def _plain(value: float) -> float | str:
    return "inf" if math.isinf(value) else float(value)


def _span(values: Mapping[str, float]) -> str:
    """The range of some numbers as text."""
    numbers = [*values.values()]
    if not numbers:
        return "none"
    low, high = min(numbers), max(numbers)
    texts = [f"{int(n)}" if isinstance(n, int) else f"{n:.3g}" for n in (low, high)]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"
