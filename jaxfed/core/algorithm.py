"""A federated algorithm, written for one client and one model.

An algorithm defines the server's part (``init`` and ``server_update``) and a hospital's (``client_update``).
The engine does the rest: batching, blocks, devices, participation, resuming and evaluation.
"""

from __future__ import annotations

import abc
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from jaxfed.core.hyperparameters import Number
from jaxfed.core.local import LocalTraining
from jaxfed.core.types import Cohort, Metrics, PyTree, Shard, Upload, Variables


class Algorithm(abc.ABC):
    """A federated algorithm: a frozen dataclass that is a pytree.

    Its numbers are leaves (traced, swept, saved), its sizes and strings are static. Every method is
    pure and is written for one client.

    Attributes:
        weighting: ``"samples"`` (n_k) or ``"uniform"`` (1) for each hospital that takes part.
        personal: whether ``variables`` differs between hospitals.
        trains: whether it takes local steps (and so needs a client optimizer).
        adapts: whether a hospital changes ``variables`` before it uses them (``adapt``).
        asks: whether a first exchange (``ask``, ``answer``) precedes the main one in every round.
        why_untransformed: why no transform may change its uploads; ``""`` if any may.
        why_averaged: why its uploads have to be averaged with their weights; ``""`` if any rule works.
    """

    weighting: str = "samples"
    personal: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    adapts: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    why_untransformed: ClassVar[str] = ""
    why_averaged: ClassVar[str] = ""

    @abc.abstractmethod
    def init(self, variables: Variables, key: Array, clients: int) -> tuple[PyTree, PyTree]:
        """The server's state, and the state of ONE client (the engine stacks it).

        ``clients`` is C, the length of the arrays in :class:`~jaxfed.core.types.Cohort`, for a server that
        has a state for each hospital.
        """

    @abc.abstractmethod
    def client_update(
        self, local: LocalTraining, server: PyTree, client: PyTree, shard: Shard, key: Array
    ) -> tuple[Upload, PyTree, Metrics]:
        """One hospital's part of a round: returns its upload, its new state, metrics for the observer."""

    @abc.abstractmethod
    def server_update(self, server: PyTree, update: PyTree, cohort: Cohort) -> PyTree:
        """The server's new state; ``update`` is the aggregate of the uploads' ``update``."""

    @abc.abstractmethod
    def variables(self, server: PyTree, client: PyTree) -> Variables:
        """The model that this hospital deploys."""

    def weights(self, server: PyTree, sizes: Array) -> Array:
        """``[C]`` weight of each hospital if it takes part."""
        return sizes if self.weighting == "samples" else jnp.ones_like(sizes)

    def ask(self, local: LocalTraining, server: PyTree, client: PyTree, shard: Shard, key: Array) -> PyTree:
        """One hospital's answer in the first exchange; the server averages answers over the cohort."""
        raise TypeError(f"{type(self).__name__} has no first exchange")

    def answer(self, server: PyTree, update: PyTree) -> PyTree:
        """The server's state after the first exchange, which the main exchange uses."""
        raise TypeError(f"{type(self).__name__} has no first exchange")

    def adapt(self, local: LocalTraining, variables: Variables, shard: Shard, key: Array) -> Variables:
        """The model that a hospital deploys: ``variables`` after adapting them to its training rows."""
        raise TypeError(f"{type(self).__name__} does not adapt")

    def adapting_rate(self, local: LocalTraining) -> tuple[Number, str] | None:
        """The step size of ``adapt`` and the argument that sets another, for a warning where it has faded.

        None if ``adapt`` has no step size.
        """
        return None

    def for_model(self, local: LocalTraining, x: PyTree) -> Algorithm:
        """A copy that is adjusted to the model's structure; called before anything is compiled.

        Only shapes and dtypes of the rows ``x`` matter.
        """
        return self

    def travels(self, variables: Variables) -> Variables | None:
        """1 for each coordinate of the model that is sent down and up, else 0; None if all are sent."""
        return None

    def problems(self, local: LocalTraining, variables: Variables) -> list[str]:
        """Reasons why the algorithm cannot work with this training and model, each with the remedy.

        ``variables`` are shapes only.
        """
        return []
