"""All rules on the same uploads of a round, under all attacks, in one compiled program.

    error   = ||F(u) - mean_H||^2 / (1/|H| sum_{i in H} ||u_i - mean_H||^2),    H the honest hospitals

which an (f, kappa)-robust rule keeps below kappa; no rule has a kappa below f / (n - 2 f)
(Allouah et al. 2023, arXiv:2302.01772). A rule survives f attackers if its answer is finite and no further
from the honest mean than the furthest honest upload; its breakdown point is the largest f up to which it
always survives. Arms differ by nothing but the rule: same uploads, same malicious hospitals, same attack.

Heterogeneity decides what is possible: with mean_i ||u_i - mean||^2 <= G^2 + B^2 ||mean||^2 no rule can
guarantee learning from a share of attackers of 1 / (2 + B^2) on, and below that the error that cannot be
avoided grows with f / (n - (2 + B^2) f) (Allouah et al. 2023, arXiv:2309.13591). These are about the worst
uploads with such constants; a rule may do better on those at hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from jaxfed import aggregators as rules_of
from jaxfed.aggregators.limits import trim
from jaxfed.bench.dissimilarity import Dissimilarity, line
from jaxfed.bench.matches import Attack, program_of
from jaxfed.core.aggregation import Chain, Part, Rule
from jaxfed.core.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES: dict[str, Callable[[int, int], Part | Chain]] = {
    "mean": lambda n, f: rules_of.UniformMean(),
    "median": lambda n, f: rules_of.Median(),
    "trimmed mean": lambda n, f: rules_of.TrimmedMean(trim(f, n)),
    "Meamed": lambda n, f: rules_of.Meamed(f),
    "geometric median": lambda n, f: rules_of.GeometricMedian(),
    "Krum": lambda n, f: rules_of.Krum(f),
    "multi-Krum": lambda n, f: rules_of.Krum(f, select=None),
    "Bulyan": lambda n, f: rules_of.Bulyan(f),
    "MDA": lambda n, f: rules_of.MDA(f),
    "SMEA": lambda n, f: rules_of.SMEA(f),
    "CAF": lambda n, f: rules_of.CAF(f),
    "DnC": lambda n, f: rules_of.DnC(f),
    "NNM, trimmed mean": lambda n, f: rules_of.chain(rules_of.NNM(f), rules_of.TrimmedMean(trim(f, n))),
    "NNM, geometric median": lambda n, f: rules_of.chain(rules_of.NNM(f), rules_of.GeometricMedian()),
    "ARC, trimmed mean": lambda n, f: rules_of.chain(rules_of.ARC(f), rules_of.TrimmedMean(trim(f, n))),
}
NO_ATTACK = "none"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tournament:
    """The results.

    Attributes:
        table: one row per rule, attack and f: ``error`` (mean over rounds and draws of who is malicious),
            ``deviation`` (standard deviation), ``worst``, and ``survived`` (share). NaN where the rule is
            impossible with these numbers.
        breakdown: ``rule x attack``, the largest f up to which the rule always survived; -1 if not even 0.
        heterogeneity: of all uploads as honest.
        n: hospitals.
        impossible: why a rule cannot work, by ``(rule, f)``.
    """

    table: pd.DataFrame
    breakdown: pd.DataFrame
    heterogeneity: Dissimilarity
    n: int
    impossible: dict[tuple[str, int], str]

    def errors(self, f: int) -> pd.DataFrame:
        """``rule x attack``: errors with ``f`` attackers, and the largest as ``worst case``."""
        some = self.table[self.table["f"] == f]
        if not len(some):
            raise InvalidInput(f"errors: f={f} was not tried; give one of {sorted(set(self.table['f']))}")
        wide = some.pivot_table("error", "rule", "attack", dropna=False)
        names = {name: list(dict.fromkeys(self.table[name])) for name in ("rule", "attack")}
        wide = wide.loc[names["rule"], names["attack"]]
        return wide.assign(**{"worst case": wide.max(axis=1, skipna=False)})

    def plot(self, f: int | None = None) -> Figure:
        """Errors as colours, rule by attack; None for a fifth of the hospitals, or the nearest f tried."""
        from jaxfed.figures.tournament import tournament_figure

        tried = sorted(set(self.table["f"]))
        f = min(tried, key=lambda number: abs(number - self.n / 5)) if f is None else f
        measured = self.heterogeneity
        about = f"B² = {measured.b_squared:.2f}: from {measured.share:.0%} on no rule can guarantee learning"
        least = f / (self.n - 2 * f) if 2 * f < self.n else np.inf
        return tournament_figure(self.errors(f), self.breakdown, f"{f} of {self.n} malicious; {about}", least)

    def __repr__(self) -> str:
        measured = self.heterogeneity
        worst = self.breakdown.min(axis=1).to_frame("breakdown, worst attack").to_string()
        return (
            f"Tournament({self.n} hospitals, {len(self.breakdown)} rules, {self.breakdown.shape[1]} attacks; "
            f"B^2 {measured.b_squared:.3g}, G^2 {measured.g_squared:.3g}: no rule can guarantee "
            f"learning from a share of attackers of {measured.share:.3f} on)\n{worst}"
        )

    def _repr_html_(self) -> str:
        return self.breakdown.to_html(border=0)


def heterogeneity(updates: np.ndarray) -> Dissimilarity:
    """The constants of ``updates [T, n, N]``: of one round B^2 with G = 0, of several from a line.

    The line is that of :func:`jaxfed.bench.dissimilarity.line`.
    """
    mean = updates.mean(1, dtype=np.float64)
    spread = np.square(updates - mean[:, None]).sum(2).mean(1)
    norm = np.square(mean).sum(1)
    away = norm - norm.mean()
    if not (away**2).sum() > 1e-12 * (norm**2).sum():
        return Dissimilarity(float((spread / norm).max()), 0.0)
    return Dissimilarity(*line(spread, norm))


def tournament(
    updates: Any,
    attacks: Mapping[str, Attack],
    rules: Mapping[str, Callable[[int, int], Part | Chain]] | None = None,
    *,
    f: Sequence[int] | None = None,
    draws: int = 3,
    honest: Sequence[int] = (),
    seed: int = 0,
) -> Tournament:
    """Compare rules on the same uploads.

    Args:
        updates: ``[n, N]`` or ``[T, n, N]`` honest updates of T rounds, as of :func:`honest_uploads`.
        attacks: by name, a function of the honest updates ``[n, N]``, of who is malicious (``[n]`` bool) and
            a random key to the updates ``[n, N]`` that the server gets, of which the honest rows are not
            looked at. With a fourth parameter ``aggregate`` it gets the rule in use, from ``[n, N]`` to
            ``[N]``. "none" is always there.
        rules: by name, a function of (n, f) to a rule, or to a chain of mixers and a rule; None for
            :data:`RULES`. Numbers that are traced make one program for all f; static ones a branch for each.
        f: how many are malicious; None for 0 to less than half.
        draws: how often the malicious ones are drawn in each round.
        honest: numbers of hospitals that are never malicious, such as one that a rule trusts.
        seed: of the draws, the attacks and the rules.

    Raises:
        InvalidInput: lists what is wrong with the arguments.
    """
    x = np.asarray(updates, np.float32)
    x = x[None] if x.ndim == 2 else x
    chains, counts = _checked(x, RULES if rules is None else rules, f, draws, honest)
    rounds, n, _ = x.shape
    names = {NO_ATTACK: lambda updates, malicious, key: updates, **attacks}
    impossible = {
        (name, number): problems[0]
        for name, made in chains.items()
        for number, road in zip(counts, made, strict=True)
        if (problems := road.problems(n))
    }
    possible = {name: [(name, number) not in impossible for number in counts] for name in chains}
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(n), honest)
    malicious = np.zeros((rounds * draws, len(counts), n), bool)
    for trial in malicious:
        order = rng.permutation(others)
        for row, number in zip(trial, counts, strict=True):
            row[order[:number]] = True
    program = jax.jit(program_of([*names.values()], [*chains.values()], [*possible.values()], draws))
    errors, survived = (np.asarray(result) for result in program(x, malicious, jax.random.key(seed)))
    table = _table(errors, survived, possible, list(names), counts)
    return Tournament(table, _breakdown(table), heterogeneity(x), n, impossible)


def _checked(
    x: np.ndarray, rules: Mapping[str, Any], f: Sequence[int] | None, draws: int, honest: Sequence[int]
) -> tuple[dict[str, list[Chain]], list[int]]:
    if x.ndim != 3 or not x.size or not np.isfinite(x).all():
        raise InvalidInput(
            f"tournament: updates of shape {x.shape}: give finite numbers [n, N] or [T, n, N], as of "
            "honest_uploads(simulation).updates"
        )
    n = x.shape[1]
    most = n - len(set(honest))
    counts = [*range(min((n - 1) // 2, most) + 1)] if f is None else _numbers_of_malicious(f, n)
    for number in counts:
        if not 0 <= number <= min(most, n - 1):
            raise InvalidInput(f"tournament: f={number} of {n} hospitals: give 0 to {min(most, n - 1)}")
    if draws < 1:
        raise InvalidInput(f"tournament: draws={draws}: give at least 1")
    chains = {name: [rules_of.as_chain(make(n, number)) for number in counts] for name, make in rules.items()}
    for name, made in chains.items():
        if any(road.transforms or road.posts or not isinstance(road.rule, Rule) for road in made):
            raise InvalidInput(
                f"tournament: {name!r} is {made[0]!r}; give mixers and a rule that stores uploads, such as "
                "UniformMean() in the place of WeightedMean()"
            )
    return chains, counts


def _numbers_of_malicious(f: Any, n: int) -> list[int]:
    """Each number once, in order."""
    numbers = np.asarray(f)
    if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu":
        raise InvalidInput(
            f"tournament: f={f!r}: give a list of whole numbers, such as {[*range((n - 1) // 2 + 1)][:3]}"
        )
    return sorted(set(numbers.tolist()))


def _table(
    errors: np.ndarray,
    survived: np.ndarray,
    possible: dict[str, list[bool]],
    attacks: list[str],
    counts: list[int],
) -> pd.DataFrame:
    records = []
    for r, (rule, fine) in enumerate(possible.items()):
        for a, attack in enumerate(attacks):
            for i, number in enumerate(counts):
                some = errors[:, i, a, r].astype(np.float64)
                with np.errstate(invalid="ignore"):  # an infinite error has no deviation
                    results = {"error": some.mean(), "deviation": some.std(), "worst": some.max()}
                results["survived"] = survived[:, i, a, r].mean()
                if not fine[i]:
                    results = dict.fromkeys(results, np.nan)
                records.append({"rule": rule, "attack": attack, "f": number, **results})
    return pd.DataFrame.from_records(records)


def _breakdown(table: pd.DataFrame) -> pd.DataFrame:
    """The largest f up to which all trials survived; an impossible f is not survived."""
    rules, attacks = (list(dict.fromkeys(table[name])) for name in ("rule", "attack"))
    counts = np.array(sorted(set(table["f"])))
    ordered = table.sort_values("f", kind="stable")
    largest = pd.DataFrame(-1, index=pd.Index(rules, name="rule"), columns=pd.Index(attacks, name="attack"))
    for (rule, attack), some in ordered.groupby(["rule", "attack"], sort=False):
        through = int(np.logical_and.accumulate(some["survived"].to_numpy() == 1).sum())
        if through:
            largest.loc[rule, attack] = counts[through - 1]
    return largest
