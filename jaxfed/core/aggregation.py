"""The interfaces of the parts that process uploads between ``client_update`` and ``server_update``.

    upload_k  = T_m(... T_1(client_update(...)))           Transform:        one upload at a time
    U         = M_p(... M_1([upload_1 ... upload_K]))      Mixer:            all uploads to as many or fewer
    aggregate = R(U)                                       Rule or Streamed: all uploads to one
    update    = P_q(... P_1(aggregate))                    Post:             the aggregate, on the server

The sequence of parts is called the road of an upload. A part is a frozen dataclass and a pytree
(:func:`jaxfed.pytree`): its numbers are leaves, which may be traced, swept, scheduled and differ between
hospitals like those of an algorithm. Every part gets a random key that is derived from (seed, round, client
or server, its position in the chain). Transforms act on an upload's ``update``; rules
aggregate ``update`` and ``aux`` alike; posts act on the aggregate's ``update``.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jax import Array

from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Upload
from jaxfed.core.uploads import Aggregate, Uploads

INFLUENCE = "influence"  # the metric of a rule that says how much each hospital counts


class Sender(NamedTuple):
    """The information that a transform has about the client whose upload it sees.

    Attributes:
        key: a random key derived from (seed, round, client, position in the chain).
        round: int32, from 0.
        weight: the weight of the upload in the aggregation.
    """

    key: Array
    round: Array
    weight: Array


class Part:
    """What all parts of a chain have in common.

    Attributes:
        names_hospital: whether a number of this part is that of a hospital, so that upload k has to be that
            of hospital k.
        reorders: whether upload k after this part is not that of hospital k.
        hides: whether the server learns the aggregate alone, and no single upload.
    """

    names_hospital: ClassVar[bool] = False
    reorders: ClassVar[bool] = False
    hides: ClassVar[bool] = False

    def problems(self, clients: int) -> list[str]:
        """Reasons why this part cannot work with ``clients`` clients, each with the remedy."""
        return []

    def hospital_problems(self, hospitals: int) -> list[str]:
        """Reasons why numbers of hospitals in this part are none of ``hospitals``, each with the remedy."""
        return []

    def weight_problems(self, weights: np.ndarray) -> list[str]:
        """Reasons why this part cannot work with these weights, each with the remedy.

        ``weights [K]`` are the largest that can take part in a round, of at most K hospitals.
        """
        return []

    def wire_bytes(self, upload: Upload, before: int) -> int:
        """The bytes that a hospital sends; without this part ``before``. ``upload`` has shapes only."""
        return before


class Transform(Part, abc.ABC):
    """Maps one upload to one upload, in the client's program, before uploads are added or stored."""

    def init(self, upload: Upload) -> PyTree:
        """The state of ONE client (error feedback, a momentum), or ``()``; the engine stacks it."""
        return ()

    @abc.abstractmethod
    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """The upload that is sent instead of ``upload``, and the client's new state."""


class Mixer(Part, abc.ABC):
    """Maps all uploads to as many or fewer: a pre-aggregator, or clients that collude."""

    @abc.abstractmethod
    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The uploads that the next part sees; ``key`` is the same on every device.

        A mixer that has no answer returns uploads that are not finite; the server then keeps its state.
        """

    def left(self, clients: int) -> int:
        """The number of uploads that the next part sees if this one sees ``clients``."""
        return clients


class Attack(Mixer):
    """Malicious clients that see all uploads of the round; it comes before every other mixer."""

    def against(self, uploads: Uploads, key: Array, aggregate: Callable[[Uploads], Array]) -> Uploads:
        """As :meth:`Mixer.apply`, for an attack that depends on the parts after it.

        ``aggregate`` computes what they make of uploads: this device's share of the update, ``[n]``.
        """
        return self.apply(uploads, key)


class Rule(Part, abc.ABC):
    """Maps all uploads to one. The engine stores the uploads: ``[K, N / D]`` on each of D devices.

    Attributes:
        averages: whether the aggregate is the weighted mean of the uploads, up to a factor.
    """

    averages: ClassVar[bool] = False

    def init(self, update: Array) -> PyTree:
        """The server's state, the same on every device, or ``()``; ``update`` is whole, ``[N]``."""
        return ()

    @abc.abstractmethod
    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The aggregate, the new state, and metrics: arrays ``[M]``, such as which uploads were selected.

        The metric ``influence`` is ``[C]``, of hospitals and not of uploads; see :meth:`Uploads.influence`.
        A rule that has no answer returns an aggregate that is not finite; the server then keeps its state.
        """


class Streamed(Part, abc.ABC):
    """Computes ``lower(sum_k w_k lift(upload_k), sum_k w_k)`` without storing the uploads.

    The engine adds uploads block by block, so memory does not grow with the number of hospitals.

    Attributes:
        averages: whether the aggregate is the weighted mean of the uploads, up to a factor.
    """

    averages: ClassVar[bool] = False

    @property
    def public_count(self) -> Any:
        """The number of hospitals that the server may know of, if who took part is not public.

        The server then steps in every round, also in one without hospitals, and :class:`Cohort` tells the
        expected cohort; None for the realised one.
        """
        return None

    def init(self, upload: Upload) -> PyTree:
        """The server's state, or ``()``."""
        return ()

    def lift(self, upload: Upload, state: PyTree) -> PyTree:
        """The summand of one upload, as an Upload with ``update`` and ``aux``; for a vote, the sign."""
        return upload

    @abc.abstractmethod
    def lower(
        self, total: PyTree, weight: Array, state: PyTree, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """The aggregate as an Upload, the new state, and metrics for the observer.

        ``total`` and ``weight`` are 0 if no upload was used.
        """


class Post(Part, abc.ABC):
    """Maps the aggregate to the update that ``server_update`` gets."""

    def init(self, update: PyTree) -> PyTree:
        """The server's state, or ``()``."""
        return ()

    @abc.abstractmethod
    def apply(self, update: PyTree, state: PyTree, key: Array) -> tuple[PyTree, PyTree]:
        """The new update, and the new state."""


class ChainState(NamedTuple):
    """The state of a chain on the server; its state in clients is in ``State.clients``."""

    rule: PyTree
    posts: tuple[PyTree, ...]


@pytree
@dataclasses.dataclass(frozen=True)
class Chain:
    """The parts of a road, in the order in which they process uploads.

    Users make a chain with ``jaxfed.aggregators.chain``.
    """

    transforms: tuple[Transform, ...]
    mixers: tuple[Mixer, ...]
    rule: Rule | Streamed
    posts: tuple[Post, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, in order."""
        return (*self.transforms, *self.mixers, self.rule, *self.posts)

    @property
    def stores(self) -> bool:
        """Whether the engine has to store the uploads."""
        return bool(self.mixers) or isinstance(self.rule, Rule)

    def problems(self, clients: int, hospitals: int | None = None) -> list[str]:
        """Reasons why a part cannot work with ``clients`` uploads, or with those that mixers leave.

        ``hospitals`` is how many there are, of whom ``clients`` take part in a round; None for all of them.
        """
        problems, everyone = [], clients if hospitals is None else hospitals
        before = [type(mixer).__name__ for mixer in self.mixers if mixer.reorders]
        if before and self.rule.names_hospital:
            name = type(self.rule).__name__
            problems.append(
                f"{name} trusts a hospital, whose upload {before[0]} mixes: leave {before[0]} out"
            )
        for part in self.parts:
            some = part.problems(clients) + part.hospital_problems(everyone)
            problems += [f"{type(part).__name__}: {problem}" for problem in some]
            clients = part.left(clients) if isinstance(part, Mixer) else clients
        for first, second in zip(self.mixers, self.mixers[1:], strict=False):
            if isinstance(second, Attack) and not isinstance(first, Attack):
                name, other = type(second).__name__, type(first).__name__
                problems.append(
                    f"{name} is an attack: give it before {other}, which sees what attackers send"
                )
        return problems

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.parts))})"
