"""The numbers of the population that synthetic hospitals are drawn from, and their presets."""

from __future__ import annotations

import dataclasses

from jaxfed.core.errors import Problems
from jaxfed.data.ehr.checks import check_between, check_count, check_number, check_real, check_share


@dataclasses.dataclass(frozen=True)
class Population:
    """The numbers of :mod:`~jaxfed.data.ehr.risk`, ``label_shift``, ``groups`` and ``drift``.

    ``types`` > 0 makes hospitals share ``u_h`` inside ``types`` types (hospital's type drawn
    evenly), so that clustered methods have a truth; 0 gives each hospital its own.
    ``interaction_signal`` is the standard deviation of ``q`` in the average hospital.
    """

    signal: float = 1.6
    s_a: float = 0.35
    s_b: float = 0.10
    s_x: float = 0.20
    s_sc: float = 0.05
    rho: float = 0.4
    prevalence: float = 0.09
    features: int = 20
    interactions: int = 0
    interaction_signal: float = 0.8
    types: int = 0
    label_shift: float = 0.0
    groups: int = 0
    group_shift: float = 0.05
    s_g: float = 0.3
    s_gb: float = 0.0
    periods: int = 1
    drift: float = 0.0
    s_t: float = 0.0
    s_bt: float = 0.0

    def check(self, problems: Problems) -> None:
        """Record what cannot be used."""
        before = problems.count
        spreads = ("s_a", "s_b", "s_x", "s_sc", "s_g", "s_gb", "s_t", "s_bt")
        for key in ("signal", "interaction_signal", *spreads):
            check_number(key, getattr(self, key), problems)
        check_real("drift", self.drift, problems)
        for key, example in (("label_shift", "0.05"), ("group_shift", "0.05")):
            check_share(key, getattr(self, key), problems, example, below=True)
        for key, least in (("features", 1), ("types", 0), ("interactions", 0), ("groups", 0), ("periods", 1)):
            check_count(key, getattr(self, key), least, problems)
        check_between("rho", self.rho, -1, 1, problems)
        check_between("prevalence", self.prevalence, 0, 1, problems, ", as .09")
        if problems.count > before:
            return
        pairs = self.features * (self.features - 1) // 2
        problems.check(
            self.interactions <= pairs,
            f"interactions={self.interactions}: {self.features} features have {pairs} pairs",
        )
        moving = [key for key in ("drift", "s_t", "s_bt") if getattr(self, key)]
        problems.check(
            self.periods > 1 or not moving,
            f"{', '.join(moving)}: there is one period; give periods=2 or more",
        )
        given = [key for key in ("interactions", "groups") if getattr(self, key)] + moving
        problems.check(
            not (self.label_shift and given),
            f"label_shift={self.label_shift} with {', '.join(given)}: patients given their label are known "
            "for a linear risk only; leave out one or the other",
        )


PRESETS = {
    "iid": Population(s_a=0.0, s_b=0.0, s_x=0.0, s_sc=0.0),
    "mild": Population(s_a=0.2, s_b=0.05, s_x=0.1),
    "icu-mortality": Population(),
    "strong": Population(s_a=0.5, s_b=0.15, s_x=0.3),
    "extreme": Population(s_a=0.8, s_b=0.3, s_x=0.5),
}
