"""Algorithms for hospitals with different models: convert, aggregate, convert back.

    every hospital k:  model_k           <- decode(common, model_k)
                       upload_k, model_k <- encode(model_k)      training, and the upload in the common form
    server:            common            <- aggregate(sum_k w_k receive(upload_k) / sum_k w_k)

Hospitals with models of the same architecture form a group. All groups share the common form: predictions on
public rows, prototypes of classes, or a small model that every hospital has. The engine runs only group
algorithms: it runs an algorithm for one model (:class:`~jaxfed.core.algorithm.Algorithm`) as
:class:`ByGroup` with a single group.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxfed.core.algorithm import Algorithm
from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables

NOTHING = Upload(())


class Parts(NamedTuple):
    """A pair: the part shared by all groups, and the part of one group's model.

    Attributes:
        common: in the form that all groups share.
        group: in the form of one group's model (in the state of a server: a tuple over groups).
    """

    common: PyTree
    group: PyTree = ()


class GroupAlgorithm(abc.ABC):
    """A federated algorithm for groups of hospitals with different models; a pytree like any algorithm.

    Attributes:
        weighting: ``"samples"`` (n_k) or ``"uniform"`` (1) in the mean of the common form.
        personal: whether ``variables`` differs between hospitals of a group.
        trains: whether it takes local steps (and so needs a client optimizer).
        adapts: whether a hospital changes ``variables`` before it uses them (``adapt``).
        asks: whether a first exchange (``ask``, ``answer``) precedes the main one in every round.
        separate: whether groups learn nothing from each other.
        why_untransformed: why no transform may change its uploads; ``""`` if any may.
        why_averaged: why received uploads have to be averaged with their weights; ``""`` if any rule works.
    """

    weighting: str = "uniform"
    personal: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    adapts: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    separate: ClassVar[bool] = False
    why_untransformed: ClassVar[str] = ""
    why_averaged: ClassVar[str] = ""

    @abc.abstractmethod
    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> PyTree:
        """The common form before the first round, from any group's training and variables.

        ``x [1, ...]`` is one row.

        Every group must give the same shapes; otherwise the groups cannot share it.
        """

    @abc.abstractmethod
    def init(
        self, local: LocalTraining, variables: Variables, key: Array, clients: int
    ) -> tuple[PyTree, PyTree]:
        """The server's state for a group, and the state of ONE hospital of the group.

        ``clients`` is C, the length of the arrays in :class:`~jaxfed.core.types.Cohort`.
        """

    def decode(self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array) -> PyTree:
        """The client's state after it has applied what the server sent. Called first in every round."""
        return client

    @abc.abstractmethod
    def encode(
        self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """Train: returns the hospital's upload, its new state, and metrics for the observer."""

    def receive(self, local: LocalTraining, server: Parts, upload: Upload) -> Parts:
        """The parts of an upload to aggregate, as two Uploads: over all hospitals, and over the group."""
        return Parts(upload, NOTHING)

    def aggregate(self, common: PyTree, update: PyTree, cohort: Cohort) -> PyTree:
        """The common form after a round; ``update`` is the aggregate over all hospitals of ``cohort``."""
        return update

    def settle(
        self, local: LocalTraining, server: Parts, update: PyTree, cohort: Cohort, key: Array
    ) -> PyTree:
        """The server's state for a group after a round.

        Args:
            local: the group's training.
            server: the new common form, and the group's state.
            update: the aggregate over the group; 0 if none of its hospitals took part.
            cohort: the group's cohort; hospitals of other groups have no rows in it.
            key: the random key of this round; the same for all groups.
        """
        return server.group

    @abc.abstractmethod
    def variables(self, server: Parts, client: PyTree) -> Variables:
        """The model that this hospital deploys."""

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """The model that a hospital deploys: ``variables`` after adapting them to its training rows."""
        raise TypeError(f"{type(self).__name__} does not adapt")

    def adapting_rate(self, local: LocalTraining) -> tuple[Number, str] | None:
        """The step size of ``adapt`` and the argument that sets another; see :class:`Algorithm`."""
        return None

    def ask(self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array) -> PyTree:
        """A hospital's update in the first exchange; aggregated over the group."""
        raise TypeError(f"{type(self).__name__} has no first exchange")

    def answer(self, server: Parts, update: PyTree) -> PyTree:
        """The server's state for a group after the first exchange, which the main exchange uses."""
        raise TypeError(f"{type(self).__name__} has no first exchange")

    def weights(self, server: Parts, sizes: Array) -> Parts:
        """``[C]`` weights of a group's hospitals if they take part: for the common form, for the group."""
        ones = jnp.ones_like(sizes)
        return Parts(sizes if self.weighting == "samples" else ones, ones)

    def extra_rows(self) -> int:
        """Number of rows besides its own on which a hospital trains in a round; used to balance devices."""
        return 0

    def travels(self, variables: Variables) -> Variables | None:
        """1 for each coordinate of the model that is sent down and up, else 0; None if all are sent."""
        return None

    def problems(
        self, groups: Mapping[str, LocalTraining], variables: Mapping[str, Variables], x: PyTree
    ) -> list[str]:
        """Reasons why the algorithm cannot work with these groups, each with the remedy.

        ``groups`` are the groups' trainings. ``variables`` and ``x``, a batch of rows, are shapes only.
        """
        return []


@pytree
@dataclasses.dataclass(frozen=True)
class ByGroup(GroupAlgorithm):
    """Runs an algorithm for one model separately in every group.

    With one group this is the algorithm itself. With several it is the baseline that shows the benefit of
    the exchange between groups: ``ByGroup(FedAvg())`` averages in each group, ``ByGroup(LocalOnly())``
    nowhere.

    Attributes:
        algorithm: any algorithm for one model.
    """

    algorithm: Algorithm
    separate: ClassVar[bool] = True

    @property
    def weighting(self) -> str:  # type: ignore[override]
        """The algorithm's weighting."""
        return self.algorithm.weighting

    @property
    def personal(self) -> bool:  # type: ignore[override]
        """Whether models of a group differ."""
        return self.algorithm.personal

    @property
    def trains(self) -> bool:  # type: ignore[override]
        """Whether the algorithm takes local steps."""
        return self.algorithm.trains

    @property
    def adapts(self) -> bool:  # type: ignore[override]
        """Whether the algorithm adapts models."""
        return self.algorithm.adapts

    @property
    def asks(self) -> bool:  # type: ignore[override]
        """Whether the algorithm has a first exchange."""
        return self.algorithm.asks

    @property
    def why_untransformed(self) -> str:  # type: ignore[override]
        """The algorithm's reason."""
        return self.algorithm.why_untransformed

    @property
    def why_averaged(self) -> str:  # type: ignore[override]
        """The algorithm's reason."""
        return self.algorithm.why_averaged

    def begin(self, local: LocalTraining, variables: Variables, x: PyTree, key: Array) -> tuple[()]:
        """Nothing is shared."""
        return ()

    def init(
        self, local: LocalTraining, variables: Variables, key: Array, clients: int
    ) -> tuple[PyTree, PyTree]:
        """The algorithm's states."""
        return self.algorithm.init(variables, key, clients)

    def encode(
        self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """The algorithm's part of a round."""
        return self.algorithm.client_update(local, server.group, client, shard, key)

    def receive(self, local: LocalTraining, server: Parts, upload: Upload) -> Parts:
        """The whole upload is aggregated over the group."""
        return Parts(NOTHING, upload)

    def settle(
        self, local: LocalTraining, server: Parts, update: PyTree, cohort: Cohort, key: Array
    ) -> PyTree:
        """The algorithm's new server state."""
        return self.algorithm.server_update(server.group, update, cohort)

    def variables(self, server: Parts, client: PyTree) -> Variables:
        """The model that the algorithm gives this hospital."""
        return self.algorithm.variables(server.group, client)

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """The algorithm's adapted model."""
        return self.algorithm.adapt(local, variables, shard, key)

    def adapting_rate(self, local: LocalTraining) -> tuple[Number, str] | None:
        """The algorithm's."""
        return self.algorithm.adapting_rate(local)

    def ask(self, local: LocalTraining, server: Parts, client: PyTree, shard: Shard, key: Array) -> PyTree:
        """The algorithm's first exchange."""
        return self.algorithm.ask(local, server.group, client, shard, key)

    def answer(self, server: Parts, update: PyTree) -> PyTree:
        """The algorithm's server state after the first exchange."""
        return self.algorithm.answer(server.group, update)

    def weights(self, server: Parts, sizes: Array) -> Parts:
        """The algorithm's weights in the group."""
        return Parts(jnp.ones_like(sizes), self.algorithm.weights(server.group, sizes))

    def travels(self, variables: Variables) -> Variables | None:
        """The coordinates of the model that the algorithm sends."""
        return self.algorithm.travels(variables)

    def problems(
        self, groups: Mapping[str, LocalTraining], variables: Mapping[str, Variables], x: Any
    ) -> list[str]:
        """The problems that the algorithm reports for each group."""
        several = len(groups) > 1
        if several and type(self.algorithm).for_model is not Algorithm.for_model:
            name = type(self.algorithm).__name__
            return [f"{name} is made for one model, and groups have different ones; give another algorithm"]
        return [
            f"group {group!r}: {problem}" if several else problem
            for group, local in groups.items()
            for problem in self.algorithm.problems(local, variables[group])
        ]
