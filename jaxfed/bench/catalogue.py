"""What the benchmark of aggregators compares: rules, pre-aggregators, attacks and settings, a line each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxfed import attacks, data
from jaxfed.aggregators import (
    ARC,
    CAF,
    MDA,
    NNM,
    SMEA,
    Bucketing,
    Bulyan,
    CentredClipping,
    DnC,
    FLTrust,
    GeometricMedian,
    Krum,
    Meamed,
    Median,
    MoNNA,
    TrimmedMean,
    WeightedMean,
)
from jaxfed.aggregators.limits import trim
from jaxfed.core.aggregation import Attack, Mixer, Rule, Streamed, Transform
from jaxfed.core.dataset import Dataset
from jaxfed.core.hyperparameters import PerHospital


class Seen(NamedTuple):
    """What a rule may be told.

    Attributes:
        uploads: how many uploads it sees, after the pre-aggregator.
        f: how many of them may be malicious.
        malicious: a mark for each hospital, from which a rule with a trusted hospital may choose an honest
            one.
    """

    uploads: int
    f: int
    malicious: PerHospital

    @property
    def trusted(self) -> int:
        """The number of the first honest hospital."""
        return int(np.argmin(np.asarray(self.malicious.values)))


Aggregator = Rule | Streamed
Harm = Transform | Attack | Callable[[Dataset], Dataset] | None

# The candidates of each rule, by the numbers in which they differ; its best against its worst attack counts.
RULES: dict[str, Callable[[Seen], dict[str, Aggregator]]] = {
    "mean": lambda seen: {"": WeightedMean()},
    "median": lambda seen: {"": Median()},
    "trimmed mean": lambda seen: {"": TrimmedMean(trim(seen.f, seen.uploads))},
    "geometric median": lambda seen: {"": GeometricMedian()},
    "Krum": lambda seen: {"": Krum(seen.f)},
    "multi-Krum": lambda seen: {"": Krum(seen.f, select=seen.uploads - seen.f)},
    "centred clipping": lambda seen: {f"tau={t:g}": CentredClipping(t) for t in (0.03, 0.1, 0.3, 1.0)},
    "Meamed": lambda seen: {"": Meamed(seen.f)},
    "Bulyan": lambda seen: {"": Bulyan(seen.f)},
    "MDA": lambda seen: {"": MDA(seen.f)},
    "CAF": lambda seen: {"": CAF(seen.f)},
    "DnC": lambda seen: {"": DnC(seen.f)},
    "MoNNA": lambda seen: {"": MoNNA(seen.f, trusted=seen.trusted)},
    "FLTrust": lambda seen: {"": FLTrust(trusted=seen.trusted)},
    "SMEA": lambda seen: {"": SMEA(seen.f)},
}

# Mixers before a rule, for f malicious uploads; the mean is only taken without.
BEFORE: dict[str, Callable[[int], Mixer | None]] = {
    "none": lambda f: None,
    "NNM": lambda f: NNM(f),
    "bucketing": lambda f: Bucketing(2),
    "ARC": lambda f: ARC(f),
}

# From the hospitals and the marks of the malicious ones: a part of the road, or a function of the data set.
ATTACKS: dict[str, Callable[[Dataset, PerHospital], Harm]] = {
    "none": lambda hospitals, who: None,
    "sign flip": lambda hospitals, who: attacks.SignFlip(who, 10.0),
    "mean flip": lambda hospitals, who: attacks.IPM(who, 1.0),
    "IPM": lambda hospitals, who: attacks.Optimised(attacks.IPM(who)),
    "ALIE": lambda hospitals, who: attacks.Optimised(attacks.ALIE(who)),
    "mimic": lambda hospitals, who: attacks.Mimic(who),
    "min-max": lambda hospitals, who: attacks.MinMax(who),
    "min-sum": lambda hospitals, who: attacks.MinSum(who),
    "Gaussian": lambda hospitals, who: attacks.Gaussian(who, 1.0),
    "zeros": lambda hospitals, who: attacks.Constant(who, 0.0),
    "infinite": lambda hospitals, who: attacks.Constant(who, float("inf")),
    "label flip": lambda hospitals, who: partial(attacks.label_flip, who=who),
    "unit swap": lambda hospitals, who: partial(
        attacks.unit_swap, who=who, feature=int(np.var(hospitals.x, axis=0).argmax()), factor=18.0
    ),
}

ROWS: dict[str, Any] = {"split": (0.6, 0.1, 0.3)}  # enough test rows for the AUROC of each hospital

# Settings that the hospitals of the benchmark differ in, from (number of hospitals).
SETTINGS: dict[str, Callable[[int], Dataset]] = {
    **{name: partial(data.synthetic_ehr, preset=name, **ROWS) for name in ("iid", "mild")},
    "icu-mortality": partial(data.synthetic_ehr, preset="icu-mortality", **ROWS),
    **{name: partial(data.synthetic_ehr, preset=name, **ROWS) for name in ("strong", "extreme")},
    **{
        f"digits alpha={alpha:g}": partial(data.digits, partition="dirichlet", alpha=alpha, flat=True)
        for alpha in (0.1, 1.0)
    },
    **{
        f"digits gamma={gamma:g}": partial(data.digits, partition="gamma_similarity", gamma=gamma, flat=True)
        for gamma in (0.0, 0.33, 1.0)
    },
}


@dataclasses.dataclass(frozen=True)
class Grid:
    """The names of what is compared.

    Attributes:
        rules, before, attacks, settings: names of the tables of this module.
        hospitals: how many.
        malicious: the share of the hospitals that are.
        rounds: communication rounds, a multiple of ``eval_every``.
        eval_every: rounds between evaluations.
        seeds: how many; they differ in initial model and batches, not in the hospitals.
        steps: local steps of gradient descent in a round.
        batch_size: rows of a step; None for all of a hospital, so that updates differ because hospitals do
            and not by the noise of batches.
        momentum: beta of the momentum in hospitals; 0 for none.
        hidden: width of the hidden layer; 0 for logistic regression.
    """

    rules: tuple[str, ...] = (
        "mean", "median", "trimmed mean", "geometric median", "multi-Krum", "centred clipping",
    )  # fmt: skip
    before: tuple[str, ...] = ("none", "NNM")
    attacks: tuple[str, ...] = ("none", "sign flip", "IPM", "ALIE", "mimic")
    settings: tuple[str, ...] = ("iid", "icu-mortality", "strong")
    hospitals: int = 20
    malicious: float = 0.2
    rounds: int = 20
    eval_every: int = 2
    seeds: int = 3
    steps: int = 5
    batch_size: int | None = None
    momentum: float = 0.0
    hidden: int = 0


# SMEA and MDA look at thousands and at a million subsets of 20 hospitals, for each strength of an attack in
# every round: they are compared where their names are given.
FULL = Grid(
    rules=tuple(name for name in RULES if name not in ("SMEA", "MDA")),
    before=tuple(BEFORE),
    attacks=tuple(ATTACKS),
    settings=tuple(SETTINGS),
    rounds=40,
    eval_every=4,
    seeds=5,
)
