"""Differential privacy of each patient: hospitals train by DP-SGD, each with its own budget.

Abadi et al. 2016, arXiv:1607.00133, inside of each hospital. Whatever the server and the other hospitals make
of the uploads costs nothing more. Hospitals hold different patients, so that their epsilons are never added;
a patient in several hospitals is in the sum of theirs.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from jaxfed.core import checks
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.privacy import arguments
from jaxfed.privacy.accounting import Accountant, Adjacency, Mechanism
from jaxfed.privacy.training import PrivateTraining

Layers = Literal["flat", "equal"]


@pytree
@dataclasses.dataclass(frozen=True)
class PatientDP:
    """Patient-level privacy, ``Simulation(..., privacy=PatientDP(clip=1.0, noise_multiplier=1.1))``.

    A step draws every row of a hospital with the probability ``rate`` (Poisson sampling), so the
    simulation's ``batch_size`` is the expected number of rows of a step. A patient is a row; where patients
    have several rows, the run's statement says so.

    Attributes:
        clip: the largest norm of a row's gradient. This and the next three may be
            :func:`jaxfed.per_hospital`, and can be swept.
        noise_multiplier: standard deviation of the noise on a step's sum of gradients, in units of ``clip``.
        epsilon: instead of ``noise_multiplier``: the least noise with which ``rounds`` rounds cost at most
            this, for each hospital; a run stops there too.
        rate: a row's probability to be in a step; None for ``batch_size`` over the hospital's rows. With one
            rate for all hospitals, their steps and epsilons are the same.
        delta: of the guarantee; well below 1 over a hospital's patients.
        rounds: static; the rounds for which ``epsilon`` chooses the noise.
        until_epsilon: each hospital takes part until the next round would exceed this; None for no end.
        layers: static; ``"flat"`` clips the whole gradient of a row, ``"equal"`` each of the L arrays of
            parameters to ``clip / sqrt(L)``.
        microbatch: static; rows that pass through the model side by side; bounds the memory. The default
            takes most samples of 32 or of 64 expected rows in one or two.
        adjacency: static; what a neighbouring data set is: a patient more or less, or another one in place.
        accountant: static; ``"pld"``, the tightest, or ``"rdp"``.
        sampling: static; ``"poisson"``. Shuffled batches have no accounting here.
    """

    clip: Number = 1.0
    noise_multiplier: Number | None = None
    epsilon: Number | None = None
    rate: Number | None = None
    delta: float = 1e-5
    rounds: int | None = dataclasses.field(default=None, metadata={"static": True})
    until_epsilon: Number | None = None
    layers: Layers = dataclasses.field(default="flat", metadata={"static": True})
    microbatch: int = dataclasses.field(default=40, metadata={"static": True})
    adjacency: Adjacency = dataclasses.field(default="add-or-remove", metadata={"static": True})
    accountant: Accountant = dataclasses.field(default="pld", metadata={"static": True})
    sampling: str = dataclasses.field(default="poisson", metadata={"static": True})

    def problems(self) -> list[str]:
        """Numbers out of range, each with the remedy."""
        found = [] if _infinite(self.clip) else checks.number("clip", self.clip, above=True)
        found += budget_problems(self)
        found += [] if self.rate is None else checks.number("rate", self.rate, 0, 1, above=True)
        found += arguments.constant("rate", self.rate)
        found += arguments.choice("layers", self.layers, Layers)
        found += arguments.whole("microbatch", self.microbatch)
        if self.sampling != "poisson":
            found.append(
                f"sampling={self.sampling!r}: hospitals draw rows by Poisson sampling, which is what the "
                "accountant counts; shuffled and fixed batches have no accounting here; leave it out"
            )
        return found

    def training(self, local: LocalTraining, noise_multiplier: Number) -> PrivateTraining:
        """The private form of a hospital's training."""
        fields = {field.name: getattr(local, field.name) for field in dataclasses.fields(LocalTraining)}
        return PrivateTraining(
            **fields,
            clip=self.clip,
            noise_multiplier=noise_multiplier,
            rate=self.rate,
            microbatch=self.microbatch,
            flat=self.layers == "flat",
        )

    def mechanism(self, noise_multiplier: float, rate: float) -> Mechanism:
        """A step of a hospital, for the accountant."""
        return Mechanism(float(noise_multiplier), float(rate), adjacency=self.adjacency)


def budget_problems(privacy: Any) -> list[str]:
    """Problems of noise, budget and delta, which the two units have in common."""
    found = []
    given = [name for name in ("noise_multiplier", "epsilon") if getattr(privacy, name) is not None]
    if len(given) != 1:
        found.append(
            "give noise_multiplier, or epsilon with the rounds that it is for: "
            f"{type(privacy).__name__}(noise_multiplier=1.0) or "
            f"{type(privacy).__name__}(epsilon=3.0, rounds=50)"
        )
    if privacy.noise_multiplier is not None:
        found += checks.number("noise_multiplier", privacy.noise_multiplier)
    for name in ("epsilon", "until_epsilon"):
        value = getattr(privacy, name)
        if value is not None:
            found += checks.number(name, value, above=True)
    for name in ("noise_multiplier", "epsilon", "until_epsilon"):
        found += arguments.constant(name, getattr(privacy, name))
    if privacy.epsilon is not None:
        found += arguments.whole("rounds", privacy.rounds)
    if privacy.epsilon is not None and privacy.until_epsilon is not None:
        found.append("epsilon and until_epsilon: give one; with epsilon a run stops there too")
    found += arguments.share("delta", privacy.delta)
    found += arguments.choice("adjacency", privacy.adjacency, Adjacency)
    found += arguments.choice("accountant", privacy.accountant, Accountant)
    if privacy.adjacency == "replace-one" and privacy.accountant == "rdp":
        found.append("adjacency='replace-one': give accountant='pld'")
    return found


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and value == float("inf")
