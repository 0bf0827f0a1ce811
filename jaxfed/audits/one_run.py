"""A lower bound on epsilon from one run: how often the presence of canaries is guessed.

Each of m canaries is in the data with probability 1/2, independently. An auditor guesses of r of them whether
they are, and v guesses are right. If the algorithm is (epsilon, delta) differentially private,

    P(at least v right) <= beta + 2 m delta alpha,
    beta = P(B >= v),   alpha = max_i P(v > B >= v - i) / i,   B ~ Binomial(r, e^epsilon / (1 + e^epsilon))

Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", arXiv:2305.08846. An
epsilon for which this is below 1 - confidence is refuted; the bound is the largest such one. A bound above
the claimed epsilon shows that the claim is wrong. A bound below it shows nothing: perhaps the attack is weak.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import betainc, gammaln  # type: ignore[import-untyped]

from jaxfed.audits.roc import Roc
from jaxfed.core.errors import Problems, spelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRACTIONS = (0.0625, 0.125, 0.25, 0.5, 1.0)  # of the canaries that are guessed, where nothing else is asked
LARGEST = 50.0  # no larger epsilon is told apart

Mechanism = Callable[[np.ndarray, int], np.ndarray]


def p_value(correct: int, guesses: int, canaries: int, epsilon: float, delta: float = 0.0) -> float:
    """The largest probability of so many correct guesses under (epsilon, delta) differential privacy.

    Args:
        correct: v, guesses that are right.
        guesses: r, canaries for which a guess was made.
        canaries: m, all canaries.
        epsilon, delta: of the guarantee.
    """
    if not correct:
        return 1.0
    share = 1 / (1 + math.exp(-epsilon))
    beta = float(betainc(correct, guesses - correct + 1, share))  # P(B >= correct)
    if not delta:
        return beta
    steps = np.arange(1, correct + 1)
    right, wrong = correct - steps, guesses - correct + steps
    ways = gammaln(guesses + 1) - gammaln(right + 1) - gammaln(wrong + 1)
    odds = -np.log1p(np.exp([-epsilon, epsilon]))  # logarithms of share and of 1 - share
    below = np.cumsum(np.exp(ways + right * odds[0] + wrong * odds[1]))
    return min(beta + 2 * canaries * delta * float((below / steps).max()), 1.0)


def epsilon_bound(
    correct: int, guesses: int, canaries: int, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """The lower bound on epsilon, 0 if nothing is refuted; arguments as in :func:`p_value`.

    >>> round(epsilon_bound(100, 100, 500, 1e-5), 2)
    3.48
    """
    low, high = 0.0, LARGEST
    if p_value(correct, guesses, canaries, 0.0, delta) > 1 - confidence:
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        refuted = p_value(correct, guesses, canaries, middle, delta) <= 1 - confidence
        low, high = (middle, high) if refuted else (low, middle)
    return low


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """The result of an audit.

    Attributes:
        bound: the lower bound on epsilon, with ``confidence``.
        claim: the claimed epsilon at ``delta``.
        delta: of the claim, and of the bound.
        confidence: of the bound, over all numbers of guesses that were tried.
        table: a row for each number of guesses: ``guesses``, ``correct``, ``bound``.
        scores: ``[m]`` of the canaries; a higher one says that it was in the data.
        included: ``[m]`` bool, the truth.
    """

    bound: float
    claim: float
    delta: float
    confidence: float
    table: pd.DataFrame
    scores: np.ndarray
    included: np.ndarray

    @property
    def refuted(self) -> bool:
        """Whether the claim is shown to be wrong."""
        return self.bound > self.claim

    @property
    def roc(self) -> Roc:
        """The curve of the scores."""
        return Roc(self.scores, self.included)

    def plot(self) -> Figure:
        """The scores of the canaries that were in the data and of the others; the bound and the claim."""
        from jaxfed.figures.audits import audit_figure

        return audit_figure(self.scores, self.included, self.table, self.claim, self.delta, self.confidence)

    def __repr__(self) -> str:
        verdict = (
            "the claim is REFUTED"
            if self.refuted
            else "the claim is not refuted (which does not prove it: a stronger attack may exist)"
        )
        best = self.table.iloc[int(self.table["bound"].argmax())]
        return (
            f"Audit(epsilon >= {self.bound:.3f} at delta={self.delta:g} with {self.confidence:.0%} "
            f"confidence, claimed {self.claim:.3f}: {verdict}; {int(best['correct'])} of "
            f"{int(best['guesses'])} guesses about {len(self.scores)} canaries are right, AUROC "
            f"{self.roc.auroc:.3f})"
        )


def audit_of_scores(
    scores: Any,
    included: Any,
    *,
    epsilon: float,
    delta: float,
    guesses: Sequence[int] | None = None,
    confidence: float = 0.95,
) -> Audit:
    """The bound from the scores of canaries.

    The highest scores are guessed as included and as many of the lowest as left out. If several numbers of
    guesses are tried, each has its share of the error (Bonferroni), so that the best bound holds with
    ``confidence``.

    Args:
        scores: ``[m]`` a higher one says that the canary was in the data.
        included: ``[m]`` bool, drawn independently with probability 1/2.
        epsilon, delta: the claim.
        guesses: how many canaries to guess, chosen before the scores are seen; None for 1/16, 1/8, 1/4, 1/2
            and all of them.
        confidence: of the bound.

    Raises:
        InvalidInput: lists what is wrong.
    """
    scores, included = np.asarray(scores, float), np.asarray(included)
    problems = Problems("audit")
    problems.check(
        scores.ndim == 1 and scores.shape == included.shape and included.dtype == bool and len(scores) > 1,
        f"scores {scores.shape} and included {included.shape} {included.dtype}: give a score and True or "
        "False for each canary",
    )
    broken = int(np.isnan(scores).sum())
    problems.check(not broken, f"scores: {broken} are NaN; train with a smaller step size")
    _check_claim(problems, epsilon, delta, confidence)
    problems.raise_if_any()
    _check_guesses(problems, guesses, len(scores))
    problems.raise_if_any()
    usual = [min(max(2, 2 * round(f * len(scores) / 2)), len(scores)) for f in FRACTIONS]
    counts = sorted({int(count) for count in (usual if guesses is None else guesses)})
    order = np.argsort(scores, kind="stable")
    each = 1 - (1 - confidence) / len(counts)
    rows = []
    for count in counts:
        high = order[len(order) - (count + 1) // 2 :]
        low = order[: count // 2]
        correct = int(included[high].sum() + (~included[low]).sum())
        rows.append((count, correct, epsilon_bound(correct, count, len(scores), delta, each)))
    table = pd.DataFrame(rows, columns=["guesses", "correct", "bound"])
    return Audit(
        float(table["bound"].max()), float(epsilon), float(delta), confidence, table, scores, included
    )


@spelled
def audit_mechanism(
    mechanism: Mechanism,
    canaries: int,
    *,
    epsilon: float,
    delta: float,
    guesses: Sequence[int] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Audit:
    """Audit any training procedure with one run.

    Args:
        mechanism: ``(included [m] bool, seed) -> scores [m]``: trains with the included canaries and scores
            all of them; a higher score says that the canary was included.
        canaries: m; more make the bound sharper, and have to be few beside the data.
        epsilon, delta: the claim for adding or removing one canary.
        guesses, confidence: see :func:`audit_of_scores`.
        seed: of the draw of canaries, and of the mechanism.

    Raises:
        InvalidInput: lists what is wrong.
    """
    problems = Problems("audit_mechanism")
    problems.check(
        callable(mechanism), f"mechanism={mechanism!r}: give a function (included, seed) -> scores"
    )
    whole = isinstance(canaries, (int, np.integer)) and not isinstance(canaries, bool) and canaries >= 2
    problems.check(whole, f"canaries={canaries!r}: give a whole number >= 2")
    _check_claim(problems, epsilon, delta, confidence)
    if whole:
        _check_guesses(problems, guesses, canaries)
    problems.raise_if_any()
    included = coin_flips(canaries, seed)
    scores = mechanism(included, seed)
    return audit_of_scores(
        scores, included, epsilon=epsilon, delta=delta, guesses=guesses, confidence=confidence
    )


def coin_flips(canaries: int, seed: int) -> np.ndarray:
    """``[m]`` bool: which canaries are in the data."""
    return np.random.default_rng([seed, 0xA0D17]).random(canaries) < 0.5


def _check_guesses(problems: Problems, guesses: Any, canaries: int) -> None:
    """Record a problem unless ``guesses`` are numbers of canaries, or None."""
    if guesses is None:
        return
    several = isinstance(guesses, np.ndarray) and guesses.ndim == 1
    counts = [*guesses] if several or isinstance(guesses, Sequence) else []
    whole = [isinstance(count, (int, np.integer)) and not isinstance(count, bool) for count in counts]
    fine = bool(counts) and all(whole) and all(1 <= count <= canaries for count in counts)
    problems.check(
        fine,
        f"guesses={guesses!r}: give a list of whole numbers from 1 to {canaries}, such as "
        f"[{max(canaries // 4, 1)}]",
    )


def _check_claim(problems: Problems, epsilon: Any, delta: Any, confidence: Any) -> None:
    numbers = {"epsilon": epsilon, "delta": delta, "confidence": confidence}
    for name, value in numbers.items():
        if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or np.isnan(value):
            problems.add(f"{name}={value!r}: give a number")
    if problems.count:
        return
    problems.check(epsilon >= 0, f"epsilon={epsilon!r}: give a number >= 0 (math.inf claims nothing)")
    problems.check(0 <= delta < 1, f"delta={delta!r}: give a number >= 0 and < 1, such as 1e-5")
    problems.check(0.5 < confidence < 1, f"confidence={confidence!r}: give a number above 0.5 and below 1")
