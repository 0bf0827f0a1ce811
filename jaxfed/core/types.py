"""The nouns of jaxfed, with the names of the literature (McMahan 2017, Reddi 2021, Kairouz 2021).

Plural has a client axis, singular has none: an algorithm is written for one client, and the engine
stacks, blocks and places the clients.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from jaxfed.core.pytree import pytree

if TYPE_CHECKING:
    from jaxfed.core.local import LocalTraining

PyTree = Any
Metrics = dict[str, Array]  # for the observer; never fed to the server


class Variables(NamedTuple):
    """A model's arrays: ``params`` are trained, ``stats`` are not (batch statistics; often ``{}``)."""

    params: PyTree
    stats: PyTree


class Upload(NamedTuple):
    """Exactly what leaves a hospital in a round, and in which form the server gets it.

    Attributes:
        mean: any tree; the server sees only the aggregate of all hospitals.
        each: any tree; the server sees every hospital's own. ``()`` for most algorithms.
    """

    mean: PyTree
    each: PyTree = ()


class Cohort(NamedTuple):
    """What the server knows of a round beside the aggregate; D * S places for hospitals.

    Attributes:
        round: int32, from 0.
        present: int32, hospitals whose upload was used.
        hospitals: int32, hospitals with training rows, present or not.
        weights: ``[D * S]`` the weight that each upload was used with; 0 for who is absent.
        sizes: ``[D * S]`` training rows; 0 for empty places.
        each: ``[D * S, ...]`` the uploads' ``each``; 0 for who is absent.
    """

    round: Array
    present: Array
    hospitals: Array
    weights: Array
    sizes: Array
    each: PyTree


class State(NamedTuple):
    """Everything that survives a round; a checkpoint is this tree.

    Attributes:
        round: int32, rounds done.
        key: the run's key; keys of a round are derived from it and the round, it never changes.
        server: what the algorithm keeps on the server.
        clients: what it keeps in each hospital, ``[devices, slots, ...]``.
    """

    round: Array
    key: Array
    server: PyTree
    clients: PyTree


@pytree
@dataclasses.dataclass(frozen=True)
class Shard:
    """One hospital's training rows, with no client axis in sight.

    Attributes:
        x, y: the rows of all hospitals, ``[N, ...]``.
        start, size: int32; this hospital owns rows ``start : start + size``.
        block: name of the axis over which hospitals run side by side, or None for one at a time.
        place: int32; this hospital's place in the arrays of :class:`Cohort`.
    """

    x: PyTree
    y: Array
    start: Array
    size: Array
    block: str | None = dataclasses.field(default=None, metadata={"static": True})
    place: Array | int = 0

    def take(self, index: Array) -> tuple[PyTree, Array]:
        """Rows ``index`` (``[B]``, 0 is this hospital's first row) of ``x`` and ``y``."""
        rows = self.start + index
        return jax.tree.map(lambda leaf: leaf[rows], self.x), self.y[rows]

    def most(self, count: Array) -> Array:
        """The largest ``count`` among the hospitals of this block: the bound of a common loop.

        The result has no batch axis under ``vmap``, so a ``fori_loop`` up to it stays a plain loop.
        """
        return count if self.block is None else jax.lax.pmax(count, self.block)

    def keep(self, active: Array, new: PyTree, old: PyTree) -> PyTree:
        """``new`` where this hospital is still active in a common loop, else ``old``."""
        if self.block is None:
            return new
        return jax.tree.map(lambda a, b: jnp.where(active, a, b), new, old)


class Algorithm(abc.ABC):
    """A federated algorithm: a frozen dataclass that is a pytree.

    Its numbers are leaves (traced, swept, saved), its sizes and strings are static. Every method is
    pure and is written for one client.

    Attributes:
        weighting: ``"samples"`` (n_k) or ``"uniform"`` (1) for each hospital that takes part.
        personal: whether ``variables`` differs between hospitals.
        trains: whether it takes local steps (and so needs a client optimizer).
        adapts: whether a hospital changes ``variables`` before it uses them (``adapt``).
        asks: whether a first exchange (``ask``, ``answer``) goes before the main one in every round.
    """

    weighting: str = "samples"
    personal: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    adapts: ClassVar[bool] = False
    asks: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, variables: Variables, key: Array, places: int) -> tuple[PyTree, PyTree]:
        """Server state, and the state of ONE client (the engine stacks it).

        ``places`` is the length of the arrays in :class:`Cohort`, for a server that keeps something for
        each hospital.
        """

    @abc.abstractmethod
    def client_update(
        self, local: LocalTraining, server: PyTree, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """What one hospital does in a round: its upload, its new state, metrics for the observer."""

    @abc.abstractmethod
    def server_update(self, server: PyTree, update: PyTree, cohort: Cohort) -> PyTree:
        """The server's step; ``update`` is the aggregate of the uploads' ``mean``."""

    @abc.abstractmethod
    def variables(self, server: PyTree, client: PyTree) -> Variables:
        """The model that this hospital would deploy."""

    def weights(self, server: PyTree, sizes: Array) -> Array:
        """``[D * S]`` weight of each hospital if it takes part."""
        return sizes if self.weighting == "samples" else jnp.ones_like(sizes)

    def ask(self, local: LocalTraining, server: PyTree, client: PyTree, shard: Shard, key: Array) -> PyTree:
        """What one hospital answers in the first exchange; averaged over the cohort."""
        raise TypeError(f"{type(self).__name__} has no first exchange")

    def answer(self, server: PyTree, update: PyTree) -> PyTree:
        """The server after the first exchange, as the main one sees it."""
        raise TypeError(f"{type(self).__name__} has no first exchange")

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """What a hospital makes of ``variables`` with its training rows before it uses the model."""
        raise TypeError(f"{type(self).__name__} does not adapt")

    def for_model(self, local: LocalTraining, x: PyTree) -> Algorithm:
        """This algorithm with what it has to know of the model's structure, before anything is compiled.

        ``x`` are rows, of which only shapes and dtypes matter.
        """
        return self

    def travels(self, variables: Variables) -> Variables | None:
        """1 for each coordinate of the model that is sent down and up, else 0; None where all are."""
        return None

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Why this cannot work with that training and model (shapes only), each with the remedy."""
        return []


class Aggregator(Protocol):
    """A streamed reduction over hospitals: uploads are added block by block and never stored."""

    def init(self, upload: PyTree) -> PyTree:
        """The empty total, for uploads shaped like ``upload``."""
        ...

    def add(self, total: PyTree, uploads: PyTree, weights: Array) -> PyTree:
        """Add a block ``[B, ...]`` with weights ``[B]``; totals of devices are summed leaf by leaf."""
        ...

    def finish(self, total: PyTree) -> PyTree:
        """The aggregate."""
        ...


@runtime_checkable
class CoordinateRule(Protocol):
    """A rule that needs every upload, and treats each coordinate by itself: uploads are stored.

    Each device gets all hospitals' numbers of its share of the coordinates.
    """

    def aggregate(self, uploads: PyTree, weights: Array) -> PyTree:
        """The aggregate of ``[K, n]`` leaves; a weight is 0 where an upload is absent or not finite."""
        ...


class Participation(Protocol):
    """Who takes part in a round."""

    def __call__(self, keys: Array, round: Array, sizes: Array) -> Array:
        """Presence ``[C]``, 0 for who is absent.

        Args:
            keys: ``[C]``, one key for each hospital, the same in all rounds; draws follow the hospital.
            round: int32; fold it into a key for a draw of this round.
            sizes: ``[C]`` training rows; hospitals with none never count.
        """
        ...

    def problems(self, hospitals: int) -> list[str]:
        """What is wrong with its arguments for that many hospitals, with the remedy."""
        ...
