"""Algorithms for hospitals with different models: convert, aggregate, convert back.

    every hospital k:  model_k           <- decode(common, model_k)
                       upload_k, model_k <- encode(model_k)     it trains, and says what it learnt
    server:            common            <- aggregate(sum_k w_k receive(upload_k) / sum_k w_k)

Hospitals with models of one architecture are a group. What all share is the common form: predictions on
public rows, prototypes of classes, a small model that everybody has. As everywhere, what is written here is
written for one client; :mod:`jaxfed.core.engine.groups` stacks, blocks and places the clients of every group.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables

if TYPE_CHECKING:
    from jaxfed.core.local import LocalTraining


class Parts(NamedTuple):
    """Something in two parts: the server's state, what it adds up, or the weights for that.

    Attributes:
        common: in the form that all groups share.
        own: in the form of one group's model; ``()`` for most algorithms.
    """

    common: PyTree
    own: PyTree = ()


class MixedAlgorithm(abc.ABC):
    """A federated algorithm for groups of hospitals with different models; a pytree like any algorithm.

    Attributes:
        weighting: ``"samples"`` (n_k) or ``"uniform"`` (1) in the mean of the common form.
        personal: whether ``variables`` differs between hospitals of a group.
        trains: whether it takes local steps (and so needs a client optimizer).
        adapts: whether a hospital changes ``variables`` before it uses them (``adapt``).
    """

    weighting: str = "uniform"
    personal: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    adapts: ClassVar[bool] = False

    @abc.abstractmethod
    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> PyTree:
        """The common form before the first round, from any group's training, variables and one row ``x``.

        Whichever group it is asked of, the shapes must be the same: or two groups cannot share it.
        """

    @abc.abstractmethod
    def init(
        self, local: LocalTraining, variables: Variables, key: Array, places: int
    ) -> tuple[PyTree, PyTree]:
        """What the server keeps for a group, and the state of ONE hospital of it.

        ``places`` is the length of the arrays in the group's :class:`~jaxfed.core.types.Cohort`.
        """

    def decode(self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array) -> PyTree:
        """A hospital's state, once it has made its own what the server sends; the first thing in a round."""
        return client

    @abc.abstractmethod
    def encode(
        self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """It trains: its upload, its new state, metrics for the observer."""

    def receive(self, local: LocalTraining, server: Parts, upload: PyTree) -> Parts:
        """What the server adds up of an upload: over all hospitals, and over those of the group."""
        return Parts(upload)

    def aggregate(self, common: PyTree, update: PyTree, cohort: Cohort) -> PyTree:
        """The common form after a round; ``update`` is the mean of what was received of ``cohort``."""
        return update

    def settle(
        self, local: LocalTraining, server: Parts, update: PyTree, cohort: Cohort, key: Array
    ) -> PyTree:
        """What the server keeps for a group after a round.

        Args:
            local: the group's training.
            server: the new common form, and what was kept for the group.
            update: the mean of what was received of the group's own; 0 where nobody of it took part.
            cohort: the group's.
            key: of this round; the same for all groups.
        """
        return server.own

    @abc.abstractmethod
    def variables(self, server: Parts, client: PyTree) -> Variables:
        """The model that this hospital would deploy."""

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """What a hospital makes of ``variables`` with its training rows before it uses the model."""
        raise TypeError(f"{type(self).__name__} does not adapt")

    def weights(self, server: Parts, sizes: Array) -> Parts:
        """``[D * S]`` weights of a group's hospitals if they take part: in the common form, in its own."""
        ones = jnp.ones_like(sizes)
        return Parts(sizes if self.weighting == "samples" else ones, ones)

    def extra_rows(self) -> int:
        """Rows beside its own that a hospital trains on in a round, to balance devices by."""
        return 0

    def problems(
        self, groups: Mapping[str, LocalTraining], variables: Mapping[str, Variables], x: PyTree
    ) -> list[str]:
        """Why this cannot work with those groups' training and models (shapes only), with the remedy.

        ``x`` is a batch of the hospitals' rows (shapes only).
        """
        return []
