"""The road of an upload: what may stand between ``client_update`` and ``server_update``.

    upload_k  = T_m(... T_1(client_update(...)))           Transform:        one upload at a time
    U         = M_p(... M_1([upload_1 ... upload_K]))      Mixer:            all uploads to as many or fewer
    aggregate = R(U)                                       Rule or Streamed: all uploads to one
    update    = P_q(... P_1(aggregate))                    Post:             the aggregate, on the server

A part is a frozen dataclass and a pytree (:func:`jaxfed.pytree`): its numbers are leaves, which may be
traced, swept, scheduled and differ between hospitals like those of an algorithm. Every part gets a key of
(seed, round, client or server, its position in the chain). Transforms act on an upload's ``update``; rules
aggregate ``update`` and ``aux`` alike; posts act on the aggregate's ``update``.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, NamedTuple

from jax import Array

from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Upload
from jaxfed.core.uploads import Aggregate, Uploads


class Sender(NamedTuple):
    """What a transform may know of the client whose upload it sees.

    Attributes:
        key: of (seed, round, client, position in the chain).
        round: int32, from 0.
        weight: the weight that the upload will have.
    """

    key: Array
    round: Array
    weight: Array


class Part:
    """What all parts of a chain have in common."""

    def problems(self, clients: int) -> list[str]:
        """Why this part cannot work with that many clients, each with the remedy."""
        return []


class Transform(Part, abc.ABC):
    """One upload to one upload, in the client's program, before anything is added or stored."""

    def init(self, upload: Upload) -> PyTree:
        """The state of ONE client (error feedback, a momentum); the engine stacks it. ``()`` for none."""
        return ()

    @abc.abstractmethod
    def apply(self, upload: Upload, state: PyTree, sender: Sender) -> tuple[Upload, PyTree]:
        """What is sent instead of ``upload``, and the client's new state."""

    def wire_bytes(self, upload: Upload, before: int) -> int:
        """Bytes that travel, where ``before`` would without this part; ``upload`` has shapes only."""
        return before


class Mixer(Part, abc.ABC):
    """All uploads to as many or fewer: a pre-aggregator, or clients that collude."""

    @abc.abstractmethod
    def apply(self, uploads: Uploads, key: Array) -> Uploads:
        """The uploads that the next part sees; ``key`` is the same on every device.

        Uploads that are not finite say that the mixer has no answer, as a rule's aggregate does.
        """

    def left(self, clients: int) -> int:
        """How many uploads of so many the next part sees."""
        return clients


class Rule(Part, abc.ABC):
    """All uploads to one. The engine stores them: ``[K, N / D]`` on each of D devices."""

    def init(self, update: Array) -> PyTree:
        """The server's state, the same on every device; ``update`` is whole, ``[N]``. ``()`` for none."""
        return ()

    @abc.abstractmethod
    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The aggregate, the new state, and what the observer sees: arrays ``[M]``, such as who was selected.

        An aggregate that is not finite says that the rule has no answer: the server then keeps its state.
        """


class Streamed(Part, abc.ABC):
    """``lower(sum_k w_k lift(upload_k), sum_k w_k)``: uploads are added block by block and never stored.

    Attributes:
        averages: whether the aggregate is the weighted mean of the uploads, up to a factor.
    """

    averages: ClassVar[bool] = False

    def init(self, upload: Upload) -> PyTree:
        """The server's state; ``()`` for none."""
        return ()

    def lift(self, upload: Upload, state: PyTree) -> PyTree:
        """What is summed of one upload's ``update`` and ``aux``, as an Upload: its sign, for a vote."""
        return upload

    @abc.abstractmethod
    def lower(
        self, total: PyTree, weight: Array, state: PyTree, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """The aggregate as an Upload, the new state, and what the observer sees.

        ``total`` and ``weight`` are 0 where nobody's upload was used.
        """


class Post(Part, abc.ABC):
    """The aggregate to the update that ``server_update`` gets."""

    def init(self, update: PyTree) -> PyTree:
        """The server's state; ``()`` for none."""
        return ()

    @abc.abstractmethod
    def apply(self, update: PyTree, state: PyTree, key: Array) -> tuple[PyTree, PyTree]:
        """The new update, and the new state."""


class ChainState(NamedTuple):
    """What a chain keeps on the server; what it keeps in clients is in ``State.clients``."""

    rule: PyTree
    posts: tuple[PyTree, ...]


@pytree
@dataclasses.dataclass(frozen=True)
class Chain:
    """The parts of a road, in the order in which uploads meet them; made by ``jaxfed.aggregators.chain``."""

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
        """Whether uploads have to be stored."""
        return bool(self.mixers) or isinstance(self.rule, Rule)

    def problems(self, clients: int) -> list[str]:
        """Why some part cannot work with that many clients, or with what mixers leave of them."""
        problems = []
        for part in self.parts:
            problems += [f"{type(part).__name__}: {problem}" for problem in part.problems(clients)]
            clients = part.left(clients) if isinstance(part, Mixer) else clients
        return problems

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.parts))})"
