"""What noise guarantees: epsilon of a number of noisy steps, by dp-accounting.

A step adds Gaussian noise of standard deviation ``noise_multiplier`` times the clipping bound to a sum of
clipped contributions, of a sample of those who may contribute. The two adjacencies are a contributor more or
less (``"add-or-remove"``) and one contributor replaced by another (``"replace-one"``), which can move the sum
by twice the bound. Accountants: privacy loss distributions (``"pld"``: Koskela et al. 2020, arXiv:1906.03049;
Doroshenko et al. 2022, arXiv:2207.04380; rounded to the pessimistic side) and Rényi differential privacy
(``"rdp"``: Mironov 2017, arXiv:1702.07476; Mironov, Talwar, Zhang 2019, arXiv:1908.10530).

Epsilons are those of the library's version (:func:`version`); another version may convert otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import logging
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.optional import needs
from jaxfed.privacy import arguments

Sampling = Literal["poisson", "truncated", "fixed"]
Adjacency = Literal["add-or-remove", "replace-one"]
Accountant = Literal["pld", "rdp"]

INTERVAL = 1e-3  # of privacy losses; epsilon is at most about 1e-3 too large by it


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """A noisy step as the accountant sees it.

    Attributes:
        noise_multiplier: standard deviation of the noise, in units of the clipping bound; 0 for none.
        rate: the probability to be in a step's sample; for ``"fixed"`` the share of the rows.
        sampling: ``"poisson"``, independent draws; ``"truncated"``, Poisson draws of which at most
            ``capacity`` count; ``"fixed"``, a fixed number of ``rows`` without replacement.
        adjacency: what neighbouring data sets are.
        rows: how many may be drawn; for ``"truncated"`` and ``"fixed"``.
        capacity: the most that count; for ``"truncated"``.

    Raises:
        InvalidInput: lists every number out of range.
    """

    noise_multiplier: float
    rate: float = 1.0
    sampling: Sampling = "poisson"
    adjacency: Adjacency = "add-or-remove"
    rows: int | None = None
    capacity: int | None = None

    def __post_init__(self) -> None:
        problems = Problems("accounting")
        problems.extend(arguments.real("noise_multiplier", self.noise_multiplier, 0, math.inf))
        problems.extend(arguments.real("rate", self.rate, 0, 1))
        problems.extend(arguments.choice("adjacency", self.adjacency, Adjacency))
        if self.sampling not in get_args(Sampling):
            hint = (
                "shuffled batches have no accounting here; draw them by Poisson sampling, sampling='poisson'"
                if "shuf" in str(self.sampling)
                else did_you_mean(self.sampling, get_args(Sampling))
            )
            problems.add(f"sampling={self.sampling!r}: {hint}")
        if self.sampling in ("truncated", "fixed"):
            problems.extend(arguments.whole("rows", self.rows))
        if self.sampling == "truncated":
            problems.extend(arguments.whole("capacity", self.capacity))
        problems.check(
            self.sampling != "fixed" or self.adjacency == "replace-one",
            "sampling='fixed' is accounted for a replaced contributor; give adjacency='replace-one', or "
            "sampling='poisson'",
        )
        problems.raise_if_any()


def epsilon(mechanism: Mechanism, steps: int, delta: float, *, accountant: Accountant = "pld") -> float:
    """Epsilon of ``steps`` noisy steps at ``delta``; infinite without noise, 0 if nobody is ever drawn.

    >>> round(epsilon(Mechanism(1.0, rate=0.01), 1000, 1e-5), 2)
    1.83

    Raises:
        InvalidInput: a number out of range, or an accountant that does not cover the mechanism.
        ImportError: dp-accounting is not installed.
    """
    problems = Problems("epsilon")
    problems.extend(arguments.whole("steps", steps, 0))
    problems.extend(arguments.share("delta", delta))
    problems.extend(arguments.choice("accountant", accountant, Accountant))
    problems.extend(uncovered(mechanism, accountant))
    problems.raise_if_any()
    if steps == 0 or mechanism.rate == 0:
        return 0.0
    if mechanism.noise_multiplier == 0:
        return math.inf
    return _epsilon(mechanism, int(steps), float(delta), accountant)


def curve(mechanism: Mechanism, steps: Any, delta: float, *, accountant: Accountant = "pld") -> np.ndarray:
    """Epsilons of several numbers of steps, as an array of their shape."""
    known = {int(n): epsilon(mechanism, int(n), delta, accountant=accountant) for n in np.unique(steps)}
    return np.vectorize(lambda n: known[int(n)], otypes=[float])(np.asarray(steps))


def charged(
    mechanism: Mechanism, charges: Any, delta: float, *, accountant: Accountant = "pld"
) -> np.ndarray:
    """As :func:`curve`, of squared sensitivities that need not be whole, for steps without sampling."""

    def of(charge: float) -> float:
        if charge == 0:
            return 0.0
        noise = mechanism.noise_multiplier / math.sqrt(charge)
        return epsilon(
            dataclasses.replace(mechanism, noise_multiplier=noise), 1, delta, accountant=accountant
        )

    known = {charge: of(float(charge)) for charge in np.unique(charges)}
    return np.vectorize(lambda charge: known[charge], otypes=[float])(np.asarray(charges))


def composed(parts: Sequence[tuple[Mechanism, int]], delta: float) -> float:
    """Epsilon of several mechanisms on the same contributor, ``(mechanism, steps)`` each, by ``"pld"``.

    For a patient whose rows are in several hospitals (multi-owner composition).
    """
    parts = [(mechanism, steps) for mechanism, steps in parts if steps and mechanism.rate]
    if not parts:
        return 0.0
    if any(mechanism.noise_multiplier == 0 for mechanism, _ in parts):
        return math.inf
    losses = [_base(mechanism).self_compose(steps) for mechanism, steps in parts]
    whole_loss = functools.reduce(lambda a, b: a.compose(b), losses)
    return float(whole_loss.get_epsilon_for_delta(delta))


def version() -> str:
    """The name and version of the library, for reports."""
    library()
    return f"dp-accounting {importlib.metadata.version('dp-accounting')}"


def library() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed.
    """
    needs("dp_accounting.pld", "privacy", "the accounting of privacy")
    needs("dp_accounting.rdp", "privacy", "the accounting of privacy")
    return needs("dp_accounting", "privacy", "the accounting of privacy")


def uncovered(mechanism: Mechanism, accountant: str) -> list[str]:
    """A problem if an accountant has no theory for the mechanism."""
    if mechanism.sampling == "fixed" and accountant == "pld":
        return ["sampling='fixed': give accountant='rdp'"]
    if mechanism.sampling == "truncated" and accountant == "rdp":
        return ["sampling='truncated': give accountant='pld'"]
    replaced = mechanism.adjacency == "replace-one" and mechanism.sampling == "poisson"
    if replaced and accountant == "rdp" and mechanism.rate < 1:
        return ["adjacency='replace-one' with sampling='poisson': give accountant='pld'"]
    return []


@functools.lru_cache(maxsize=4096)
def _epsilon(mechanism: Mechanism, steps: int, delta: float, accountant: str) -> float:
    dp = library()
    if mechanism.rate == 1 and mechanism.sampling == "poisson" and accountant == "pld":
        sensitivity = 2 if mechanism.adjacency == "replace-one" else 1  # of the sum, in units of the bound
        return float(dp.get_epsilon_gaussian(mechanism.noise_multiplier / (sensitivity * steps**0.5), delta))
    if accountant == "pld":
        return float(_base(mechanism).self_compose(steps).get_epsilon_for_delta(delta))
    orders, losses = _renyi(mechanism)
    return float(dp.rdp.compute_epsilon(orders, steps * losses, delta)[0])


@functools.lru_cache(maxsize=4096)
def _renyi(mechanism: Mechanism) -> tuple[np.ndarray, np.ndarray]:
    """Orders, and the Rényi divergences of a step."""
    dp, relation = library(), library().NeighboringRelation
    # for a replaced contributor the sensitivity of the sum is twice the bound
    sigma = mechanism.noise_multiplier / (2 if mechanism.adjacency == "replace-one" else 1)
    if mechanism.sampling == "fixed":
        drawn = max(1, round(mechanism.rate * (mechanism.rows or 1)))
        event = dp.SampledWithoutReplacementDpEvent(mechanism.rows, drawn, dp.GaussianDpEvent(sigma))
        accountant = dp.rdp.RdpAccountant(neighboring_relation=relation.REPLACE_ONE)
    else:
        event = dp.PoissonSampledDpEvent(mechanism.rate, dp.GaussianDpEvent(sigma))
        accountant = dp.rdp.RdpAccountant()
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True  # it warns of every order that it leaves out
    try:
        accountant.compose(event)
    finally:
        logger.disabled = before
    return np.asarray(accountant.orders), np.asarray(accountant.rdp)


@functools.lru_cache(maxsize=512)
def _base(mechanism: Mechanism) -> Any:
    """The privacy loss distribution of a step."""
    dp = library()
    losses, relation = dp.pld.privacy_loss_distribution, dp.NeighboringRelation
    neighbours = relation.REPLACE_ONE if mechanism.adjacency == "replace-one" else relation.ADD_OR_REMOVE_ONE
    if mechanism.sampling == "truncated":
        return losses.from_truncated_subsampled_gaussian_mechanism(
            mechanism.rows,
            mechanism.rate,
            mechanism.capacity,
            mechanism.noise_multiplier,
            value_discretization_interval=INTERVAL,
            neighboring_relation=neighbours,
        )
    return losses.from_gaussian_mechanism(
        mechanism.noise_multiplier,
        value_discretization_interval=INTERVAL,
        sampling_prob=mechanism.rate,
        neighboring_relation=neighbours,
    )
