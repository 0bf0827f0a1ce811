"""The specification of a simulation as data: hospitals, models, an algorithm and its settings."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import optax

from jaxfed.aggregators import WeightedMean, as_chain, chain
from jaxfed.algorithms import FedAvg
from jaxfed.core import hyperparameters as values
from jaxfed.core.aggregation import Chain, Part
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.engine.recipe import Recipe
from jaxfed.core.group_algorithm import ByGroup, GroupAlgorithm
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.core.local import LocalTraining
from jaxfed.core.metrics.metric import Metric, as_metric
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.nn.rewrite import Form, default_form
from jaxfed.core.optimizer import Optimizer, optimizer
from jaxfed.core.participation import Participation
from jaxfed.core.problem import Loss, Problem
from jaxfed.core.task import Measure
from jaxfed.models import mlp
from jaxfed.participation import Everyone
from jaxfed.privacy import HospitalDP
from jaxfed.spec.private import Privacy, private_of
from jaxfed.spec.private_parts import Private

ALL = "all"  # the group of every hospital if all have the same model


@dataclasses.dataclass(frozen=True, eq=False)
class Spec:
    """The fields of a simulation, and values derived from them, without any check.

    :func:`jaxfed.spec.checks.check_spec` checks a specification; :class:`jaxfed.Simulation` is a checked one.

    Attributes:
        hospitals: the data.
        model: a flax linen module, or a function from nnx rngs to an nnx module. A module whose
            ``outputs`` is None gets the width that the data need.
        algorithm: the federated algorithm.
        client_optimizer: the hospitals' optimiser, described by :func:`jaxfed.optimizer`.
        epochs: local epochs per round; 1 if neither ``epochs`` nor ``steps`` is given.
        steps: local mini-batch steps per round, instead of epochs. Both may be :func:`jaxfed.per_hospital`.
        batch_size: rows per step; None for all of a hospital's rows.
        participation: which hospitals take part in a round.
        aggregator: how uploads become one update: a rule, or a :func:`jaxfed.aggregators.chain` of parts.
        loss: per example, ``(outputs, y) -> [B]``; None for the loss of the task.
        weights: :func:`jaxfed.per_hospital` factors of the hospitals' weights in the mean (which are their
            rows or 1, depending on the algorithm); None for 1.
        l2: strength of an L2 penalty ``l2 / 2 ||kernels||^2`` in every hospital's loss.
        splits: which splits are evaluated.
        devices: how many jax devices to use; None for all.
        block: hospitals that run side by side on a device; None lets
            :meth:`jaxfed.Simulation.plan` choose.
        form: ``"fast"`` puts the models' convolutions, pooling and dense layers in forms that are fast in
            loops (matrix products of patches, see :mod:`jaxfed.core.nn.rewrite`), ``"native"`` leaves them to
            XLA; None is ``"fast"`` on a CPU, and elsewhere lets :meth:`jaxfed.Simulation.plan` choose.
        evaluate_on: hospitals to evaluate on, if they are not those that train.
        models: instead of ``model``, if hospitals have different ones: ``{group: model}``, for the
            algorithms of :mod:`jaxfed.algorithms.mixed`.
        groups: which hospital has which of the ``models``: ``{hospital: group}``, or one group for each
            hospital in the data set's order.
        metrics: further metrics besides those of the task, ``{"f2": f2}``: functions ``(outputs [N, ...],
            y [N, ...], mask [N]) -> scalar`` of which more is better, or a :class:`jaxfed.Metric`, which also
            says whether more is better.
        included: :func:`jaxfed.per_hospital` marks, 1 for the hospitals that train and 0 for those that never
            take part, as if they had no training rows, and are only evaluated; None for all.
        diagnostics: whether a run records the norm of each hospital's update and its cosine to the mean, for
            :meth:`jaxfed.Run.diagnostics`; the uploads of a round are then stored.
        privacy: :class:`jaxfed.privacy.PatientDP` or :class:`jaxfed.privacy.HospitalDP`; None for none.
    """

    hospitals: Dataset
    model: Any = dataclasses.field(default_factory=lambda: mlp(64, 32))
    algorithm: Algorithm | GroupAlgorithm = FedAvg()
    client_optimizer: Optimizer | None = optimizer(optax.sgd, learning_rate=0.05)
    epochs: int | PerHospital | None = None
    steps: int | PerHospital | None = None
    batch_size: int | None = 32
    participation: Participation = Everyone()
    aggregator: Part | Chain = WeightedMean()
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
    privacy: Privacy | None = None
    included: PerHospital | None = None
    diagnostics: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone; a copy computes again what is derived from them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def describe(self) -> dict[str, Any]:
        """The configuration as plain text and numbers; arrays are written whole."""
        skip = {"hospitals", "evaluate_on"}
        fields = [f.name for f in dataclasses.fields(self) if f.name not in skip]
        with np.printoptions(threshold=sys.maxsize):  # a run that is resumed is compared by this text
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
    def trained_rows(self) -> np.ndarray:
        """``[C]`` rows on which each hospital trains; 0 for those that are not included."""
        rows = self.hospitals.counts[:, TRAIN]
        if not isinstance(self.included, PerHospital):
            return rows
        return rows * (values.in_order(self.included, self.hospitals.hospitals).values > 0)

    @property
    def measure(self) -> Measure:
        """The metrics that are measured: those of the task, and :attr:`metrics`."""
        metrics = {} if self.metrics is None else self.metrics
        return Measure(self.hospitals.task, tuple((name, as_metric(m)) for name, m in metrics.items()))

    @cached_property
    def local_trainings(self) -> dict[str, LocalTraining]:
        """The training of each group; if all hospitals have the same model, the only group is ``ALL``."""
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

    @property
    def evaluation_group_of(self) -> tuple[str, ...]:
        """The group of each evaluated hospital; with ``evaluate_on`` it is determined by the name."""
        if self.evaluate_on is None:
            return self.group_of
        if self.groups is None:
            return (next(iter(self.local_trainings)),) * len(self.evaluate_on)
        by_name = dict(zip(self.hospitals.hospitals, self.group_of, strict=True))
        if isinstance(self.groups, Mapping):
            by_name |= self.groups
        return tuple(by_name[name] for name in self.evaluate_on.hospitals)

    @property
    def name(self) -> str:
        """The name of a run, which is the algorithm's name."""
        return type(self.algorithm).__name__

    @property
    def chosen_form(self) -> Form:
        """The form of the models' operations: the given form, or the platform's default."""
        return self.form or default_form()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of a round, with per-hospital numbers in the data set's order."""
        trainings, participation = tuple(self.local_trainings.values()), self.participation
        parts = as_chain(self.aggregator)
        if self.private is not None:
            trainings, participation = self.private.trainings, self.private.participation
            parts = parts if self.private.road is None else chain(*self.private.road)
        more = self.factors, self.included, self.diagnostics
        recipe = Recipe(self._algorithm, trainings, parts, participation, *more)
        return values.in_order(recipe, self.hospitals.hospitals)

    @property
    def factors(self) -> PerHospital | None:
        """Factors of the hospitals' weights in the mean: :attr:`weights`, and the weights of their rows.

        Row weights do not count where every hospital has the same voice.
        """
        alike = self.algorithm.weighting != "samples" or isinstance(self.privacy, HospitalDP)
        if self.hospitals.row_weights is None or alike:
            return self.weights
        of_rows = self.hospitals.weight_factors
        if self.weights is None:
            return PerHospital(of_rows)
        return PerHospital(of_rows * values.in_order(self.weights, self.hospitals.hospitals).values)

    @cached_property
    def private(self) -> Private | None:
        """What :attr:`privacy` makes of the recipe, and the ledger of what is spent; None without privacy.

        Raises:
            InvalidInput: privacy does not cover the simulation.
        """
        if self.privacy is None:
            return None
        names = list(self.local_trainings)
        group = np.array([names.index(name) for name in self.group_of])
        trainings = tuple(self.local_trainings.values())
        return private_of(self.privacy, self.hospitals, self._algorithm, trainings, group, self.participation)

    def within_budget(self, rounds: int) -> int:
        """How many of ``rounds`` a run does: one whose privacy is for whole hospitals ends at its budget."""
        lasts = None if self.private is None else self.private.lasts
        return rounds if lasts is None else min(rounds, lasts)

    @cached_property
    def _algorithm(self) -> GroupAlgorithm:
        algorithm = self.algorithm
        if isinstance(algorithm, GroupAlgorithm):
            return algorithm
        training = next(iter(self.local_trainings.values()))
        return ByGroup(algorithm.for_model(training, self.hospitals.x))

    def _local_training(self, model: Any) -> LocalTraining:
        if getattr(model, "outputs", 0) is None:
            model = model.clone(outputs=self.hospitals.outputs)
        epochs = 1 if self.epochs is None and self.steps is None else self.epochs
        problem = Problem(self.l2, as_model(model), self.hospitals.task, self.loss).in_form(self.form)
        if not problem.by_row:
            largest = int(self.hospitals.counts[:, TRAIN].max())
            problem = dataclasses.replace(problem, chunk=-(-largest // 32) * 32)  # a whole hospital
        return LocalTraining(problem, self.client_optimizer, epochs, self.steps, self.batch_size)
