"""What a simulation is asked for, as data: hospitals, models, an algorithm and its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import optax

from jaxfed.aggregators import WeightedMean
from jaxfed.algorithms import FedAvg
from jaxfed.core import hyperparameters as values
from jaxfed.core.dataset import Dataset
from jaxfed.core.engine.groups import GroupRecipe
from jaxfed.core.engine.rounds import Recipe
from jaxfed.core.group_algorithm import MixedAlgorithm
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.local import LocalTraining
from jaxfed.core.metrics.metric import Metric, as_metric
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.nn.rewrite import Form
from jaxfed.core.optimizer import Optimizer, optimizer
from jaxfed.core.problem import Loss, Problem
from jaxfed.core.task import Measure
from jaxfed.core.types import Aggregator, Algorithm, CoordinateRule, Participation
from jaxfed.models import mlp
from jaxfed.participation import Everyone

ALL = "all"  # the group of every hospital, where there is one model for all


@dataclasses.dataclass(frozen=True, eq=False)
class Spec:
    """The fields of a simulation, and what follows from them; nothing is checked here.

    :func:`jaxfed.spec.checks.check_spec` checks a specification, and :class:`jaxfed.Simulation` is one that
    has checked itself.

    Attributes:
        hospitals: the data.
        model: a flax linen module, or a function from nnx rngs to an nnx module. A module whose
            ``outputs`` is None gets the width that the data need.
        algorithm: what hospitals and server do.
        client_optimizer: the hospitals' optimiser, described by :func:`jaxfed.optimizer`.
        epochs: local epochs per round; 1 where neither ``epochs`` nor ``steps`` is given.
        steps: local mini-batch steps per round, instead of epochs. Both may be :func:`jaxfed.per_hospital`.
        batch_size: rows per step; None for all of a hospital's rows.
        participation: who takes part in a round.
        aggregator: how uploads become one update.
        loss: per example, ``(outputs, y) -> [B]``; None for the loss of the task.
        weights: :func:`jaxfed.per_hospital` numbers that multiply what hospitals weigh in the mean (their
            rows, or 1, as the algorithm says); None for 1.
        l2: strength of an L2 penalty ``l2 / 2 ||kernels||^2`` in every hospital's loss.
        splits: which splits are evaluated.
        devices: how many jax devices to use; None for all.
        block: hospitals that run side by side on a device; None lets
            :meth:`jaxfed.Simulation.plan` choose.
        form: ``"fast"`` puts the models' convolutions, pooling and dense layers in forms that are fast in
            loops (matrix products of patches, see :mod:`jaxfed.core.nn.rewrite`), ``"native"`` leaves them to
            XLA; None is ``"fast"`` on a CPU, and elsewhere lets :meth:`jaxfed.Simulation.plan` choose.
        evaluate_on: hospitals to evaluate on, where they are not those that train.
        models: instead of ``model``, where hospitals have different ones: ``{group: model}``, for the
            algorithms of :mod:`jaxfed.algorithms.mixed`.
        groups: which hospital has which of the ``models``: ``{hospital: group}``, or one group for each
            hospital in the data set's order.
        metrics: your own beside those of the task, ``{"f2": f2}``: functions ``(outputs [N, ...], y [N, ...],
            mask [N]) -> scalar`` of which more is better, or :class:`jaxfed.Metric` to say otherwise.
    """

    hospitals: Dataset
    model: Any = dataclasses.field(default_factory=lambda: mlp(64, 32))
    algorithm: Algorithm | MixedAlgorithm = FedAvg()
    client_optimizer: Optimizer | None = optimizer(optax.sgd, learning_rate=0.05)
    epochs: int | PerHospital | None = None
    steps: int | PerHospital | None = None
    batch_size: int | None = 32
    participation: Participation = Everyone()
    aggregator: Aggregator | CoordinateRule = WeightedMean()
    loss: Loss | None = None
    l2: float | PerHospital | None = None
    splits: tuple[str, ...] = ("validation", "test")
    devices: int | None = None
    block: int | None = None
    form: Form | None = None
    evaluate_on: Dataset | None = None
    models: Mapping[str, Any] | None = None
    groups: Mapping[str, str] | Sequence[str] | None = None
    weights: PerHospital | None = None
    metrics: Mapping[str, Metric | Callable[..., Any]] | None = None

    def describe(self) -> dict[str, Any]:
        """The configuration as plain text and numbers."""
        skip = {"hospitals", "evaluate_on"}
        fields = [f.name for f in dataclasses.fields(self) if f.name not in skip]
        plain = {
            name: value if isinstance(value, (int, str, float, type(None))) else repr(value)
            for name, value in ((name, getattr(self, name)) for name in fields)
        }
        return {"hospitals": repr(self.evaluation_hospitals), **plain}

    @property
    def evaluation_hospitals(self) -> Dataset:
        """The hospitals that are evaluated."""
        return self.evaluate_on or self.hospitals

    @property
    def measure(self) -> Measure:
        """What is measured: the metrics of the task, and :attr:`metrics`."""
        own = {} if self.metrics is None else self.metrics
        return Measure(self.hospitals.task, tuple((name, as_metric(metric)) for name, metric in own.items()))

    @cached_property
    def local_trainings(self) -> dict[str, LocalTraining]:
        """The training of each group; where all hospitals have the same model, the one group is ``ALL``."""
        models = {ALL: self.model} if self.models is None else self.models
        return {name: self._local_training(model) for name, model in models.items()}

    @property
    def group_of(self) -> tuple[str, ...]:
        """``[C]`` the group of each hospital, in the data set's order."""
        hospitals = self.hospitals.hospitals
        if self.groups is None:
            return (next(iter(self.local_trainings)),) * len(hospitals)
        if isinstance(self.groups, Mapping):
            named = {str(hospital): group for hospital, group in self.groups.items()}
            return tuple(named[hospital] for hospital in hospitals)
        return tuple(self.groups)

    @cached_property
    def recipe(self) -> Any:
        """What is done in a round, with per-hospital numbers in the data set's order.

        A :class:`jaxfed.core.engine.rounds.Recipe`, or with an algorithm for groups a
        :class:`jaxfed.core.engine.groups.GroupRecipe`.
        """
        trainings = tuple(self.local_trainings.values())
        recipe: Recipe | GroupRecipe
        if isinstance(self.algorithm, MixedAlgorithm):
            recipe = GroupRecipe(self.algorithm, trainings, self.aggregator, self.participation)  # type: ignore[arg-type]
        else:
            (local,) = trainings
            algorithm = self.algorithm.for_model(local, self.hospitals.x)
            recipe = Recipe(algorithm, local, self.aggregator, self.participation, self.weights)
        return values.in_order(recipe, self.hospitals.hospitals)

    def _local_training(self, model: Any) -> LocalTraining:
        if getattr(model, "outputs", 0) is None:
            model = model.clone(outputs=self.hospitals.outputs)
        epochs = 1 if self.epochs is None and self.steps is None else self.epochs
        problem = Problem(self.l2, as_model(model), self.hospitals.task, self.loss).in_form(self.form)
        return LocalTraining(problem, self.client_optimizer, epochs, self.steps, self.batch_size)
