"""Values of the members of a coalition: what each adds to a utility v(S) of the hospitals in S.

    leave-one-out   v(all) - v(all but k)
    Shapley         sum over S without k of |S|! (C - |S| - 1)! / C!  (v(S and k) - v(S))

Shapley 1953, "A value for n-person games", in Contributions to the Theory of Games II: the only values that
sum to v(all) - v(none), are equal for members that add the same to every coalition, are 0 for members that
add nothing, and are linear in v. They are also the mean of what a member adds to those before it, over all
orders: some random orders give an unbiased estimate (Castro, Gomez, Tejada 2009, doi
10.1016/j.cor.2008.04.004).
"""

from __future__ import annotations

import abc
import dataclasses
from math import factorial

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Coalitions(abc.ABC):
    """The coalitions whose utility is needed; the first is everyone, the last is empty.

    Attributes:
        masks: ``[M, C]`` bool, the members of each; no coalition is there twice.
    """

    masks: np.ndarray

    @abc.abstractmethod
    def contributions(self, utility: np.ndarray) -> np.ndarray:
        """``[P, C]`` values of the members from the utilities ``[M]``, an estimate for each of P orders."""


class LeaveOneOut(Coalitions):
    """Everyone, and everyone but one."""

    @classmethod
    def of(cls, members: int) -> LeaveOneOut:
        """The coalitions of so many members."""
        everyone, none = np.ones((1, members), bool), np.zeros((1, members), bool)
        return cls(np.concatenate([everyone, ~np.eye(members, dtype=bool), none]))

    def contributions(self, utility: np.ndarray) -> np.ndarray:
        """``[1, C]``."""
        return (utility[0] - utility[1 : 1 + self.masks.shape[1]])[None]


class Exact(Coalitions):
    """All 2^C coalitions."""

    @classmethod
    def of(cls, members: int) -> Exact:
        """The coalitions of so many members."""
        numbers = np.arange(2**members)[::-1]
        return cls((numbers[:, None] >> np.arange(members)) & 1 > 0)

    def contributions(self, utility: np.ndarray) -> np.ndarray:
        """``[1, C]``."""
        members = self.masks.shape[1]
        size = self.masks.sum(1)
        weights = np.array([factorial(s) * factorial(members - s - 1) for s in range(members)])
        weights = weights / factorial(members)
        values = np.empty(members)
        for k in range(members):
            without = np.flatnonzero(~self.masks[:, k])
            joined = without - 2**k  # the coalition's number counts down from everyone
            values[k] = weights[size[without]] @ (utility[joined] - utility[without])
        return values[None]


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled(Coalitions):
    """The coalitions that grow member by member in P random orders.

    Attributes:
        orders: ``[P, C]`` members in the order in which they join.
        places: ``[P, C + 1]`` numbers of the coalitions, from the empty one to everyone.
    """

    orders: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, members: int, samples: int, seed: int = 0) -> Sampled:
        """The coalitions of ``samples`` random orders of so many members."""
        rng = np.random.default_rng(seed)
        orders = np.stack([rng.permutation(members) for _ in range(samples)])
        ranks = np.argsort(orders, axis=1)
        grown = ranks[:, None, :] < np.arange(members + 1)[:, None]  # [P, C + 1, C]
        flat = grown.reshape(-1, members)
        numbers: dict[bytes, int] = {np.ones(members, bool).tobytes(): 0}
        for mask in flat:
            if mask.any():
                numbers.setdefault(mask.tobytes(), len(numbers))
        numbers[np.zeros(members, bool).tobytes()] = len(numbers)
        places = np.array([numbers[mask.tobytes()] for mask in flat]).reshape(samples, members + 1)
        masks = np.stack([np.frombuffer(mask, bool) for mask in numbers])
        return cls(masks, orders, places)

    def contributions(self, utility: np.ndarray) -> np.ndarray:
        """``[P, C]``: in each order, what a member adds to those before it."""
        added = np.diff(utility[self.places], axis=1)
        values = np.empty(added.shape)
        np.put_along_axis(values, self.orders, added, axis=1)
        return values
